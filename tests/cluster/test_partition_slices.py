"""A limit of all threads holds over all nodes of a cluster: never passed, used to its end, warned of once."""

import time
from typing import Literal

import anyio
import psycopg
import pytest

from organism import Limits, Organism
from organism.amounts import ZERO
from organism.budget.scopes import BudgetPlan, LabelLimits, PoolLimits, ScopedLimits, ScopeRule
from organism.testing import ManualClock
from organism.testing.postgres_server import PostgresServer
from tests.cluster.house import ALL, PARTITIONS, House, audited, house, sums
from tests.waiting import until

MINUTE = "organism@rolling:1m"

pytestmark = [pytest.mark.debian, pytest.mark.anyio]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


async def test_a_limit_of_all_threads_is_used_to_its_end_and_never_passed(url: str, postgres: PostgresServer) -> None:
    """Three nodes use every call of it, are refused none before, and it is warned of once at each threshold."""
    async with house(url, BudgetPlan(windows={"lifetime": Limits(calls=60)})) as cluster:
        assert await cluster.use(6) == 0
        # Each partition has looked its slice up, and has taken enough of it for several calls.
        assert sum(node.escrow.table.statements for node in cluster.nodes) <= 4 * PARTITIONS
        assert await cluster.use(12) == 0
        assert await cluster.use(3) == 3
        assert cluster.calls == 60
        await until(lambda: set(cluster.crossed.values()) == {1} and len(cluster.crossed) == 3)
        for organism in cluster.organisms:
            await until(lambda of=organism: of.budgets.state(ALL).spent.calls == 60)  # type: ignore[misc]
            assert organism.budgets.state(ALL).limits.calls == 60
    audit = audited(url)
    assert audit.findings == []
    assert audit.most[ALL].calls == 60
    assert sums(postgres, url) == {ALL: (60, 60)}


@pytest.mark.parametrize("action", ["refuse", "park"])
async def test_a_limit_that_ends_before_the_whole_ends_there_for_all_nodes(
    url: str, postgres: PostgresServer, action: Literal["refuse", "park"]
) -> None:
    """Of sixty calls forty-five may be made, by three nodes together; what nobody has used of them is to be had."""
    rule = ScopeRule(actions=((50, "warn"), (75, action)))
    plan = BudgetPlan(windows={"lifetime": Limits(calls=60)}, rules={"lifetime": rule})
    async with house(url, plan) as cluster:
        assert await cluster.use(14) == 0
        first = cluster.organisms[0]
        for _ in range(3):  # all that is left, at one node
            await _end(first)
        assert cluster.calls == 45
        # What is parked waits for a higher limit; what is refused ends its thread.
        assert await cluster.use(1) == (PARTITIONS if action == "park" else 0)
        assert cluster.calls == 45
        if action == "park":
            await first.control.set_limits(ALL, Limits(calls=64))
            await until(lambda: cluster.calls == 48)
        used = cluster.calls
    audit = audited(url)
    assert audit.findings == []
    assert audit.most[ALL].calls == used
    assert sums(postgres, url)[ALL][1] <= used


async def test_an_operator_changes_a_shared_limit_for_all_nodes(url: str, postgres: PostgresServer) -> None:
    """What waits anywhere goes on when it is raised at one node, and nothing more is spent when it is lowered."""
    async with house(url, BudgetPlan(windows={"lifetime": Limits(calls=9)})) as cluster:
        assert await cluster.use(4) == 3
        first, *_, last = cluster.organisms
        await first.control.set_limits(ALL, Limits(calls=11))
        await until(lambda: last.budgets.state(ALL).limits.calls == 11)
        await last.control.set_limits(ALL, Limits(calls=12))
        await until(lambda: cluster.calls == 12)
        await last.control.set_limits(ALL, Limits(calls=2))
        await until(lambda: all(each.budgets.state(ALL).limits.calls == 2 for each in cluster.organisms))
        assert await cluster.use(1) == PARTITIONS
    audit = audited(url)
    assert audit.findings == []
    assert audit.most[ALL].calls == 12
    assert sums(postgres, url) == {ALL: (2, 12)}


