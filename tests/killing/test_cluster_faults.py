"""Nodes that are killed, stopped past their leases, cut from their database and reloaded meanwhile lose nothing.

Their threads are opened at random nodes. Some are for an agent that works at nodes of a label only, some spend of a
limit that all share to its last call, some of one at which a person is asked, once for all nodes.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from organism import Organism
from organism.cluster.lease_times import PartitionElsewhereError
from organism.cluster.node import ClusterNode
from organism.errors import StoppedError, ThreadClosedError
from organism.testing.postgres_server import PostgresServer
from organism.threads.approvals import ApprovalNeededError
from tests.killing.cluster.checks import (
    check_places,
    check_questions,
    check_rates,
    check_shared,
    check_threads,
    read_journals,
)
from tests.killing.cluster.house import ALL, ALL_CALLS, LABELLED, PARTITIONS, SHARED, SHARED_CALLS, House
from tests.killing.cluster.node_process import answer, questions
from tests.killing.cluster.nodes import TTL_S, Nodes, provoke, stale, stale_min, strike
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.killing]

LAST_S = 240

T = TypeVar("T")


@pytest.fixture
def nodes(postgres: PostgresServer, tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(postgres.database(), tmp_path)
    yield nodes
    nodes.end()


class LastNode:
    """One more node, which takes everything over when the others are dead.

    Attributes:
        resumed: How many agents had stopped there, because the processes of their messages had died again and again.
    """

    def __init__(self, node: ClusterNode, house: House) -> None:
        self.resumed = 0
        self._node, self._house = node, house

    async def finish(self, version: int) -> None:
        """Reload a version of the file that is new to all, use up what is shared, and wait for the end of all."""
        await until(lambda: len(self._organisms) == PARTITIONS + LABELLED, LAST_S)
        await self._node.reload(self._house.spec(version))
        await self._use_up()
        for thread in [view.thread_id for organism in self._organisms for view in organism.threads()]:
            await self._end(thread)
        await until(lambda: self._limits() == {ALL_CALLS + version}, LAST_S)

    async def answered(self, postgres: PostgresServer, url: str) -> None:
        """Wait until nothing is asked any more: in no partition, and not in the table that they share."""
        await until(lambda: not postgres.execute("SELECT 1 FROM organism.questions WHERE said IS NULL", url), LAST_S)
        await until(lambda: not questions(self._organisms), LAST_S)

    @property
    def _organisms(self) -> list[Organism]:
        return [*self._node.organisms.values()]

    async def _use_up(self) -> None:
        """Use what is left of the shared limit, and a little more: it is all to be had, wherever it was."""
        while (left := SHARED_CALLS - self._used()) > 0:
            await self._resume_stopped()
            async with anyio.create_task_group() as tasks:
                for _ in range(left // 2 + 2 * PARTITIONS):
                    tasks.start_soon(self._use_two)

    def _used(self) -> int:
        return sum(each.ledger.balance(SHARED).spent.calls for each in self._organisms if each.ledger.has(SHARED))

    async def _resume_stopped(self) -> None:
        """Have agents go on that have stopped, as an operator does: what is for them would make no call."""
        for organism in self._organisms:
            for name in organism.pump.statistics().stopped_agents:
                await organism.control.resume_agent(name)
                self.resumed += 1

    async def _use_two(self) -> None:
        await self._end(await patiently(partial(self._node.open_thread, "write", labels={"tier": "tight"})))

    async def _end(self, thread: str) -> None:
        with suppress(ThreadClosedError):
            await patiently(partial(self._node.wait, thread))

    def _limits(self) -> set[int | None]:
        return {each.budgets.state(ALL).limits.calls for each in self._organisms if each.ledger.has(ALL)}


async def patiently(order: Callable[[], Awaitable[T]]) -> T:
    """Do what a client does with a 503 of a node that is late with its lease, and while a person is asked: again."""
    while True:
        try:
            return await order()
        except (ApprovalNeededError, StoppedError, PartitionElsewhereError):
            await anyio.sleep(0.05)


async def test_nothing_is_lost_or_doubled_however_nodes_end(
    nodes: Nodes, postgres: PostgresServer, tmp_path: Path, faults: int, seed: int
) -> None:
    """Each promised thread ends once, chains are whole, no hold is open, all is recorded, limits and labels hold."""
    nodes.start()
    await anyio.sleep(3)
    struck = await strike(nodes, postgres, faults, seed)
    early = stale(postgres)
    more = await provoke(nodes, postgres, seed, stale_min(faults))
    refused = stale(postgres)
    nodes.end()
    url, house = postgres.url("test"), House("last", tmp_path)
    async with house.node(url, TTL_S, nodes.version) as node, anyio.create_task_group() as tasks:
        tasks.start_soon(answer, node, house.notes)
        last = LastNode(node, house)
        await last.finish(nodes.version + 1)
        await last.answered(postgres, url)
        tasks.cancel_scope.cancel()

    found, notes = read_journals(url), house.notes
    reloads = len(list(notes.read("reloaded")))
    figures = [
        f"{struck.total()} faults ({dict(struck)}), {early} stale groups refused, {refused} after {more} more stops",
        f"{reloads} of {nodes.version} reloads done, {last.resumed} agents resumed at the end",
        check_threads(found, notes),
        check_rates(notes),
        check_shared(found, notes, postgres, url),
        check_places(notes),
        check_questions(found, notes),
    ]
    print("", *figures, sep="\n")  # noqa: T201 - shown with -s, and of interest where it is
    assert refused >= stale_min(faults)
    assert reloads > 0
