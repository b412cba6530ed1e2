"""A journal in memory, for embedding: it lasts as long as the process."""

from collections import defaultdict, deque
from collections.abc import Callable
from types import TracebackType
from typing import Self, cast

import msgspec

from organism.journal import (
    Drop,
    DropThread,
    GroupWritten,
    JournalError,
    JournalStatistics,
    Keep,
    Piece,
    Remember,
    Stored,
    StoredEntry,
    Then,
)
from organism.ledger.entries import Entry
from organism.stores.batch import to_json
from organism.tables import DigestSet, pop_and_shrink
from organism.usage.event_log import check_kept
from organism.usage.events import AnyEvent, Event

_VALUES_MAX = 1_000_000
"""So many remembered values are held: some hundred megabytes."""


class MemoryJournal:
    """Keeps live state, and the newest entries and events.

    Args:
        capacity: How many entries, and how many events, are kept before the oldest is forgotten.
    """

    durable = False

    def __init__(self, capacity: int = 10_000) -> None:
        self._pieces: defaultdict[str, dict[str, Keep]] = defaultdict(dict)
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self._events: deque[AnyEvent] = deque(maxlen=capacity)
        self._values: dict[str, Remember] = {}
        self._names = DigestSet()
        self._forgotten = 0
        self._last_time_ns = 0
        self.observer: Callable[[GroupWritten], None] | None = None

    def append(self, record: msgspec.Struct, then: Then | None = None) -> None:
        """Keep a record; memory is as durable as it will ever be, so ``then`` is called at once."""
        # Classes compared by identity: for structs `isinstance` takes 80 ns for each "no".
        if type(record) is Keep:
            self._pieces[record.thread_id][record.key] = record
        elif type(record) is Drop:
            if (pieces := self._pieces.get(record.thread_id)) is not None:
                pieces.pop(record.key, None)
        elif type(record) is DropThread:
            if record.thread_id in self._pieces:
                pop_and_shrink(self._pieces, record.thread_id)
        elif type(record) is Remember:
            self._remember(record)
        elif isinstance(record, Entry):
            self._entries.append(record)
            self._last_time_ns = max(self._last_time_ns, record.time_ns)
        elif isinstance(record, Event):
            if len(self._events) == self._events.maxlen:
                self._forgotten = int(self._events[0].id)
            self._events.append(cast("AnyEvent", record))
            self._last_time_ns = max(self._last_time_ns, record.time_ns)
        else:
            raise TypeError(f"{type(record).__name__} is no record of a journal")
        if then is not None:
            then()

    def _remember(self, record: Remember) -> None:
        self._last_time_ns = max(self._last_time_ns, record.time_ns)
        if not record.value and record.until_ns is None:
            self._names.add(record.key)
            return
        self._values[record.key] = record
        while self._values:  # in the order of their time, nearly: what lasts longer than its neighbours keeps these
            oldest = next(iter(self._values.values()))
            if oldest.until_ns is None or oldest.until_ns >= self._last_time_ns:
                return
            pop_and_shrink(self._values, oldest.key)

    async def remembered(self, key: str) -> str | None:
        """Return what is remembered under a key; see :meth:`organism.journal.Journal.remembered`."""
        found = self._values.get(key)
        if found is not None and (found.until_ns is None or found.until_ns >= self._last_time_ns):
            return found.value
        return "" if key in self._names else None

    @property
    def has_room(self) -> bool:
        """Whether more values can be remembered: up to a number that fits into memory."""
        return len(self._values) < _VALUES_MAX

    async def ready(self) -> None:
        """Return at once."""

    async def commit(self) -> None:
        """Return at once."""

    def load(self) -> Stored:
        """Return what is here, as a later organism on the same journal would find it.

        Raises:
            JournalError: If entries have been forgotten, so that balances cannot be computed any more.
        """
        if self._entries and self._entries[0].seq != 1:
            raise JournalError("this journal has forgotten its first entries; give it a larger capacity")
        return Stored(
            entries=tuple(to_json(entry).encode() for entry in self._entries),
            pieces=tuple(
                Piece(keep.key, keep.thread_id, to_json(keep.body).encode())
                for pieces in self._pieces.values()
                for keep in pieces.values()
            ),
            last_event=int(self._events[-1].id) if self._events else 0,
            last_time_ns=self._last_time_ns,
        )

    def events(self) -> tuple[AnyEvent, ...]:
        """Return the kept events, oldest first."""
        return tuple(self._events)

    def statistics(self) -> JournalStatistics:
        """Return that nothing waits: memory is as durable as it will ever be."""
        return JournalStatistics()

    async def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return kept events; see :class:`organism.usage.event_log.EventLog`.

        Raises:
            EventsGoneError: If some after that one have been forgotten.
        """
        check_kept(after, self._forgotten, self._events[0].id if self._events else "")
        newer = [event for event in self._events if int(event.id) > int(after or 0)]
        return newer[:limit]

    async def entries_after(self, after: int, limit: int) -> list[StoredEntry]:
        """Return kept entries, without hashes: nobody could change them unseen."""
        newer = [entry for entry in self._entries if entry.seq > after][:limit]
        return [StoredEntry(entry.seq, msgspec.json.encode(entry).decode(), b"") for entry in newer]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do nothing: there is nothing to free."""
