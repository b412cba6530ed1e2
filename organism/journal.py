"""The port to durable storage: one ordered stream of what happened, committed in groups.

Ledger entries, events and the live state of threads go into the same stream in the order in which they happened, and
everything appended between two awaits is committed together or not at all. ``append`` never blocks and never fails: it
is called between deciding and applying, where nothing may interrupt.

What leaves the process waits for :meth:`Journal.commit`: the answer to a caller, an event, a model call. What stays
inside does not, because commits keep the order: whatever was lost in a crash, all that depended on it is lost with it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self, TypeVar

import msgspec

from organism.concurrency.own_threads import OwnThreads
from organism.errors import OrganismError

T = TypeVar("T")

Then = Callable[[], None]
"""Called once the record it came with is durable, in the order of appending; must not block or raise."""


class Keep(msgspec.Struct, frozen=True, gc=False):
    """A piece of live state: kept until another piece of the same key replaces it, or it is dropped.

    Attributes:
        key: Its place, unique in the journal.
        thread_id: The thread it belongs to; empty for what outlives threads.
        body: A frozen struct.
    """

    key: str
    thread_id: str
    body: msgspec.Struct


class Drop(msgspec.Struct, frozen=True, gc=False):
    """A piece of live state is not needed any more; one that is not there is no mistake."""

    key: str
    thread_id: str


class DropThread(msgspec.Struct, frozen=True):
    """A thread has ended: none of its live state is needed any more."""

    thread_id: str


class Remember(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that is asked for by its key long after, and by nobody at a start: there may be millions of it.

    Attributes:
        key: What it is found by, unique in the journal; begins with its kind.
        value: What is remembered; empty where it is enough that the key is there.
        time_ns: When, nanoseconds since the Unix epoch.
        until_ns: When it is forgotten; ``None`` for as long as the ledger's entries of its time are kept.
    """

    key: str
    value: str = ""
    time_ns: int
    until_ns: int | None = None


class Piece(msgspec.Struct, frozen=True):
    """A piece of live state as it is stored: its body is JSON, for the room that made it to read."""

    key: str
    thread_id: str
    body: bytes


class Unplaced(msgspec.Struct, frozen=True):
    """A piece that could not be taken up, and why not."""

    piece: Piece
    reason: str


