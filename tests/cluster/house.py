"""Three nodes of one organism on a real PostgreSQL, for tests of what they share."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing

import anyio

from organism import Context, Organism, Text, agent
from organism.amounts import TokenUsage
from organism.budget.scopes import BudgetPlan
from organism.clock import Clock
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node import ClusterNode
from organism.errors import BudgetExhaustedError
from organism.providers.scripted import ScriptedAnswer
from organism.stores.leases import Lease
from organism.stores.postgres.database import PostgresDatabase
from organism.testing import ScriptedProvider
from organism.testing.audit import audit_storage
from organism.testing.postgres_server import PostgresServer
from organism.testing.shared_audit import SharedAudit, audit_shared
from organism.usage.events import ThresholdCrossed
from tests.waiting import until

TIMES = LeaseTimes(ttl_s=60.0, renew_s=0.1, margin_s=1.0, drain_s=10.0, again_s=0.1)
PARTITIONS = 3
ALL = "organism@lifetime"
NODES = ("a", "b", "c")


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


class House:
    """Three nodes of one organism; counts what reaches the provider and what it is warned of."""

    def __init__(self) -> None:
        self.nodes: list[ClusterNode] = []
        self.calls = 0
        self.crossed = Counter[tuple[str, int]]()

    def answer(self, _request: object) -> ScriptedAnswer:
        """Answer a call."""
        self.calls += 1
        return ScriptedAnswer(text="done", usage=TokenUsage(input=7, output=3))

    def hear(self, event: object) -> None:
        """Count the warnings."""
        if isinstance(event, ThresholdCrossed):
            self.crossed[event.account, event.threshold] += 1

    @property
    def organisms(self) -> list[Organism]:
        """All organisms that run, of all nodes."""
        return [organism for node in self.nodes for organism in node.organisms.values()]

    async def use(self, threads: int, labels: dict[str, str] | None = None) -> int:
        """Open so many threads in each partition, and return how many of them were refused."""
        refused = 0

        async def run(organism: Organism) -> None:
            nonlocal refused
            try:
                await organism.wait(await organism.open_thread("write", labels=labels))
            except BudgetExhaustedError:
                refused += 1

        async with anyio.create_task_group() as tasks:
            for organism in self.organisms:
                for _ in range(threads):
                    tasks.start_soon(run, organism)
        return refused


@asynccontextmanager
async def house(url: str, plan: BudgetPlan, clock: Clock | None = None) -> AsyncIterator[House]:
    found = House()
    async with AsyncExitStack() as stack:
        for name in NODES:
            organism = Organism(
                [writer],
                name="house",
                models={"main": "scripted/m"},
                providers={"scripted": ScriptedProvider(found.answer)},
                provider_kinds={"scripted": "local"},
                limits=plan,
                clock=clock,
                wait_s=120.0,
            )
            node = ClusterNode(organism, url, node=name, partitions=PARTITIONS, times=TIMES)
            found.nodes.append(await stack.enter_async_context(node))
        # Before each has its share, partitions are still handed over.
        await until(lambda: all(len(node.organisms) == 1 for node in found.nodes))
        for organism in found.organisms:
            organism.usage.subscribe(found.hear)
        yield found


def audited(url: str) -> SharedAudit:
    """Audit every partition, and what they have shared."""
    with ExitStack() as stack:
        databases = {
            number: stack.enter_context(closing(PostgresDatabase(url, take=False, lease=Lease(number, 0, PARTITIONS))))
            for number in range(PARTITIONS)
        }
        for database in databases.values():
            assert audit_storage(database).findings == []
        return audit_shared(databases)


def sums(postgres: PostgresServer, url: str) -> dict[str, tuple[int | None, int]]:
    """Return of each limit in calls: it, and what is granted, which is what all slices make."""
    rows = postgres.execute(
        "SELECT account, l.calls, g_calls, sum(s.calls) "
        "FROM organism.shared l JOIN organism.slices s USING (account) GROUP BY account",
        url,
    )
    assert [row for row in rows if row[2] != row[3]] == []
    return {account: (limit, granted) for account, limit, granted, _ in rows}
