"""Nodes of a cluster share one database: each partition runs on one of them, and moves without losing anything."""

import anyio
import psycopg
import pytest
from structlog.testing import capture_logs

from organism import ConfigError, Context, Limits, Organism, Text, agent
from organism.budget.scopes import BudgetPlan
from organism.cluster.lease_times import LeaseTimes, PartitionElsewhereError
from organism.cluster.node import ClusterNode
from organism.events import PartitionMoved
from organism.journal import FencedError, JournalError
from organism.stores.leases import NodeReplacedError
from organism.stores.postgres.cluster_events import ClusterEvents
from organism.testing import ScriptedProvider
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import keep
from organism.threads.approvals import Decision
from tests.waiting import until

pytestmark = [pytest.mark.debian, pytest.mark.anyio]

TIMES = LeaseTimes(ttl_s=60.0, renew_s=0.1, margin_s=1.0, drain_s=10.0, again_s=0.1)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


@agent()
async def asker(message: Text, ctx: Context) -> Text:
    return Text(str((await ctx.approval("go on?")).allowed))


@agent()
async def sleeper(message: Text, ctx: Context) -> Text:
    await anyio.sleep_forever()
    raise AssertionError


def template(name: str = "house", limits: Limits | BudgetPlan | None = None) -> Organism:
    return Organism(
        [writer, asker, sleeper],
        name=name,
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["done"])},
        provider_kinds={"scripted": "local"},
        limits=limits,
    )


def node(url: str, name: str, partitions: int = 4, times: LeaseTimes = TIMES) -> ClusterNode:
    return ClusterNode(template(), url, node=name, partitions=partitions, times=times, url=f"http://{name}")


def refusal(asked: ClusterNode, thread_id: str) -> str:
    """Return what a node says of a thread that is not its own."""
    with pytest.raises(PartitionElsewhereError) as refused:
        asked.organism_of(thread_id)
    return str(refused.value)


async def test_partitions_spread_and_threads_go_with_them(url: str) -> None:
    """A node that joins takes its share, with the open threads in it; one that leaves hands everything back."""
    async with node(url, "a") as a:
        await until(lambda: len(a.organisms) == 4)
        waiting = [await a.open_thread("x", to="asker") for _ in range(8)]
        assert {a.layout.partition_of(thread) for thread in waiting} == {0, 1, 2, 3}
        async with node(url, "b") as b:
            await until(lambda: len(a.organisms) == len(b.organisms) == 2)
            assert not a.organisms.keys() & b.organisms.keys()
            moved = [thread for thread in waiting if a.layout.partition_of(thread) in b.organisms]
            assert len(moved) == 4
            for thread in moved:
                # A node learns who else runs what by its next renewal.
                await until(lambda at=thread: "node 'b' runs it, at http://b" in refusal(a, at))  # type: ignore[misc]
                assert b.organism_of(thread).thread(thread).thread_id == thread
            done = await b.wait(await b.open_thread("write"))
            assert done.outcome == "completed"
        await until(lambda: len(a.organisms) == 4)
        assert {view.thread_id for organism in a.organisms.values() for view in organism.threads()} == set(waiting)
        for thread in waiting:
            (asked,) = [each for each in a.organism_of(thread).approvals.waiting() if each.thread_id == thread]
            await a.organism_of(thread).approvals.decide(asked.id, Decision(allowed=True))
            assert (await a.wait(thread)).outcome == "completed"


async def test_who_waits_for_a_thread_is_told_where_it_goes_on(url: str) -> None:
    """A partition that is handed over takes its threads along: who waits for one hears which node has it now."""
    async with node(url, "a", 2) as a:
        await until(lambda: len(a.organisms) == 2)
        waiting = [await a.open_thread("x", to="sleeper") for _ in range(2)]
        told: dict[str, PartitionElsewhereError] = {}

        async def wait(thread: str) -> None:
            try:
                await a.wait(thread)
            except PartitionElsewhereError as elsewhere:
                told[thread] = elsewhere

        async with anyio.create_task_group() as tasks, node(url, "b", 2) as b:
            for thread in waiting:
                tasks.start_soon(wait, thread)
            await until(lambda: bool(told))
            ((thread, elsewhere),) = told.items()
            assert (elsewhere.node, elsewhere.url, elsewhere.partition) == (
                "b",
                "http://b",
                b.layout.partition_of(thread),
            )
            await until(
                lambda: b.layout.partition_of(thread) in b.organisms
            )  # known as its owner, it may be taking it up still
            assert b.organism_of(thread).thread(thread).thread_id == thread
            tasks.cancel_scope.cancel()