async def test_what_is_given_back_is_written_down_before_it_is_anybody_s(url: str, postgres: PostgresServer) -> None:
    """A partition's smaller slice is durable in its ledger first: until then nothing of it is granted to another."""
    async with house(url, BudgetPlan(windows={"lifetime": Limits(calls=12)})) as cluster:
        owner, asker, _ = cluster.organisms
        (partition,) = cluster.nodes[0].organisms
        await owner.wait(await owner.open_thread("write"))
        before = sliced(postgres, url, partition)
        postgres.execute(_STAND.format(partition=partition), url)
        with psycopg.connect(url, autocommit=True) as gate:
            gate.execute("SELECT pg_advisory_lock(2, 2)")
            async with anyio.create_task_group() as tasks:
                for _ in range(11):  # more than is free: the owner must give back
                    tasks.start_soon(_end, asker)
                await until(lambda: (owner.ledger.balance(ALL).slice or ZERO).calls < before)
                first = wanted(postgres, url)
                await until(lambda: wanted(postgres, url) > first)  # it is asked for again, and not given
                assert sliced(postgres, url, partition) == before
                gate.execute("SELECT pg_advisory_unlock(2, 2)")
        assert cluster.calls == 12
        assert sliced(postgres, url, partition) == 1
    assert audited(url).findings == []


async def _end(organism: Organism) -> None:
    await organism.wait(await organism.open_thread("write"))


_STAND = (
    "CREATE FUNCTION organism.stand() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM pg_advisory_xact_lock(2, 2); RETURN NEW; END $$; "
    "CREATE TRIGGER stand BEFORE INSERT ON organism.entries FOR EACH ROW "
    "WHEN (NEW.kind = 'LimitSliced' AND NEW.p = {partition}) EXECUTE FUNCTION organism.stand()"
)
"""Lets no slice be written into the ledger of a partition while somebody has the lock."""


def wanted(postgres: PostgresServer, url: str) -> float:
    """Return when somebody has last asked the others for more."""
    rows = postgres.execute("SELECT coalesce(max(extract(epoch FROM seen)), 0)::float8 FROM organism.wanted", url)
    return float(rows[0][0])


def sliced(postgres: PostgresServer, url: str, partition: int) -> int:
    """Return the calls that a partition has by the shared table."""
    return int(dict(postgres.execute("SELECT p, calls FROM organism.slices", url))[partition])


async def test_every_kind_of_scope_and_window_is_shared(url: str, postgres: PostgresServer) -> None:
    """What an agent, a model, a provider, a label, a pool or all may use, for good or in nine days, counts once."""
    plan = BudgetPlan(
        windows={"lifetime": Limits(usd="1"), "9d": Limits(calls=90), "call": Limits(tokens=5000)},
        agents={"writer": ScopedLimits(Limits(calls=80), "lifetime")},
        models={"main": ScopedLimits(Limits(tokens=70_000), "lifetime")},
        providers={"scripted": ScopedLimits(Limits(calls=60), "9d")},
        labels={
            "tenant": LabelLimits(
                each=ScopedLimits(Limits(calls=50), "lifetime"),
                pools={"big": PoolLimits(frozenset({"acme"}), ScopedLimits(Limits(calls=10), "9d"))},
            )
        },
    )
    async with house(url, plan) as cluster:
        assert await cluster.use(4, {"tenant": "acme"}) == 2
        assert await cluster.use(1, {"tenant": "other"}) == 0
        assert cluster.calls == 13
    audit = audited(url)
    assert audit.findings == []
    assert {account: used.calls for account, used in audit.used.items()} == {
        "organism@lifetime": 13,
        "organism@rolling:9d": 13,
        "agent:writer@lifetime": 13,
        "model:main@lifetime": 13,
        "provider:scripted@rolling:9d": 13,
        "label:tenant=acme@lifetime": 10,
        "label:tenant=other@lifetime": 3,
        "pool:tenant=big@rolling:9d": 10,
    }
    assert all(limit is None or granted <= limit for limit, granted in sums(postgres, url).values())


async def test_what_all_have_spent_of_a_large_limit_is_shown_to_the_last_call(url: str) -> None:
    """Also what is too little of it to be noted in every ledger, and where nobody calls any more."""
    async with house(url, BudgetPlan(windows={"lifetime": Limits(calls=1_000)})) as cluster:
        assert await cluster.use(1) == 0
        assert await cluster.use(3) == 0  # with slices that they have: none is taken, which would be noted
        await until(lambda: shown(cluster) == cluster.calls == 12)


