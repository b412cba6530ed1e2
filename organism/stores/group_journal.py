"""A durable journal with one writer, which commits in groups to a file or a database.

While one group is being written, the next one collects; so the more there is to do, the more a commit takes with it.
A group that could not be written stays in memory, in order, and is written with the next try.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, NoReturn, Self, TypeVar

import anyio
import anyio.abc
import msgspec

from organism.concurrency.own_threads import NoThreadError, OwnThreads
from organism.concurrency.safe_log import safe_logger
from organism.journal import (
    GroupWritten,
    JournalBrokenError,
    JournalError,
    JournalFullError,
    JournalStatistics,
    Stored,
    StoredEntry,
    Then,
)
from organism.stores.batch import batch_of
from organism.stores.group_storage import GroupStorage, Retention
from organism.text.lasting_failure import LastingFailure
from organism.usage.events import AnyEvent

_READERS = 4
"""So many reads of what is stored go on at once."""

_RETRY_S = 1.0
"""Seconds between tries to write while no caller waits; a caller gets a try at once."""

_FORGET_EVERY = 1000
"""So many groups are written between two looks for what is too old to be kept."""

_NOT_OPEN = "the journal is not open; use it, or the organism that has it, as an async context manager"

_log = safe_logger("organism.journal")


class _Write:
    """One try to write what is pending: those who wait for it, and what came of it."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.error: JournalError | None = None

    def fail(self, error: JournalError) -> None:
        """Tell those who wait why it came to nothing."""
        self.error = error
        self.done.set()


class _Age:
    """How long the oldest record has waited: of those being written, and of those that wait for the next group."""

    def __init__(self) -> None:
        self._group_ns: int | None = None
        self._pending_ns: int | None = None

    def begins(self) -> None:
        """The first record of a new group has come."""
        self._pending_ns = time.monotonic_ns()

    def taken(self) -> None:
        """The group is being written."""
        self._group_ns, self._pending_ns = self._pending_ns, None

    def written(self) -> int:
        """The group is durable; return how long its oldest record has waited, in nanoseconds."""
        lag_ns = self.oldest_ns()
        self._group_ns = None
        return lag_ns

    def oldest_ns(self) -> int:
        """Return how long the oldest record waits, in nanoseconds."""
        since_ns = self._group_ns if self._group_ns is not None else self._pending_ns
        return 0 if since_ns is None else time.monotonic_ns() - since_ns


F = TypeVar("F", bound=GroupStorage)
T = TypeVar("T")


