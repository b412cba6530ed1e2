"""The processes of a simulated cluster: each a node of the product, with a network link that fate may break."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

import anyio
import anyio.abc

from organism.app import Organism
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node import ClusterNode
from organism.cluster.node_labels import NodeLabels
from organism.concurrency.error_groups import sole_error
from organism.errors import OrganismError
from organism.journal import JournalError
from organism.testing.simulate.cluster.cluster_shape import LABEL
from organism.testing.simulate.cluster.network import LINK, Link
from organism.testing.simulate.subject import Subject

PARTITIONS = 3

TIMES = LeaseTimes(ttl_s=10.0, renew_s=3.0, margin_s=2.0, drain_s=5.0, again_s=1.0)

LABELLED = 1
"""Partitions that need the label, behind those that need none."""

_NAMES = ("a", "b", "c")
_LABELS = {
    name: NodeLabels(has=frozenset(has), partitions={LABEL: LABELLED})
    for name, has in (("a", (LABEL,)), ("b", (LABEL,)), ("c", ()))
}


class Process:
    """One process of a node.

    Attributes:
        name: The node's.
        link: Its network.
        node: It, once it has registered.
        scope: Cancelling it is the end of the process.
        leaving: Set for it to leave in good order.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.link = Link()
        self.node: ClusterNode | None = None
        self.scope = anyio.CancelScope()
        self.leaving = anyio.Event()

    @property
    def running(self) -> ClusterNode:
        """The node, which has registered.

        Raises:
            RuntimeError: If it has not.
        """
        if self.node is None:
            raise RuntimeError("the node has not registered yet")
        return self.node


class Nodes:
    """The nodes that run, and what befalls them.

    Args:
        subject: Makes the organisms; told what was seen, and what is wrong.
        url: The database.
        tasks: Runs the processes.
        watch: Called with the organism of each partition before it runs.
    """

    def __init__(
        self, subject: Subject, url: str, tasks: anyio.abc.TaskGroup, watch: Callable[[int, Organism], None]
    ) -> None:
        self._subject, self._url, self._tasks, self._watch = subject, url, tasks, watch
        self._processes: list[Process] = []

    def organisms(self) -> list[Organism]:
        """Return those that take work."""
        return [each for process in self._running() for each in process.running.organisms.values()]

    @property
    def alive(self) -> int:
        """How many processes have not ended."""
        return len(self._processes)

    def _running(self) -> list[Process]:
        return [each for each in self._processes if each.node is not None and not each.leaving.is_set()]

    async def befall(self, kind: str, number: int) -> None:
        """Let fate have its way with one of them."""
        running = self._running()
        if kind == "join":
            self.join(_NAMES[number % len(_NAMES)])
        elif running:
            await getattr(self, f"_{kind}")(running[number % len(running)], number)
        else:
            return
        self._subject.saw(f"node {kind}")

    def join(self, name: str) -> None:
        """Begin a process of a node; one of the same name that still runs is replaced."""
        process = Process(name)
        self._processes.append(process)
        self._tasks.start_soon(self._run, process)

    async def _run(self, process: Process) -> None:
        LINK.set(process.link)
        try:
            with process.scope:
                async with self._node(process.name) as process.node:
                    await process.leaving.wait()
        except Exception as wrapped:
            error = sole_error(wrapped)
            if not isinstance(error, OrganismError):
                raise
            self._subject.saw(f"node ended by {type(error).__name__}")
        finally:
            self._processes.remove(process)

    def _node(self, name: str) -> ClusterNode:
        def beside(partition: int, organism: Organism) -> AbstractAsyncContextManager[None]:
            if partition >= PARTITIONS:
                self._subject.saw("a partition that needs a label")
                if not _LABELS[name].has:
                    self._subject.wrong(f"node {name} runs partition {partition}, whose label it has not")
            self._watch(partition, organism)
            return nullcontext()

        return ClusterNode(
            self._subject.organism(),
            self._url,
            node=name,
            partitions=PARTITIONS,
            labels=_LABELS[name],
            times=TIMES,
            beside=beside,
        )

    async def _leave(self, process: Process, _number: int) -> None:
        process.leaving.set()

    async def _kill(self, process: Process, _number: int) -> None:
        process.link.cut = True
        process.scope.cancel()

    async def _drain(self, process: Process, _number: int) -> None:
        await self._drained(process, draining=True)

    async def _undrain(self, process: Process, _number: int) -> None:
        await self._drained(process, draining=False)

    async def _drained(self, process: Process, *, draining: bool) -> None:
        try:
            _drain(process.running, draining=draining)
        except JournalError:
            self._subject.saw("an order that the network has lost")

    async def _reload(self, process: Process, number: int) -> None:
        """Give it another file than the others may have, which says other limits."""
        node = process.running
        try:
            await node.reload(self._subject.changed(node.parts.spec, number))
        except OrganismError as error:
            self._subject.saw(f"reload refused: {type(error).__name__}")

    async def _cut(self, process: Process, number: int) -> None:
        process.link.cut = True
        await anyio.sleep((1.0, 6.0, 9.0, 14.0, 40.0)[number % 5])
        if not process.scope.cancel_called:
            process.link.cut = False

    async def _stall(self, process: Process, number: int) -> None:
        """What it sends now arrives late: after its leases have run out, most of the time, and others have them."""
        process.link.stalled_until_s = anyio.current_time() + (3.0, 9.5, 12.0, 25.0)[number % 4]

    async def _lose(self, process: Process, number: int) -> None:
        process.link.loses = 1 + number % 3

    def heal(self) -> None:
        """Let everything through again, let no node be drained, and let one have the label."""
        for process in self._running():
            process.link.cut, process.link.loses, process.link.stalled_until_s = False, 0, 0.0
            _drain(process.running, draining=False)
        if not any(_LABELS[process.name].has for process in self._running()):
            self.join(_NAMES[0])

    def leave(self) -> None:
        """Let every node leave in good order."""
        for process in self._running():
            process.leaving.set()


def _drain(node: ClusterNode, *, draining: bool) -> None:
    node.table.drain(node.name, draining=draining)
