"""Limits that all partitions of a cluster share: what a node takes of them, gives back and agrees on with the others.

A partition spends only of its slice of such a limit. :mod:`organism.stores.postgres.slice_table` says why no crash lets
all of them together spend more. One task of a node does everything here, so no two steps of it overlap.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import anyio
import structlog

from organism.cluster.partition_questions import PartitionQuestions
from organism.cluster.partition_slices import PartitionSlices
from organism.concurrency.own_threads import OwnThreads
from organism.control.components import Components
from organism.errors import OrganismError
from organism.stores.leases import Lease
from organism.stores.shared.slice_rows import Share, SharedLimit
from organism.text.lasting_failure import LastingFailure

if TYPE_CHECKING:
    from organism.stores.postgres.slice_table import SliceTable

_SOON_S = 0.1
"""Seconds between two exchanges while a partition needs more than there is."""

_EXCHANGE_S = 0.5
"""Seconds between two exchanges as a rule: how old may be what is known of the others."""

_CHANGED_S = 10.0
"""Limits that were changed in so many seconds are read at each exchange."""

_FORGET_S = 600.0

_KEEP_NS = 40 * 86_400 * 1_000_000_000
"""So long after its window an account's spend may be corrected, and is kept."""

_log = structlog.get_logger("organism.cluster")


class Escrow:
    """The slices of the partitions that a node runs.

    Args:
        url: The database.
        partitions: How many journals it holds.

    Attributes:
        configuration: How late the file of the node was ordered; 0 for none.
        failures: How often it could not agree with the others.
    """

    def __init__(self, url: str, partitions: int) -> None:
        self._url, self._partitions = url, partitions
        self._threads = OwnThreads(1)
        self._slices: dict[int, PartitionSlices] = {}
        self._questions: dict[int, PartitionQuestions] = {}
        self._woken = anyio.Event()
        self._exchange_s = self._forget_s = 0.0
        self.configuration = 0
        self._table: SliceTable | None = None
        self._failure = LastingFailure()
        self.failures = 0

    @property
    def table(self) -> "SliceTable":
        """The slices in the database; its calls block."""
        from organism.stores.postgres.slice_table import SliceTable

        if self._table is None:
            self._table = SliceTable(self._url, self._partitions)
        return self._table

    @property
    def statements(self) -> int:
        """How many statements have taken, given back or looked up a slice."""
        return 0 if self._table is None else self._table.statements

    def join(self, lease: Lease, components: Components, running: Callable[[], bool]) -> None:
        """Take part for a partition, before it has begun; ``running`` tells whether it may write."""
        slices = PartitionSlices(self.table, self._threads, lease, components, running)
        slices.shared = slices.take_part(self._wake)
        slices.files.order = self.configuration
        self._slices[lease.partition] = slices
        self._questions[lease.partition] = PartitionQuestions(
            self.table, self._threads, lease, components, slices, self._exchange_soon
        )

    def configure(self, configuration: int) -> None:
        """Go by a file that was ordered so late: what it says of limits counts where no newer one says something."""
        self.configuration = configuration
        for slices in self._slices.values():
            slices.files.go_by(configuration, slices.accounts)
        self._exchange_soon()

    def part(self, partition: int) -> None:
        """Know a partition no more: another node has it, with its slices."""
        self._slices.pop(partition, None)
        self._questions.pop(partition, None)

    def _exchange_soon(self) -> None:
        self._exchange_s = 0.0
        self._wake()

    def _wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Serve the partitions until it is cancelled; an unreachable database ends nothing."""
        try:
            while True:
                # Made anew before looking: a need that comes while a turn waits for the database wakes the next turn.
                self._woken = anyio.Event()
                try:
                    soon_s = await self._turn()
                    self._failure.end()
                except OrganismError as error:
                    self.failures += 1
                    if self._failure.is_news(str(error)):
                        _log.warning("slices_failed", error=str(error))
                    soon_s = _EXCHANGE_S
                    await anyio.sleep(_SOON_S)
                with anyio.move_on_after(soon_s):
                    await self._woken.wait()
        finally:
            # Shielded: a connection that is left open keeps its place at the server until that notices.
            with anyio.CancelScope(shield=True):
                await self._threads.run(self.table.close)

    def _running(self) -> Iterator[PartitionSlices]:
        return (slices for slices in tuple(self._slices.values()) if slices.running())

    async def _turn(self) -> float:
        """Do what is due, and return after how many seconds there is more."""
        soon_s = _EXCHANGE_S
        for slices in self._running():
            if not slices.taken_up:
                await slices.take_up()
            await slices.say_of_files()
            await slices.tell_ordered()
            soon_s = min(soon_s, await slices.serve_needs())
            if (questions := self._questions.get(slices.lease.partition)) is not None:
                if not questions.taken_up:
                    questions.take_up()
                await questions.serve()
        now_s = anyio.current_time()
        if now_s >= self._exchange_s:
            pressed = await self._exchange()
            self._exchange_s = anyio.current_time() + (_SOON_S if pressed else _EXCHANGE_S)
        if now_s >= self._forget_s:
            self._forget_s = now_s + _FORGET_S
            for slices in self._running():
                await self._threads.run(self.table.forget, slices.now_ns() - _KEEP_NS)
                break
        return max(0.0, min(soon_s, self._exchange_s - anyio.current_time()))

    async def _report(self, running: list[PartitionSlices]) -> None:
        """Report what was spent and is held."""
        reports: list[tuple[Lease, str, Share]] = []
        for slices in running:
            reports += await slices.reports()
        if reports:
            await self._threads.run(self.table.report, reports)

    async def _exchange(self) -> bool:
        """Exchange what is known; what the database did not take or show is exchanged the next time."""
        running = list(self._running())
        try:
            return await self._tell_and_hear(running)
        except OrganismError:
            # The answer may have been lost after the rows were written. A report says what was spent in all, not what
            # came since, so the same is said once more without being counted twice. Who is idle from here on would
            # ask no more what others have spent: the last of all to report is the one that knows all of it.
            for slices in running:
                slices.unreported()
            raise

    async def _tell_and_hear(self, running: list[PartitionSlices]) -> bool:
        """Tell what was spent, hear what the others have, and act on it; whether somebody needs more than there is."""
        names = set[str]()
        # Before reading: partitions of this node hear each other by the same rows, and would act on those of before.
        await self._report(running)
        for slices in running:
            names |= slices.watched
            if (questions := self._questions.get(slices.lease.partition)) is not None:
                names |= questions.watched
        if not names and not any(slices.accounts for slices in running):
            return False
        partitions = [slices.lease.partition for slices in running]
        limits: list[SharedLimit] = await self._threads.run(self.table.read, sorted(names), partitions, _CHANGED_S)
        for limit in limits:
            for slices in running:
                # Asked for each: every step awaits the database, and the partition may be handed over meanwhile. A
                # slice that is given back then would be one that its next owner spends of.
                if slices.running():
                    await self._hear(slices, limit)
        for slices in running:
            if slices.running():
                await slices.return_closed()
        return any(limit.wanted for limit in limits) or any(slices.shared.needs for slices in running)

    async def _hear(self, slices: PartitionSlices, limit: SharedLimit) -> None:
        questions = self._questions.get(slices.lease.partition)
        if questions is not None:
            await questions.tell_missed(limit)
            questions.hear(limit)
        await slices.hear(limit)
        if questions is not None and slices.running():
            questions.heed(limit)