async def test_what_a_lost_owner_has_spent_and_not_told_is_told_by_the_next(url: str, postgres: PostgresServer) -> None:
    """Its partition is idle from then on, and its slice stays as it is; all the same nothing is missing."""
    async with house(url, BudgetPlan(windows={"lifetime": Limits(calls=1_000)})) as cluster:
        assert await cluster.use(4) == 0
        await until(lambda: shown(cluster) == 12)
        node = cluster.nodes[0]
        ((partition, owner),) = node.organisms.items()
        postgres.execute(_SILENT.format(partition=partition), url)
        await _end(owner)
        await until(lambda: postgres.execute("SELECT is_called FROM organism.lost_reports", url) == [(True,)])
        postgres.execute("DROP TRIGGER silent ON organism.slices", url)
        assert (reported(postgres, url), cluster.calls) == (12, 13)
        postgres.execute(_LOST.format(partition=partition), url)
        await until(lambda: reported(postgres, url) == 13)
        await until(lambda: shown(cluster) == 13)


async def test_what_others_have_spent_is_heard_after_a_database_that_was_away(
    url: str, postgres: PostgresServer
) -> None:
    """Where it has taken a report and could not be read, who reported hears the others when it can, idle or not."""
    async with house(url, BudgetPlan(windows={"lifetime": Limits(calls=1_000)})) as cluster:
        assert await cluster.use(4) == 0
        await until(lambda: shown(cluster) == 12)
        postgres.execute("UPDATE organism.shared SET changed = '-infinity'", url)
        postgres.execute("ALTER TABLE organism.wanted RENAME TO away", url)
        assert await cluster.use(1) == 0
        await until(lambda: reported(postgres, url) == cluster.calls == 15)
        for node in cluster.nodes:
            failures = node.escrow.failures
            await until(lambda of=node, at=failures: of.escrow.failures > at)  # type: ignore[misc]
        postgres.execute("ALTER TABLE organism.away RENAME TO wanted", url)
        await until(lambda: shown(cluster) == 15)


async def test_what_others_have_spent_of_a_rolling_window_is_shown_no_longer_than_it_counts(
    url: str, postgres: PostgresServer
) -> None:
    """Also where a partition's own spend has got old before theirs."""
    clock = ManualClock(time.time_ns())
    async with house(url, BudgetPlan(windows={"1m": Limits(calls=1_000)}), clock) as cluster:
        first, second, _ = cluster.organisms
        await _end(first)
        clock.advance(40)
        await _end(second)
        postgres.execute("UPDATE organism.shared SET changed = '-infinity'", url)
        await until(lambda: spent(first, MINUTE) == reported(postgres, url) == 2)
        clock.advance(40)
        await until(lambda: spent(first, MINUTE) == reported(postgres, url) == 1)
        clock.advance(40)
        await until(lambda: spent(first, MINUTE) == reported(postgres, url) == 0)


def shown(cluster: House) -> int:
    """Return how many calls the cluster says are spent: what the partition says that has heard most."""
    return max(spent(organism, ALL) for organism in cluster.organisms)


def spent(organism: Organism, account: str) -> int:
    """Return how many calls a partition says are spent of a limit, by all."""
    return organism.budgets.state(account).spent.calls


def reported(postgres: PostgresServer, url: str) -> int:
    """Return how many calls all partitions have reported as spent."""
    return int(postgres.execute("SELECT sum(s_calls)::bigint FROM organism.slices", url)[0][0])


_SILENT = (
    "CREATE SEQUENCE organism.lost_reports; "
    "CREATE FUNCTION organism.silent() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM nextval('organism.lost_reports'); RETURN NULL; END $$; "
    "CREATE TRIGGER silent BEFORE UPDATE OF s_calls ON organism.slices FOR EACH ROW "
    "WHEN (NEW.p = {partition} AND NEW.s_calls > OLD.s_calls) EXECUTE FUNCTION organism.silent()"
)
"""Loses what a partition reports as spent, and says when it has."""

_LOST = "UPDATE organism.leases SET owner = 'z', epoch = epoch + 1, expires = '-infinity' WHERE p = {partition}"
"""Its owner has died, for all that the others know."""