class GroupJournal(ABC, Generic[F]):
    """A journal whose records are written in groups. Use it as an async context manager: it owns the writer's task.

    Args:
        name: What log lines and errors call it.
    """

    durable = True

    def __init__(self, name: str, retention: Retention | None) -> None:
        self._name = name
        self._retention = retention or Retention()
        self._file: F | None = None
        self._writing = OwnThreads(1)
        self._reading = OwnThreads(_READERS)
        self._pending: list[tuple[msgspec.Struct, Then | None]] = []
        self._group: list[tuple[msgspec.Struct, Then | None]] | None = None
        self._appended = 0
        self._taken = 0
        self._committed = 0
        self._number = 0
        self._current: _Write | None = None
        self._next = _Write()
        self._wanted = asyncio.Event()
        self._failing = False
        self._failure = LastingFailure()
        self._closing = False
        self._ended = asyncio.Event()
        self._more_to_forget = False
        self._broken: JournalBrokenError | None = None
        self._abandoned: JournalBrokenError | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._age = _Age()
        self.observer: Callable[[GroupWritten], None] | None = None

    async def __aenter__(self) -> Self:
        """Open the storage.

        Raises:
            JournalError: If it is in use, damaged, newer than this program, or cannot be written.
        """
        self._file, self._number = await self._writing.run(self._open)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    @abstractmethod
    def _open_file(self) -> F:
        """Open the storage, and own it; blocks."""

    def _open(self) -> tuple[F, int]:
        file = self._open_file()
        try:
            return file, file.batch_number
        except JournalError:
            file.close()  # or its lock stays, and the next try finds the journal in use
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what is left and close the file; what cannot be written is said in the log.

        Raises:
            JournalBrokenError: If that is what has ended the writer.
        """
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return
        with anyio.CancelScope(shield=True):
            # The writer ends by itself, after its last group. Cancelled, it could leave one of which nobody knows if
            # it is in the file.
            self._closing = True
            self._wanted.set()
            await self._ended.wait()
            try:
                await self._writing.run(self._opened.close)
            except JournalError as error:
                _log.warning("close_failed", error=str(error))  # what is committed is in the write-ahead log
            self._file = None
        try:
            await tasks.__aexit__(None, None, None)
        except BaseExceptionGroup:
            if self._broken is None:
                raise
            raise self._broken from None

    @property
    def _opened(self) -> F:
        if self._file is None:
            raise JournalError(_NOT_OPEN)
        return self._file

    # -- the port -------------------------------------------------------------------------------------------------

    def append(self, record: msgspec.Struct, then: Then | None = None) -> None:
        """Take a record; the writer takes it to the file soon, or sooner if somebody waits for it."""
        if not self._pending:
            self._age.begins()
        self._pending.append((record, then))
        self._appended += 1
        self._wanted.set()

    async def ready(self) -> None:
        """Return at once, unless the last group could not be written: then when it is.

        Raises:
            JournalError: If there is still no room, or it is not open: events get numbers that are taken before that.
        """
        if self._file is None:
            raise JournalError(_NOT_OPEN)
        if self._failing:
            await self.commit()

    async def commit(self) -> None:
        """Return when everything appended so far is in the file.

        Raises:
            JournalError: If there is no room; it stays in memory and is written when there is.
            JournalBrokenError: If the file cannot be trusted any more.
        """
        # Fixed before the first wait: what others append meanwhile must not keep this caller waiting.
        upto = self._appended
        while self._committed < upto:
            if self._broken is not None:
                raise self._broken
            # The write under way covers only what was appended before it was taken; for anything later the next one
            # counts.
            write = self._current if self._current is not None and upto <= self._taken else self._next
            self._wanted.set()
            await write.done.wait()
            if write.error is not None:
                raise write.error

    def load(self) -> Stored:
        """Return what the file holds.

        Raises:
            JournalError: If it cannot be read.
        """
        return self._opened.load()

    async def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return stored events; see :class:`organism.usage.event_log.EventLog`.

        Raises:
            EventsGoneError: If some after that one have been forgotten.
        """
        return await self._reading.run(self._opened.events_after, after, limit)

    async def remembered(self, key: str) -> str | None:
        """Return what is remembered under a key; see :meth:`organism.journal.Journal.remembered`."""
        return await self._reading.run(self._opened.remembered, key)

    @property
    def has_room(self) -> bool:
        """Whether more can be remembered: as long as there is room on the disk, which a commit finds out."""
        return True

    def statistics(self) -> JournalStatistics:
        """Count what waits."""
        return JournalStatistics(len(self._pending) + len(self._group or ()), self._age.oldest_ns())

    async def entries_after(self, after: int, limit: int) -> list[StoredEntry]:
        """Return stored entries; see :class:`organism.journal.EntryLog`."""
        return await self._reading.run(self._opened.entries_after, after, limit)

    def abandon(self, error: JournalBrokenError) -> None:
        """Write nothing more: the storage belongs to somebody else. What uses the journal ends with this error."""
        self._abandoned = error
        self._wanted.set()

    # -- the writer -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            # Cancelling the program must not keep what its last steps append out of the file; closing ends this task.
            with anyio.CancelScope(shield=True):
                await self._write_groups()
        finally:
            # Who asks from here on whether something is durable would wait for a writer that is no more.
            self._next.fail(self._broken or JournalError(f"the journal {self._name} is closed"))
            self._ended.set()

    async def _write_groups(self) -> None:
        groups = 0
        while not (self._closing and not self._pending and self._group is None):
            await self._wanted.wait()
            # Replaced before the write, not after it: a record that is appended meanwhile sets the new one and is not
            # forgotten.
            self._wanted = asyncio.Event()
            if self._abandoned is not None:
                self._break(self._abandoned)
            if self._group is None and not self._pending:
                continue
            error = await self._write_group()
            if isinstance(error, JournalBrokenError):
                self._break(error)
            if error is not None:
                if self._closing:
                    return  # a full disk must not keep the process from ending; what is lost nobody was answered for
                with anyio.move_on_after(_RETRY_S):
                    await self._wanted.wait()
                self._wanted.set()  # the group is there still, whether or not somebody asks for it
                continue
            if self._pending:
                self._wanted.set()
            groups += 1
            if groups % _FORGET_EVERY == 1 or self._more_to_forget:
                await self._forget()

    async def _forget(self) -> None:
        """Delete some of what is too old; that it cannot be deleted now is no reason to stop."""
        try:
            self._more_to_forget = await self._on_thread(self._opened.forget, self._retention)
        except JournalBrokenError as error:
            self._break(error)
        except JournalError as error:
            _log.warning("forget_failed", error=str(error))

    def _break(self, error: JournalBrokenError) -> NoReturn:
        """End the writer, and with it the process's use of the file; waiting callers get the error."""
        self._broken = error
        self._next.fail(error)
        raise error

    async def _write_group(self) -> JournalError | None:
        """Write what is pending as one transaction, or the group that found no room before."""
        if self._group is None:
            self._group, self._pending = self._pending, []
            self._taken = self._appended
            self._age.taken()
        group = self._group
        began_ns = time.monotonic_ns()
        # Those who waited for the next write now wait for this one; later ones must not be woken by it.
        write, self._current, self._next = self._next, self._next, _Write()
        try:
            # With a number, so that a batch that came through although its answer was lost is not written again.
            await self._on_thread(self._write, [record for record, _ in group], self._number + 1)
        except JournalError as error:
            if self._failure.is_news(str(error)):  # it is met every second
                _log.error("commit_failed", records=len(group) + len(self._pending), error=str(error))
            self._failing = True
            write.fail(error)
            # Those of the next write hear of it as well: their records stand behind these, and cannot be sooner.
            self._next.fail(error)
            self._next = _Write()
            return error
        finally:
            self._current = None
        self._failing = False
        self._failure.end()
        self._number += 1
        lag_ns = self._age.written()
        if self.observer is not None:
            self.observer(GroupWritten(len(group), time.monotonic_ns() - began_ns, lag_ns))
        # The group is kept until its transaction is in the file: a full disk is tried again with the same rows, in the
        # same order.
        self._group = None
        # Counted before listeners are called: one that asks for a commit of its own must not wait for this group.
        self._committed = self._taken
        for _, then in group:
            if then is not None:
                then()
        write.done.set()
        return None

    async def _on_thread(self, function: Callable[..., T], *args: object) -> T:
        """Call a function of the storage for the writer, which is shielded as a whole."""
        try:
            return await self._writing.run_shielded(function, *args)
        except NoThreadError as error:  # an idle one has ended since: like a full disk, it is tried again
            raise JournalError(f"the journal {self._name} cannot be written now: {error}") from error

    def _write(self, records: Sequence[msgspec.Struct], number: int) -> None:
        try:
            self._opened.write(batch_of(records), number)
        except (JournalBrokenError, JournalFullError):
            raise  # it is certain that nothing was written, so there is nothing to ask the file
        except JournalError:
            # Whether the transaction came through may be unknown: the file is opened anew and asked.
            if not self._opened.reopen(number):
                raise
        except (TypeError, ValueError, OverflowError) as error:
            raise JournalBrokenError(f"the journal {self._name} cannot hold a record: {error}") from error
