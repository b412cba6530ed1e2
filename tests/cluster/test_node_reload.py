"""A reload of a node: in one step for all its partitions, for none of another node's, and nothing is lost by it."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import anyio
import psycopg
import pytest
from msgspec.structs import replace

from organism import Agent, Context, Limits, Organism, Text
from organism.budget.scopes import BudgetPlan, ScopedLimits
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node import ClusterNode
from organism.cluster.partition_core import Beside, alone
from organism.control.components import OrganismSpec
from organism.control.idempotency import Order
from organism.errors import BudgetExhaustedError, ConfigError, UnknownRecipientError
from organism.journal import JournalError
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink
from organism.llm.requests import CompletionRequest
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.testing import ScriptedAnswer, ScriptedProvider
from organism.testing.postgres_server import PostgresServer
from organism.usage.events import OperatorAction
from tests.cluster.house import ALL, PARTITIONS, TIMES, audited
from tests.tool_server import ToolServer
from tests.waiting import until

pytestmark = [pytest.mark.debian, pytest.mark.anyio]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


class Held(ScriptedProvider):
    """A provider whose answers wait for the test; it knows whether it was closed."""

    def __init__(self, says: str, *, held: bool = False) -> None:
        super().__init__([ScriptedAnswer(text=says)], name="p")
        self.asked = 0
        self.closed = 0
        self.answers = anyio.Event()
        if not held:
            self.answers.set()

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        assert not self.closed, "a closed provider was asked"
        self.asked += 1
        await self.answers.wait()
        assert not self.closed, "a provider was closed in the middle of a call"
        return await super().complete(request, on_text)

    async def aclose(self) -> None:
        self.closed += 1


def caller(name: str, says: str, node_label: str = "") -> Agent:
    async def handle(message: Text, ctx: Context) -> Text:
        return Text(f"{says}: {(await ctx.llm.complete(message.text, max_output_tokens=5)).text}")

    return Agent(name=name, handler=handle, accepts=(Text,), node_label=node_label)


@asynccontextmanager
async def cluster(
    url: str, *providers: Held, times: LeaseTimes = TIMES, beside: Beside = alone, **given: Any
) -> AsyncIterator[list[ClusterNode]]:
    """Run a node for each provider, with their shares of the partitions."""
    async with anyio.create_task_group() as ends:
        nodes: list[ClusterNode] = []
        leave = anyio.Event()

        async def run(name: str, provider: Held) -> None:
            organism = Organism(
                [caller("writer", "first"), caller("other", "other")],
                name="house",
                models={"main": "p/m"},
                providers={"p": provider},
                provider_kinds={"p": "local"},
                **given,
            )
            node = ClusterNode(organism, url, node=name, partitions=PARTITIONS, times=times, beside=beside)
            async with node:
                nodes.append(node)
                await leave.wait()

        for name, provider in zip("ab", providers, strict=False):
            ends.start_soon(run, name, provider)
            await until(lambda name=name: any(node.name == name for node in nodes))  # type: ignore[misc]
        await until(lambda: sum(len(node.organisms) for node in nodes) == PARTITIONS and all_have(nodes))
        try:
            yield nodes
        finally:
            leave.set()


def all_have(nodes: list[ClusterNode]) -> bool:
    return all(node.organisms for node in nodes)


def spec_of(node: ClusterNode, provider: Held, *agents: Agent, **changes: Any) -> OrganismSpec:
    """Return what a node is made of, with other agents and another provider."""
    return replace(node.parts.spec, agents=agents, providers={"p": provider}, entry=agents[0].name, **changes)


async def answer_of(organism: Organism, to: str | None = None) -> str:
    result = await organism.wait(await organism.open_thread("go", to=to))
    return result.text


async def test_all_partitions_of_the_node_are_reloaded_and_none_of_another(url: str) -> None:
    """Its next messages are handled by the new agents; each of its journals says who has ordered it, and no other."""
    told: Counter[str] = Counter()

    def hear(event: object) -> None:
        if isinstance(event, OperatorAction) and event.action == "reload":
            told[event.by] += 1

    async with cluster(url, Held("x"), Held("x")) as (a, b):
        for organism in (*a.organisms.values(), *b.organisms.values()):
            organism.usage.subscribe(hear, OperatorAction)
        await a.reload(spec_of(a, Held("y"), caller("writer", "second")), Order(by="ann"))
        assert {await answer_of(organism) for organism in a.organisms.values()} == {"second: y"}
        assert {await answer_of(organism) for organism in b.organisms.values()} == {"first: x"}
        assert told == {"ann": len(a.organisms)}
        gone = next(iter(a.organisms.values()))
        with pytest.raises(UnknownRecipientError, match="other"):
            await gone.open_thread("go", to="other")
        # What it takes from here on is made of the new parts, too.
        b.table.drain("b")
        await until(lambda: len(a.organisms) == PARTITIONS)
        assert {await answer_of(organism) for organism in a.organisms.values()} == {"second: y"}
    assert audited(url).findings == []


async def test_calls_under_way_end_at_their_provider_which_is_closed_once_and_then(url: str) -> None:
    """So do those that wait for their turn there; what begins after the reload is the new one's."""
    one_place = RouterSettings(providers={"p": ProviderSettings(concurrency=1)})
    old, new = Held("old", held=True), Held("new")
    answers: list[str] = []

    async def run(organism: Organism) -> None:
        answers.append(await answer_of(organism))

    async with cluster(url, old, router=one_place) as (a,), anyio.create_task_group() as tasks:
        for organism in a.organisms.values():
            tasks.start_soon(run, organism)
        await until(lambda: old.asked == 1)
        await a.reload(spec_of(a, new, caller("writer", "second")))
        assert {await answer_of(organism) for organism in a.organisms.values()} == {"second: new"}
        assert (old.asked, old.closed, answers) == (1, 0, [])
        old.answers.set()
        await until(lambda: len(answers) == PARTITIONS)
        await until(lambda: old.closed == 1)
        assert sorted(answers) == ["first: old"] * PARTITIONS
    assert (old.closed, new.closed) == (1, 1)
    assert audited(url).findings == []