async def test_a_node_may_leave_while_it_takes_partitions(postgres: PostgresServer, url: str) -> None:
    """What it takes in its last moment it runs no more: it leaves without an error, and others have it at once."""
    async with node(url, "z"):
        pass  # makes the tables
    postgres.execute(
        "CREATE FUNCTION organism.stand() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock(1, 1); RETURN NEW; END $$; "
        "CREATE TRIGGER stand BEFORE UPDATE OF owner ON organism.leases FOR EACH ROW "
        "WHEN (NEW.owner = 'a') EXECUTE FUNCTION organism.stand()",
        url,
    )
    stands = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with anyio.create_task_group() as tasks:
        with psycopg.connect(url, autocommit=True) as gate:
            gate.execute("SELECT pg_advisory_lock(1, 1)")
            async with node(url, "a") as a:
                await until(lambda: bool(postgres.execute(stands, url)))
                tasks.start_soon(_open, gate)  # runs when the node, which begins to leave here, first waits
    assert not a.organisms
    async with node(url, "b") as b:
        await until(lambda: len(b.organisms) == 4)


async def _open(gate: "psycopg.Connection") -> None:
    gate.execute("SELECT pg_advisory_unlock(1, 1)")


async def test_a_named_thread_is_in_one_partition_wherever_it_is_opened(url: str) -> None:
    """Two nodes never both have a thread of one name: the other one says who has it."""
    async with node(url, "a", 2) as a, node(url, "b", 2) as b:
        await until(lambda: len(a.organisms) == len(b.organisms) == 1)
        for name in ("order-1", "order-2", "order-3"):
            owner, other = (a, b) if a.layout.partition_of(name) in a.organisms else (b, a)
            assert await owner.open_thread("x", to="asker", thread_id=name) == name
            # That the owner has taken its partition is known elsewhere from the next renewal on.
            await until(lambda asked=other, at=name: "runs it, at http://" in refusal(asked, at))  # type: ignore[misc]
            with pytest.raises(
                PartitionElsewhereError, match=r"of the cluster, and node '[ab]' runs it, at http://[ab]"
            ):
                await other.open_thread("x", to="asker", thread_id=name)


async def test_a_process_under_the_same_name_takes_the_place_of_the_first(url: str) -> None:
    """A node that is started anew goes on at once with what it had, and the process before it ends with its reason."""

    async def run_first() -> None:
        async with node(url, "a") as first:
            await until(lambda: len(first.organisms) == 4)
            opened.append(await first.open_thread("x", to="asker"))
            await anyio.sleep_forever()

    async def see_it_replaced() -> None:
        with pytest.raises(NodeReplacedError, match="another process has begun as node 'a'"):
            await run_first()

    opened: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(see_it_replaced)
        await until(lambda: bool(opened))
        async with node(url, "a") as second:
            await until(lambda: len(second.organisms) == 4)
            assert second.organism_of(opened[0]).thread(opened[0]).thread_id == opened[0]


async def test_a_lost_lease_ends_the_organism_and_not_the_process(postgres: PostgresServer, url: str) -> None:
    """What another owner has taken is abandoned unwritten, and the other partitions go on."""
    async with node(url, "a", 2) as a:
        await until(lambda: len(a.organisms) == 2)
        lost = a.organisms[0]
        postgres.execute("UPDATE organism.leases SET owner = 'z', expires = expires + interval '60 s' WHERE p = 0", url)
        await until(lambda: 0 not in a.organisms)
        lost.journal.append(keep("late"))
        with pytest.raises(FencedError, match="another process has taken over the journal in partition 0"):
            await lost.journal.commit()
        assert (await a.wait(await a.open_thread("write"))).outcome == "completed"
        postgres.execute("UPDATE organism.leases SET owner = NULL WHERE p = 0", url)
        await until(lambda: 0 in a.organisms)


