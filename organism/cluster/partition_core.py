"""The organism of one partition, from the lease to its end: handed over in good order, or abandoned when it is lost."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Literal

import anyio
import structlog

from organism.app import Organism
from organism.control.components import Components
from organism.journal import FencedError, JournalBrokenError
from organism.stores.leases import Lease, LeaseRow, OlderCopyError
from organism.usage.events import PartitionMoved

if TYPE_CHECKING:
    from organism.stores.postgres.postgres_journal import PostgresJournal

_LOOK_S = 0.01

_log = structlog.get_logger("organism.cluster")

Beside = Callable[[int, Organism], AbstractAsyncContextManager[None]]
"""Prepares what runs beside the organism of a partition, such as its exporters."""


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def alone(_partition: int, _organism: Organism) -> AbstractAsyncContextManager[None]:
    """Let nothing run beside it."""
    return _nothing()


def older_copy(row: LeaseRow, lease: Lease) -> OlderCopyError:
    """Return the error of a lease that the database has not seen yet."""
    return OlderCopyError(
        f"partition {row.partition} has had {row.epoch} owners, and this one was number {lease.epoch}: an older copy "
        "of the database was restored, and what was acknowledged since is not in it"
    )


def replaced(lease: Lease) -> FencedError:
    """Return the error of a lease that is another process's of the same node by now."""
    return FencedError(f"partition {lease.partition}", lease.epoch, lease.epoch + 1)


class PartitionCore:
    """Runs the organism of a partition.

    Args:
        lease: The right to write to its journal.
        components: The parts of its organism.
        journal: Its journal.
        drain_s: Seconds that calls under way get when it is handed over.
        node: What its node is called.

    Attributes:
        lease: The right to write to its journal.
        organism: It.
        components: Its parts.
    """

    def __init__(
        self, lease: Lease, components: Components, journal: "PostgresJournal", drain_s: float, node: str
    ) -> None:
        self.lease = lease
        self.components = components
        self.organism = Organism.of_components(components, None, None)
        self._router, self._gate = (router := components.router), router.gate
        self._intake = components.pump.intake
        self._running = self._taken_up = False
        self._journal = journal
        self._drain_s, self._node = drain_s, node
        self._leaving = anyio.Event()
        self._held = False
        self._beside: AbstractAsyncContextManager[None] = _nothing()
        self._changed: Callable[[], None] = lambda: None

    def attach(self, beside: AbstractAsyncContextManager[None], changed: Callable[[], None]) -> None:
        """Before it runs: say what is entered while it does, and what is called when it has begun to."""
        self._beside, self._changed = beside, changed

    @property
    def open(self) -> bool:
        """Whether it takes work."""
        return self._running and not (self._held or self.leaving)

    @property
    def running(self) -> bool:
        """Whether it has taken up what the journal holds, and may write more."""
        return self._running and not self.leaving

    @property
    def taken_up(self) -> bool:
        """Whether it has taken up what the journal holds, also where it does nothing more by now."""
        return self._taken_up

    @property
    def leaving(self) -> bool:
        """Whether it is being handed over."""
        return self._leaving.is_set()

    async def run(self) -> None:
        """Take up what the journal holds and run until :meth:`leave`; then all is written and the journal closed.

        Raises:
            FencedError: If another node has the partition.
            JournalBrokenError: If what was acknowledged is not in the journal.
            JournalError: If the journal cannot be opened.
        """
        async with self.organism, self._beside:
            self._running = self._taken_up = True
            self._tell_taken()
            self._apply()
            self._changed()
            _log.info("partition_taken", partition=self.lease.partition, owners=self.lease.epoch)
            try:
                await self._leaving.wait()
            finally:
                # Before calls drain: a slice that the escrow took or gave from here on would be its next owner's.
                self._running = False
            with anyio.move_on_after(self._drain_s):
                while self._router.open_attempts:  # noqa: ASYNC110 - calls of any thread; they take seconds
                    await anyio.sleep(_LOOK_S)
            self._tell("handed_over", self._node, self.lease.epoch)
        _log.info("partition_handed_over", partition=self.lease.partition, owners=self.lease.epoch)

    def _tell_taken(self) -> None:
        """Tell who has it now, and before that who has lost it, since that node can write nothing here any more."""
        before, epoch = self.lease.lost_by, self.lease.epoch
        if before is not None:
            self._tell("lost", before, epoch - 1)
        self._tell("taken", self._node, epoch)

    def _tell(self, change: Literal["taken", "handed_over", "lost"], node: str, owners: int) -> None:
        event = PartitionMoved(partition=self.lease.partition, change=change, node=node, owners=owners)
        self.organism.outbox.emit(event)

    def leave(self) -> None:
        """Hand the partition over: begin nothing more, let calls end, write, close."""
        # One step: `run` goes on only when the gates are closed, so no call begins after its last look at open ones.
        self._leaving.set()
        self._apply()

    def abandon(self, error: JournalBrokenError) -> None:
        """End because the partition is another node's: handlers are cancelled, and nothing more is written."""
        self._journal.abandon(error)

    def compare(self, row: LeaseRow, *, kept: bool) -> None:
        """Compare its lease with the database's row, and end where it is not this owner's any more."""
        if row.epoch < self.lease.epoch:
            self.abandon(older_copy(row, self.lease))
        elif not kept or row.epoch != self.lease.epoch:
            self.abandon(FencedError(f"partition {row.partition}", self.lease.epoch, row.epoch))

    def hold(self, *, held: bool) -> None:
        """Begin nothing while it is not known whether the lease still holds; go on when it is."""
        if held != self._held:
            self._held = held
            self._apply()

    def _apply(self) -> None:
        if self._held or self.leaving:
            self._gate.hold()
            self._intake.refuse()
        elif self._running:
            self._gate.open()
            self._intake.accept()