async def test_a_tool_server_that_is_gone_serves_a_partition_until_it_is_handed_over(url: str) -> None:
    """Its runs began with the server, in this reload or an earlier one; where they have ended, it is closed."""
    old, tools = Held("old", held=True), ToolServer()
    async with cluster(url, old, Held("x"), tool_servers=[tools]) as (a, b):
        organism = next(iter(a.organisms.values()))
        thread = await organism.open_thread("go")
        await until(lambda: old.asked == 1)
        await a.reload(spec_of(a, old, caller("writer", "second")))  # the server stays
        a.table.drain("a")
        await until(lambda: not a.organisms)
        await a.reload(replace(spec_of(a, Held("y"), caller("writer", "third")), tool_servers=()))
        await anyio.wait_all_tasks_blocked()
        assert (tools.up, old.closed) == (True, 0)
        old.answers.set()
        await until(lambda: len(b.organisms) == PARTITIONS and not tools.up)
        assert (await b.wait(thread)).text in ("first: old", "first: x")
    assert audited(url).findings == []


async def test_limits_of_a_provider_come_change_and_go_with_reloads(url: str) -> None:
    """A node agrees on them anew with the others, and what has no limit any more waits for nobody."""
    provider = Held("x")
    async with cluster(url, provider, Held("x")) as (a, b):
        assert a.rates.shares == {}
        for most in (8, 2, None):
            router = RouterSettings(providers={"p": ProviderSettings(concurrency=most)})
            await a.reload(spec_of(a, provider, caller("writer", "second"), router=router))
            assert a.rates.shares.keys() == ({"p"} if most else set())
            assert {await answer_of(organism) for organism in a.organisms.values()} == {"second: x"}
            assert a.rates.shares.get("p", {}).get("concurrency", 0) <= (most or 0)
        assert b.rates.shares == {}
        assert provider.closed == 0


