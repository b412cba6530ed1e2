"""A provider's limits hold over all nodes of a cluster: never passed, used to their end by whoever needs them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any

import anyio
import msgspec
import pytest

from organism import Context, Organism, Text, agent
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node import ClusterNode
from organism.cluster.rate_shares import RateShares
from organism.router.call import RouterSettings
from organism.router.limits.limiter import ReplacedError
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.provider_share import NodeClaims, ProviderClaims, RateClaim
from organism.router.limits.rate_limit import RateLimits
from organism.router.planning.provider_limiters import ProviderLimiters
from organism.stores.postgres.rate_table import RateTable
from organism.testing import ScriptedProvider, VirtualClock
from organism.testing.postgres_server import PostgresServer
from tests.waiting import until

pytestmark = [pytest.mark.debian, pytest.mark.anyio]

TIMES = LeaseTimes(ttl_s=60.0, renew_s=0.1, margin_s=1.0, drain_s=0.2, again_s=0.1)
NODES = ("a", "b", "c")


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, model="main", max_output_tokens=16)).text)


@agent()
async def other(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, model="other", max_output_tokens=16)).text)


class CountingProvider(ScriptedProvider):
    """One provider that all nodes call; counts what is under way, and answers when it is let to."""

    def __init__(self) -> None:
        super().__init__(["done"])
        self.begun = self.now = self.most = 0
        self.may_answer = anyio.Event()

    async def complete(self, *given: Any) -> Any:
        """Make one attempt."""
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.may_answer.wait()
            return await super().complete(*given)
        finally:
            self.now -= 1


@asynccontextmanager
async def nodes(
    url: str,
    provider: CountingProvider,
    treated: ProviderSettings,
    names: tuple[str, ...] = NODES,
    second: CountingProvider | None = None,
) -> AsyncIterator[list[ClusterNode]]:
    async with AsyncExitStack() as stack:
        found = []
        for name in names:
            organism = Organism(
                [writer, other],
                name="house",
                models={"main": "scripted/m", "other": "second/m"},
                providers={"scripted": provider, "second": second or CountingProvider()},
                provider_kinds={"scripted": "local", "second": "local"},
                router=RouterSettings(providers={"scripted": treated} | ({"second": treated} if second else {})),
            )
            node = ClusterNode(organism, url, node=name, partitions=3, times=TIMES)
            found.append(await stack.enter_async_context(node))
        await until(lambda: all(len(node.organisms) == 3 // len(names) for node in found))
        yield found


async def opened(node: ClusterNode, count: int) -> list[str]:
    return [await node.open_thread("write") for _ in range(count)]


async def test_all_nodes_together_have_no_more_attempts_under_way_than_one_may(url: str) -> None:
    """Four places serve thirty attempts at three nodes, four at a time, wherever the places were before."""
    provider = CountingProvider()
    async with nodes(url, provider, ProviderSettings(concurrency=4)) as found:
        first = await opened(found[0], 10)
        await until(lambda: provider.now == 4)  # one node has them all: the others need none
        threads = [(found[0], thread) for thread in first]
        threads += [(node, thread) for node in found[1:] for thread in await opened(node, 10)]
        provider.may_answer.set()
        for node, thread in threads:
            assert (await node.wait(thread)).outcome == "completed"
    assert (provider.begun, provider.most) == (30, 4)


async def test_all_nodes_together_ask_no_more_within_a_minute_than_one_may(url: str) -> None:
    """What other nodes do not use of a minute goes to the one that has something to ask; then it waits."""
    provider = CountingProvider()
    provider.may_answer.set()
    limits = ProviderSettings(rates=RateLimits(requests=12, tokens=100_000))
    async with nodes(url, provider, limits) as found:
        await opened(found[0], 9)
        await opened(found[1], 5)
        await until(lambda: provider.begun == 12)
        with closing(RateTable(url)) as table:
            ((claims,), seen) = (table.read_all(), set[int]())
            while len(seen) < 8:
                (claims,) = table.read_all()
                seen.add(claims.version)
                assert sum(node.claims["requests"].granted for node in claims.nodes) <= 12
                await anyio.sleep(0.02)
            assert sum(node.claims["requests"].waiting for node in claims.nodes) == 2
        assert provider.begun == 12


async def test_what_a_dead_node_has_is_waited_for(url: str) -> None:
    """A place that a dead node has is nobody's until its lease is over, and then anybody's."""
    provider = CountingProvider()
    provider.may_answer.set()
    async with nodes(url, provider, ProviderSettings(concurrency=1), ("a",)) as (node,):
        with closing(RateTable(url)) as table:
            await until(lambda: bool(table.read_all()))
            gone = RateClaim(limit=1, granted=1, used=1)
            while True:
                now_s, (known,) = table.read(["scripted"])
                dead = NodeClaims(node="z", incarnation=1, seen_s=now_s - TIMES.ttl_s + 1, claims={"concurrency": gone})
                own = tuple(
                    msgspec.structs.replace(each, claims={"concurrency": RateClaim(limit=1)}) for each in known.nodes
                )
                if table.write(ProviderClaims(provider="scripted", version=known.version, nodes=(*own, dead))):
                    break
            # Two exchanges later the node has heard of it.
            await until(lambda: table.read_all()[0].version >= known.version + 3)
            thread = await node.open_thread("write")
            assert (await node.wait(thread)).outcome == "completed"
            assert table.read(["scripted"])[0] >= now_s + 1


async def test_of_two_that_have_seen_the_same_only_the_first_writes(url: str) -> None:
    """What is granted is what the one that wrote last has added up: nobody writes over what it has not seen."""
    async with nodes(url, CountingProvider(), ProviderSettings(), ("a",)):
        with closing(RateTable(url)) as table:  # no provider is limited: the node writes nothing itself
            _, (new,) = table.read(["scripted"])
            mine = NodeClaims(node="a", incarnation=1, seen_s=1.5, claims={"tokens": RateClaim(limit=9, granted=9)})
            assert table.write(msgspec.structs.replace(new, nodes=(mine,)))
            assert not table.write(new)
            _, (known,) = table.read(["scripted"])
            assert (known.version, known.nodes) == (1, (mine,))
            assert table.write(msgspec.structs.replace(known, nodes=()))
            assert not table.write(known)


UNREADABLE = (
    '[{"node": 7}]',
    "no json",
    '[{"node": "z", "incarnation": 1, "seen_s": 9e9, "claims": {"concurrency": {"limit": 1, "granted": -5}}}]',
    '[{"node": "z", "incarnation": 1, "seen_s": 9e9, "claims": {"of a newer program": {"limit": 1}}}]',
    "[" * 100_000,
)


@pytest.mark.parametrize("row", UNREADABLE, ids=["wrong type", "no json", "below zero", "unknown unit", "deep"])
async def test_a_row_that_cannot_be_read_stops_its_provider_alone(postgres: PostgresServer, url: str, row: str) -> None:
    """A newer program may have written it: nothing is called there until it can be read; other providers go on."""
    first, second = CountingProvider(), CountingProvider()
    first.may_answer.set()
    second.may_answer.set()
    async with nodes(url, first, ProviderSettings(concurrency=1), ("a",), second) as (node,):
        with closing(RateTable(url)) as table:
            await until(lambda: len(table.read_all()) == 2 and node.rates.shares["scripted"]["concurrency"] == 1)
            written = "UPDATE organism.rates SET nodes = '{}', version = version + 1 WHERE provider = 'scripted'"
            postgres.execute(written.format(row), url)
            await until(lambda: [*node.rates.unreadable] == ["scripted"])
            assert [each.provider for each in table.read_all() if each.unreadable] == ["scripted"]
            waits = await node.open_thread("write")
            assert (await node.wait(await node.open_thread("write", to="other"))).outcome == "completed"
            assert (first.begun, second.begun) == (0, 1)
            postgres.execute(written.format("[]"), url)
            assert (await node.wait(waits)).outcome == "completed"
            assert not node.rates.unreadable


async def test_what_is_forgotten_counts_as_used_until_its_minute_is_over(postgres: PostgresServer, url: str) -> None:
    """An operator has the nodes agree anew: nobody knows what was used, so nothing is until it is over."""
    provider = CountingProvider()
    provider.may_answer.set()
    async with nodes(url, provider, ProviderSettings(concurrency=1), ("a",)) as (node,):
        with closing(RateTable(url)) as table:
            await until(lambda: bool(table.read_all()))
            postgres.execute("UPDATE organism.rates SET nodes = 'no json', version = version + 1", url)
            await until(lambda: bool(node.rates.unreadable))
            assert table.forget("scripted")
            assert not table.forget("unknown")
            await until(lambda: not node.rates.unreadable)
            thread = await node.open_thread("write")
            (known,) = table.read_all()
            nobody = next(each for each in known.nodes if each.node == "")
            assert nobody.claims["concurrency"].granted > 1
            await until(lambda: table.read_all()[0].version >= known.version + 3)
            assert provider.begun == 0
            earlier = msgspec.structs.replace(nobody, seen_s=nobody.seen_s - TIMES.ttl_s)  # a minute has passed
            while True:
                (known,) = table.read_all()
                others = tuple(each for each in known.nodes if each.node != "")
                if table.write(msgspec.structs.replace(known, nodes=(*others, earlier))):
                    break
            assert (await node.wait(thread)).outcome == "completed"


async def test_a_node_that_leaves_gives_back_what_it_has_not_used(url: str) -> None:
    """The next one has all that is left of the minute at once."""
    provider = CountingProvider()
    provider.may_answer.set()
    limits = ProviderSettings(rates=RateLimits(requests=12))
    async with nodes(url, provider, limits, ("a",)) as (node,):
        for thread in await opened(node, 5):
            await node.wait(thread)
    async with nodes(url, provider, limits, ("b",)) as (node,):
        await opened(node, 9)
        await until(lambda: provider.begun == 12)
        with closing(RateTable(url)) as table:
            (claims,) = table.read_all()
            assert {each.node: each.claims["requests"].granted for each in claims.nodes} == {"a": 5, "b": 7}


async def test_calls_at_a_provider_that_is_replaced_take_none_of_what_the_other_nodes_have() -> None:
    """They wait where nobody agrees with the others any more: a node that had nothing there has them planned anew."""
    treated, clock = {"p": ProviderSettings(concurrency=1)}, VirtualClock()
    limiters = ProviderLimiters(["p"], treated, clock)
    shares, permit = RateShares("", "a", limiters, TIMES), limiters["p"].take()
    turned_away: list[bool] = []

    async def enter() -> None:
        try:
            await permit.enter(1, anyio.current_time() + 60)
        except ReplacedError:
            turned_away.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter)
        await until(lambda: limiters["p"].demand().waiting)
        without = limiters.succeeded({"p": ScriptedProvider(["old"])}, {}, {}, clock)
        shares.replace(without)
        shares.replace(without.succeeded({}, {"p": ScriptedProvider(["new"])}, treated, clock))
        await until(lambda: turned_away, within_s=5)