class Pieces:
    """The pieces that a journal has kept, handed out by kind to the rooms that have made them.

    One piece that cannot be read or placed must cost no more than itself: a start that fails on it fails each time,
    with every thread in the journal. So each is read behind this one guard, and what does not pass it, or is of a kind
    that nobody asks for, is in :meth:`unplaced` at the end, to be set aside and told.

    Args:
        pieces: All of them, in order.
    """

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self._kinds: dict[str, list[Piece]] = {}
        for piece in pieces:
            self._kinds.setdefault(piece.key.partition(":")[0], []).append(piece)
        self._asked: set[str] = set()
        self._refused: dict[str, Unplaced] = {}

    def __contains__(self, kind: str) -> bool:
        self._asked.add(kind)
        return kind in self._kinds

    def of(self, kind: str) -> Iterator[Piece]:
        """Yield the pieces whose keys begin with a kind and that nobody has refused."""
        self._asked.add(kind)
        for piece in self._kinds.get(kind, ()):
            if piece.key not in self._refused:
                yield piece

    def read(self, kind: str, body: type[T]) -> Iterator[tuple[Piece, T]]:
        """Yield the pieces of a kind with their bodies read as the type they have."""
        for piece in self.of(kind):
            try:
                yield piece, msgspec.json.decode(piece.body, type=body)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                self.refuse(piece, f"it cannot be read: {error}")

    @contextmanager
    def placing(self, piece: Piece) -> Iterator[None]:
        """Refuse a piece if placing it raises what values can bring about.

        Not what only a mistake in the program can: that would set aside everything there is.
        """
        try:
            yield
        except OrganismError as error:
            self.refuse(piece, str(error))
        except (msgspec.MsgspecError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            self.refuse(piece, f"{type(error).__name__}: {error}")

    def refuse(self, piece: Piece, reason: str) -> None:
        """Say that a piece cannot be taken up."""
        self._refused.setdefault(piece.key, Unplaced(piece, reason))

    @property
    def refused(self) -> tuple[Unplaced, ...]:
        """What was refused so far."""
        return tuple(self._refused.values())

    def unplaced(self) -> tuple[Unplaced, ...]:
        """Return what was refused, and what is of a kind that nobody has asked for."""
        unknown = (
            Unplaced(piece, "nothing in this version of organism reads pieces of this kind")
            for kind, pieces in self._kinds.items()
            if kind not in self._asked
            for piece in pieces
        )
        return (*self._refused.values(), *unknown)


class StoredEntry(msgspec.Struct, frozen=True):
    """An entry as it is stored.

    Attributes:
        seq: Its number.
        body: The entry as JSON.
        hash: SHA-256 over the hash of the entry before it and its own JSON.
    """

    seq: int
    body: str
    hash: bytes


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal holds when it is opened.

    Attributes:
        entries: The ledger's entries in order, each a JSON document.
        pieces: Live state; the pieces of one thread in the order in which they were first kept.
        last_event: The number of the newest event; 0 when there was none.
        last_time_ns: The newest instant in it; time never goes back behind it.
    """

    entries: Iterable[bytes] = ()
    pieces: tuple[Piece, ...] = ()
    last_event: int = 0
    last_time_ns: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing has ever happened here."""
        return self.last_time_ns == 0


class JournalError(OrganismError):
    """What happened cannot be kept, so nothing that depends on it may be done."""

    retryable = True


class JournalFullError(JournalError):
    """There is no room on the disk. Nothing was written, and what waits is written when there is room."""


class JournalBrokenError(JournalError):
    """The storage cannot be trusted any more; the process must end, and a new one begin from what is there."""

    retryable = False


class FencedError(JournalBrokenError):
    """Another process has taken the journal over: this one may write nothing more, and has not.

    Attributes:
        epoch: The number of this owner.
        by: The number of the owner now.
    """

    def __init__(self, place: str, epoch: int, by: int) -> None:
        self.epoch = epoch
        self.by = by
        super().__init__(
            f"another process has taken over the journal in {place} (owner {by}, this was {epoch}); this one has "
            "stopped, and nothing was written twice: let only one daemon use a database"
        )


class GroupWritten(msgspec.Struct, frozen=True):
    """A group of records has become durable.

    Attributes:
        records: How many.
        write_ns: Nanoseconds that writing them took.
        lag_ns: Nanoseconds from the appending of the oldest until it was durable.
    """

    records: int
    write_ns: int
    lag_ns: int


class JournalStatistics(msgspec.Struct, frozen=True):
    """A look at a journal: records not yet durable, and for how many nanoseconds the oldest of them has waited."""

    pending: int = 0
    lag_ns: int = 0


class Watched(Protocol):
    """A journal that tells how it is doing.

    Attributes:
        observer: Called after each group that was written; must not block or raise.
    """

    observer: Callable[[GroupWritten], None] | None

    def statistics(self) -> JournalStatistics:
        """Count what waits."""
        ...


class Journal(Protocol):
    """Where records are kept: ledger entries, events, :class:`Keep`, :class:`Drop`, :class:`DropThread`, and more.

    What is :class:`Remember`-ed is no part of what :meth:`load` returns; it is asked for one by one.

    An async context manager: it is open inside, and commits what is left when it is closed.
    """

    @property
    def durable(self) -> bool:
        """Whether what is committed outlives the process."""
        ...

    def append(self, record: msgspec.Struct, then: Then | None = None) -> None:
        """Take a record; it is durable once a later :meth:`commit` has returned, and ``then`` is called."""
        ...

    async def ready(self) -> None:
        """Return when nothing is known that would keep new records from being kept; nearly always at once.

        Raises:
            JournalError: If what was appended before could not be kept, and still cannot.
        """
        ...

    async def commit(self) -> None:
        """Return when everything appended so far is kept.

        Raises:
            JournalError: If it cannot be kept; nothing that depends on it may then be done.
        """
        ...

    async def remembered(self, key: str) -> str | None:
        """Return what is remembered under a key; ``None`` if nothing is, or it is forgotten.

        What was appended a moment ago need not be found before the next commit.

        Raises:
            JournalError: If it cannot be read.
        """
        ...

    @property
    def has_room(self) -> bool:
        """Whether more values can be remembered until their time is up."""
        ...

    def load(self) -> Stored:
        """Return what was committed before the first record was appended.

        Raises:
            JournalError: If it cannot be read whole.
        """
        ...

    async def __aenter__(self) -> Self:
        """Open the storage.

        Raises:
            JournalError: If it is in use, damaged, or cannot be read or written.
        """
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit what is left and free the storage."""
        ...


async def kept(journal: Journal, step: Callable[[], T]) -> T:
    """Take a step for somebody outside, and return what came of it when that is durable.

    While nothing can be kept the step is not taken at all. Otherwise what is refused today would be done tomorrow, by
    somebody who has long asked again; that can only befall those who were waiting when the storage failed.

    Args:
        journal: Where the step's records go.
        step: Must not await.

    Raises:
        JournalError: If it cannot be kept.
    """
    await journal.ready()
    answer = step()
    await journal.commit()
    return answer


async def loaded(journal: Journal) -> Stored:
    """Return what a journal holds, read on a thread: reading may take seconds, and the event loop has other users.

    Raises:
        JournalError: If it cannot be read whole.
    """
    return await OwnThreads().run(journal.load)


class EntryLog(Protocol):
    """The ledger's entries as they are stored."""

    async def entries_after(self, after: int, limit: int) -> list[StoredEntry]:
        """Return committed entries with numbers above ``after``, in order, at most ``limit`` of them."""
        ...