async def test_partitions_move_while_nodes_are_reloaded_and_nothing_is_lost(url: str) -> None:
    """Each thread ends once, whatever file its node had, and what all may spend is spent once."""
    opened: list[str] = []
    plan = BudgetPlan(windows={"lifetime": Limits(calls=10_000)})
    async with cluster(url, Held("x"), Held("x"), limits=plan) as nodes:
        by_name = {node.name: node for node in nodes}
        for turn in range(8):
            reloaded, drained = nodes[turn % 2], nodes[(turn // 2) % 2].name
            for node in nodes:
                opened += [await organism.open_thread("go") for organism in node.organisms.values()]
            by_name[drained].table.drain(drained, draining=turn % 4 < 2)
            by_name[drained].renew_soon()
            await reloaded.reload(spec_of(reloaded, Held(f"{turn}"), caller("writer", f"{turn}")))
        for node in nodes:
            node.table.drain(node.name, draining=False)
        await until(lambda: sum(len(node.organisms) for node in nodes) == PARTITIONS)
        for thread in opened:
            owner = next(node for node in nodes if node.layout.partition_of(thread) in node.organisms)
            result = await owner.wait(thread)
            assert result.text.partition(": ")[2]
    audit = audited(url)
    assert audit.findings == []
    assert audit.used["organism@lifetime"].calls == len(opened)


async def reload_limit(node: ClusterNode, mark: str, calls: int) -> None:
    """Give a node the file of a mark, which limits all calls to so many."""
    plan = BudgetPlan(windows={"lifetime": Limits(calls=calls)})
    provider = next(iter(node.parts.spec.providers.values()))
    assert isinstance(provider, Held)
    await node.reload(spec_of(node, provider, caller("writer", mark), limits=plan, configuration=mark))


def shared_limit(postgres: PostgresServer, url: str) -> tuple[int, int]:
    """Return the calls that all may make, and how often that has changed."""
    ((calls, revision),) = postgres.execute("SELECT calls, revision FROM organism.shared", url)
    return calls, revision


async def until_limited(nodes: list[ClusterNode], calls: int) -> None:
    """Wait until every partition knows that all may make so many calls."""

    def known() -> bool:
        return all(
            organism.budgets.state(ALL).limits.calls == calls for node in nodes for organism in node.organisms.values()
        )

    await until(known)


@asynccontextmanager
async def nine_calls_for_all(url: str) -> AsyncIterator[tuple[list[ClusterNode], list[Organism]]]:
    """Run two nodes whose file allows nine calls, of which each partition has made one; yield nodes and organisms."""
    async with cluster(url, Held("x"), Held("x")) as nodes:
        for node in nodes:
            await reload_limit(node, "one", 9)
        everywhere = [organism for node in nodes for organism in node.organisms.values()]
        for organism in everywhere:
            await answer_of(organism)
        yield nodes, everywhere


async def test_a_limit_that_files_change_at_every_node_changes_once(url: str, postgres: PostgresServer) -> None:
    """What is spent stays, what an operator has changed since stays, and all together spend what is left, no more."""
    async with nine_calls_for_all(url) as (nodes, everywhere):
        a, b = nodes
        assert shared_limit(postgres, url) == (9, 1)
        await reload_limit(a, "two", 12)
        await until_limited(nodes, 12)
        await reload_limit(b, "two", 12)
        await until_limited(nodes, 12)
        assert shared_limit(postgres, url) == (12, 2)
        await everywhere[0].control.set_limits(ALL, Limits(calls=7))
        await until_limited(nodes, 7)
        await reload_limit(b, "two", 12)  # once more: it says nothing new
        for organism in everywhere[:1] * 4:
            await answer_of(organism)
        with pytest.raises(BudgetExhaustedError, match="calls"):
            await answer_of(everywhere[-1])
        assert shared_limit(postgres, url) == (7, 3)
    audit = audited(url)
    assert (audit.findings, audit.most[ALL].calls) == ([], 7)


async def test_an_operator_s_word_right_after_a_reload_is_the_last(url: str, postgres: PostgresServer) -> None:
    """At whichever node, and though its other partitions have not passed on what the file says; so it stays."""
    async with nine_calls_for_all(url) as (nodes, everywhere):
        a, b = nodes
        for turn, organism in enumerate(everywhere, 12):
            await reload_limit(a, f"two {turn}", turn)
            await organism.control.set_limits(ALL, Limits(calls=7))
            await until(lambda turn=turn: said_by_file(postgres, url) == turn)  # type: ignore[misc]
            await until_limited(nodes, 7)
            assert shared_limit(postgres, url)[0] == 7
            await reload_limit(b, f"two {turn}", turn)  # it says nothing new
            await reload_limit(b, "two, with a comment", turn)
            await until_limited(nodes, 7)
            assert shared_limit(postgres, url)[0] == 7
        # And the other way round: a file that is ordered after an operator has been answered counts.
        await everywhere[-1].control.set_limits(ALL, Limits(calls=8))
        await reload_limit(a, "three", 6)
        await until_limited(nodes, 6)
        assert shared_limit(postgres, url)[0] == 6
    assert audited(url).findings == []


def said_by_file(postgres: PostgresServer, url: str) -> int:
    """Return what the file that counts says of the calls that all may make."""
    ((calls,),) = postgres.execute("SELECT c_calls FROM organism.shared", url)
    return int(calls)


async def test_an_operator_s_word_counts_where_nobody_has_used_the_limit(url: str, postgres: PostgresServer) -> None:
    """An order goes to one partition, which may have no thread that spends of the account."""
    async with cluster(url, Held("x"), Held("x")) as nodes:
        for node in nodes:
            await reload_limit(node, "one", 9)
        unused, *others = (organism for node in nodes for organism in node.organisms.values())
        for organism in others:
            await answer_of(organism)
        await unused.control.set_limits(ALL, Limits(calls=7))
        await until_limited(nodes, 7)
        assert shared_limit(postgres, url)[0] == 7
    assert audited(url).findings == []


async def test_of_two_files_the_one_that_was_ordered_last_counts(url: str, postgres: PostgresServer) -> None:
    """Also for partitions that a node with the older one takes; and the older one, once it is put back."""
    async with nine_calls_for_all(url) as (nodes, _):
        a, b = nodes
        await reload_limit(a, "two", 12)
        await until_limited(nodes, 12)
        view = a.table.look()
        assert {node.name: view.differs(node) for node in view.nodes} == {"a": False, "b": True}
        a.table.drain("a")
        await until(lambda: len(b.organisms) == PARTITIONS)
        await until_limited([b], 12)
        assert {await answer_of(organism) for organism in b.organisms.values()} == {"one: x"}
        assert shared_limit(postgres, url) == (12, 2)
        await reload_limit(a, "one", 9)
        await reload_limit(b, "one", 9)
        await until_limited([b], 9)
        assert shared_limit(postgres, url) == (9, 3)
    assert audited(url).findings == []


async def test_what_a_file_says_anew_outlasts_a_database_that_is_away(url: str, postgres: PostgresServer) -> None:
    """Its partitions have known it all along, so nothing but the reload tells them to look."""
    async with nine_calls_for_all(url) as ((a, b), _):
        await reload_limit(a, "two", 12)
        await until_limited([a, b], 12)
        a.table.drain("a")
        await until(lambda: len(b.organisms) == PARTITIONS)
        await until_limited([b], 12)
        await reload_limit(a, "one", 9)
        before = b.escrow.failures
        postgres.execute("ALTER TABLE organism.shared RENAME TO away", url)
        await reload_limit(b, "one", 9)
        await until(lambda: b.escrow.failures > before + PARTITIONS)
        postgres.execute("ALTER TABLE organism.away RENAME TO shared", url)
        await until_limited([b], 9)
        assert shared_limit(postgres, url) == (9, 3)
    assert audited(url).findings == []


def marks(node: ClusterNode) -> dict[str, str]:
    """Return the file that each node has, as the database says."""
    return {each.name: each.configuration for each in node.table.look().nodes}


async def test_a_reload_is_refused_when_a_partition_is_taken_up_for_long(url: str) -> None:
    """It says which, nothing is changed, nowhere is anything else said; and reloaded again, all have the new file."""
    waiting, may_go_on = list[int](), anyio.Event()
    may_go_on.set()

    @asynccontextmanager
    async def beside(partition: int) -> AsyncIterator[None]:
        waiting.append(partition)
        await may_go_on.wait()
        yield

    times = replace(TIMES, reload_s=0.2)
    async with cluster(url, Held("x"), Held("x"), times=times, beside=lambda p, _: beside(p)) as (a, b):
        await reload_limit(a, "one", 9)
        may_go_on = anyio.Event()
        waiting.clear()
        b.table.drain("b")
        await until(lambda: waiting)
        with pytest.raises(JournalError, match=rf"0\.2 s: {waiting[0]}; .* nothing was changed: reload again"):
            await reload_limit(a, "two", 12)
        assert (marks(a)["a"], a.parts.mark) == ("one", "one")
        may_go_on.set()
        await until(lambda: len(a.organisms) == PARTITIONS)
        assert {await answer_of(organism) for organism in a.organisms.values()} == {"one: x"}
        await reload_limit(a, "two", 12)
        assert {await answer_of(organism) for organism in a.organisms.values()} == {"two: x"}
        assert marks(a)["a"] == "two"
    assert audited(url).findings == []


async def test_the_database_names_the_file_only_once_it_is_active(url: str, postgres: PostgresServer) -> None:
    """Where it cannot be told then it is told later; where the node begins anew, it has no file until it says so."""
    async with cluster(url, Held("x")) as (a,):
        await reload_limit(a, "one", 9)
        postgres.execute(_MUTE, url)
        await reload_limit(a, "two", 12)
        assert {await answer_of(organism) for organism in a.organisms.values()} == {"two: x"}
        assert marks(a) == {"a": "one"}
        postgres.execute("DROP FUNCTION organism.mute CASCADE", url)
        await until(lambda: marks(a) == {"a": "two"})


async def test_a_reload_is_answered_though_its_journals_cannot_be_written(url: str, postgres: PostgresServer) -> None:
    """The new file is active by then; the journals say who has ordered it when the database answers again."""
    told: list[OperatorAction] = []
    async with cluster(url, Held("x"), times=replace(TIMES, reload_s=0.2)) as (a,):
        for organism in a.organisms.values():
            organism.usage.subscribe(told.append, OperatorAction)
        with closing(psycopg.connect(url)) as other:
            other.execute("LOCK TABLE organism.journals IN ACCESS EXCLUSIVE MODE")
            with anyio.fail_after(20):
                await reload_limit(a, "two", 12)
            assert (a.parts.mark, marks(a), told) == ("two", {"a": "two"}, [])
        await until(lambda: len(told) == PARTITIONS)
        assert {await answer_of(organism) for organism in a.organisms.values()} == {"two: x"}
    assert audited(url).findings == []


_MUTE = (
    "CREATE FUNCTION organism.mute() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$; "
    "CREATE TRIGGER mute BEFORE UPDATE OF configuration ON organism.nodes EXECUTE FUNCTION organism.mute()"
)
"""Lets no node say which file it has."""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "another"}, "keeps its name"),
        ({"agents": (caller("writer", "x", "gpu"),)}, "no partitions yet: gpu; .* restart this node"),
        ({"providers": {"p": object()}}, "it must be a provider"),
        ({"prices": {"p/m": "p/n", "p/n": "p/m"}}, "in a circle"),
        ({"limits": BudgetPlan(models={"mian": ScopedLimits(Limits(calls=1))})}, "limits of no model: mian"),
    ],
)
async def test_what_a_running_node_cannot_become_is_refused_and_nothing_changes(
    url: str, changes: dict[str, Any], why: str
) -> None:
    """The message names it and says what to do."""
    async with cluster(url, Held("x")) as (a,):
        with pytest.raises(ConfigError, match=why):
            await a.reload(replace(spec_of(a, Held("y"), caller("writer", "second")), **changes))
        assert {await answer_of(organism) for organism in a.organisms.values()} == {"first: x"}