async def test_a_partition_tells_of_each_of_its_owners(postgres: PostgresServer, url: str) -> None:
    """Its journal holds who took it, who handed it over and who lost it, each once and in order, over all nodes."""
    async with node(url, "a", 2) as a:
        await until(lambda: len(a.organisms) == 2)
        async with node(url, "b", 2) as b:
            await until(lambda: len(a.organisms) == len(b.organisms) == 1)
            (moved,) = b.organisms
        await until(lambda: len(a.organisms) == 2)
        before = a.organisms[moved]
        await before.journal.commit()  # else a slow machine's owner is gone before it was recorded as one
        died = "UPDATE organism.leases SET owner = 'z', epoch = epoch + 1, expires = '-infinity' WHERE p = "
        postgres.execute(died + str(moved), url)
        await until(lambda: a.organisms.get(moved, before) is not before)
        await a.organisms[moved].journal.commit()
    reader = ClusterEvents(url)
    try:
        told = reader.after({0: 0, 1: 0}, 100)
    finally:
        reader.close()
    moves = {at: [event for event in events if isinstance(event, PartitionMoved)] for at, events in told.items()}
    assert [(each.change, each.node, each.owners) for each in moves[moved]] == [
        ("taken", "a", 1), ("handed_over", "a", 1), ("taken", "b", 2), ("handed_over", "b", 2), ("taken", "a", 3),
        ("lost", "z", 4), ("taken", "a", 5), ("handed_over", "a", 5),
    ]  # fmt: skip
    assert [(each.change, each.node) for each in moves[1 - moved]] == [("taken", "a"), ("handed_over", "a")]
    assert {each.partition for each in moves[moved]} == {moved}


async def test_a_restored_older_copy_stops_its_partition(postgres: PostgresServer, url: str) -> None:
    """Where what was acknowledged is not there any more, no node goes on until an operator has looked."""
    async with node(url, "a", 2) as a:
        await until(lambda: len(a.organisms) == 2)
        postgres.execute("UPDATE organism.leases SET epoch = 0 WHERE p = 0", url)
        await until(lambda: bool(a.view.leases[0].stopped))
        assert "an older copy of the database was restored" in a.view.leases[0].stopped
        assert (await a.wait(await a.open_thread("write"))).outcome == "completed"
        assert set(a.organisms) == {1}
        await anyio.to_thread.run_sync(a.table.resume, 0)
        await until(lambda: set(a.organisms) == {0, 1})


async def test_nothing_new_begins_shortly_before_a_lease_may_be_lost(postgres: PostgresServer, url: str) -> None:
    """While renewals fail no call begins and nothing is taken in; when they succeed again, all goes on."""
    async with node(url, "a", 2, LeaseTimes(ttl_s=4.0, renew_s=0.1, margin_s=1.0)) as a:
        await until(lambda: len(a.organisms) == 2)
        organism = a.organisms[0]
        with capture_logs() as logs:
            postgres.execute("ALTER TABLE organism.nodes RENAME TO hidden", url)
            await until(lambda: not a.organisms and not organism.control.accepting)
            postgres.execute("ALTER TABLE organism.hidden RENAME TO nodes", url)
        told = [each["error"] for each in logs if each["event"] == "lease_not_renewed"]
        assert len(told) == 1  # of twenty times or so
        assert "has lost tables of organism" in told[0]
        await until(lambda: all(each.control.accepting for each in a.organisms.values()) and len(a.organisms) == 2)
        assert (await a.wait(await a.open_thread("write"))).outcome == "completed"


async def test_a_node_that_is_drained_has_nothing_and_takes_nothing(url: str) -> None:
    """A node that an operator drains gives its partitions to the others, and its share comes back afterwards."""
    async with node(url, "a") as a, node(url, "b") as b:
        await until(lambda: len(a.organisms) == len(b.organisms) == 2)
        assert await anyio.to_thread.run_sync(b.table.drain, "a")
        await until(lambda: not a.organisms and len(b.organisms) == 4)
        with pytest.raises(PartitionElsewhereError, match="in partition 0 of the cluster"):
            await a.open_thread("write")


REFUSED = {
    "a name": ({"node": "a/b"}, ConfigError, "cannot be a node's name"),
    "one partition": ({"partitions": 1}, ConfigError, "from 2 to 256 partitions"),
    "another count": ({"partitions": 8}, JournalError, "has 4 partitions.*partitions: 4"),
    "another organism": ({"template": template("shop")}, JournalError, "the organism 'house', and this is 'shop'"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_no_node_of_this_cluster_is_refused(url: str, case: str) -> None:
    """Each is refused before it has taken anything, with a sentence that says what to do."""
    changed, error, told = REFUSED[case]
    async with node(url, "a") as a:
        with pytest.raises(error, match=told):
            async with ClusterNode(**{"template": template(), "database": url, "node": "b", "partitions": 4} | changed):
                pass
        assert [each.name for each in a.view.nodes] in ([], ["a"])
