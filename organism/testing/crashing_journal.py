"""A journal that dies between two groups: what had been committed is there for the next process, nothing else is.

Groups begin and end between two steps of the program, as those of the SQLite journal do, but in memory and in virtual
time, so a test can let a program crash after its first group, its second, and so on to the last.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
import msgspec

from organism.journal import GroupWritten, JournalBrokenError, JournalStatistics, Stored, StoredEntry, Then
from organism.stores.memory import MemoryJournal
from organism.usage.events import AnyEvent


class CrashingJournal:
    """Keeps records in groups, and none after the last it was given to keep.

    Args:
        kept: What an earlier process has left, which this one goes on with.
        groups: How many groups are kept; all when not given.
        on_crash: Called when one more would have been written; should cancel everything that uses the journal.
        latency_s: Returns the seconds that writing the next group takes.

    Attributes:
        kept: What the next process will find.
        written: How many groups were kept.
    """

    durable = True

    def __init__(
        self,
        kept: MemoryJournal | None = None,
        *,
        groups: int | None = None,
        on_crash: Callable[[], None] = lambda: None,
        latency_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.kept = kept or MemoryJournal(capacity=1_000_000)
        self.written = 0
        self._groups = groups
        self._on_crash = on_crash
        self._latency_s = latency_s
        self._pending: list[tuple[msgspec.Struct, Then | None]] = []
        self._next = anyio.Event()
        self._dead = False
        self.observer: Callable[[GroupWritten], None] | None = None

    @property
    def crashed(self) -> bool:
        """Whether it has died."""
        return self._dead

    def crash_after(self, groups: int) -> None:
        """Die when so many more groups have been kept."""
        self._groups = self.written + groups

    def append(self, record: msgspec.Struct, then: Then | None = None) -> None:
        """Take a record; its group is written a moment later, between two steps."""
        if self._dead:
            return
        if not self._pending:
            asyncio.get_running_loop().call_later(self._latency_s(), self._write)
        self._pending.append((record, then))

    def _write(self) -> None:
        group, self._pending = self._pending, []
        written, self._next = self._next, anyio.Event()
        if self._groups is not None and self.written >= self._groups:
            self._dead = True
            self._on_crash()
        else:
            self.written += 1
            for record, _ in group:
                self.kept.append(record)
            if self.observer is not None:
                self.observer(GroupWritten(len(group), 0, 0))
            for _, then in group:
                if then is not None:
                    then()
        written.set()

    async def ready(self) -> None:
        """Return at once: it keeps everything until it dies."""

    async def commit(self) -> None:
        """Return when everything appended so far is kept.

        Raises:
            JournalBrokenError: If it has died.
        """
        if self._pending:
            await self._next.wait()
        if self._dead:
            raise JournalBrokenError("the journal has died, as it was told to")

    def load(self) -> Stored:
        """Return what was kept."""
        return self.kept.load()

    async def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return kept events; see :class:`organism.usage.event_log.EventLog`."""
        return await self.kept.events_after(after, limit)

    async def entries_after(self, after: int, limit: int) -> list[StoredEntry]:
        """See :class:`organism.journal.EntryLog`."""
        return await self.kept.entries_after(after, limit)

    async def remembered(self, key: str) -> str | None:
        """Return what was remembered; see :meth:`organism.journal.Journal.remembered`."""
        return await self.kept.remembered(key)

    @property
    def has_room(self) -> bool:
        """Whether more can be remembered."""
        return self.kept.has_room

    def statistics(self) -> JournalStatistics:
        """Count what waits."""
        return JournalStatistics(len(self._pending))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Keep what is left, if it lives."""
        if self._pending and not self._dead:
            with anyio.CancelScope(shield=True):
                await self._next.wait()
