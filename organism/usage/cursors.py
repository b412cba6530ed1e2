"""How far each reader of the events has come, and what it had to leave behind, kept in the journal they are in."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from organism.journal import Drop, Journal, Keep, Pieces

_KIND = "cursor"
_PREFIX = f"{_KIND}:"
_ASIDE_KIND = "set-aside"
_ASIDE = f"{_ASIDE_KIND}:"
_ASIDES_MAX = 10_000
"""Of the most that are remembered the oldest goes first; each was an error in the log."""


class Cursor(msgspec.Struct, frozen=True, tag=True):
    """The id of the last event that a reader is done with."""

    after: str


class SetAside(msgspec.Struct, frozen=True, tag=True):
    """An event that an exporter's other side will not take, and that no event behind it waits for.

    Attributes:
        exporter: Which exporter has set it aside.
        event_id: The event, in the journal's numbering.
        reason: What the other side has answered.
        time_ns: When it happened.
    """

    exporter: str
    event_id: str
    reason: str
    time_ns: int

    @property
    def key(self) -> str:
        """Its place among all that are set aside."""
        return f"{self.exporter}:{self.event_id}"


class Cursors:
    """Remembers for each reader, by its name, how far it has come and which events it has set aside."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._cursors: dict[str, str] = {}
        self._asides: dict[str, SetAside] = {}
        self._wanted: set[str] = set()
        self._wake: dict[str, Callable[[], None]] = {}

    def restore(self, pieces: Pieces) -> None:
        """Take over what an earlier run has kept."""
        for piece, cursor in pieces.read(_KIND, Cursor):
            self._cursors[piece.key.removeprefix(_PREFIX)] = cursor.after
        for _piece, aside in pieces.read(_ASIDE_KIND, SetAside):
            self._asides[aside.key] = aside

    def of(self, name: str) -> str:
        """Return the id of the last event that a reader is done with; empty for none."""
        return self._cursors.get(name, "")

    async def keep(self, name: str, after: str, asides: Sequence[SetAside] = ()) -> None:
        """Remember how far a reader has come and what it sets aside, and return when that is durable.

        Both are kept together: after a crash an event has either been set aside or is offered again, never lost.

        Raises:
            JournalError: If it cannot be kept.
        """
        for aside in asides:
            self._asides[aside.key] = aside
            self._journal.append(Keep(_ASIDE + aside.key, "", aside))
        while len(self._asides) > _ASIDES_MAX:
            self._forget(next(iter(self._asides)))
        self._cursors[name] = after
        self._journal.append(Keep(_PREFIX + name, "", Cursor(after)))
        await self._journal.commit()

    def set_aside(self, name: str | None = None) -> tuple[SetAside, ...]:
        """Return what is set aside, by one reader or by all, oldest first."""
        return tuple(aside for aside in self._asides.values() if name in (None, aside.exporter))

    def on_retry(self, name: str, wake: Callable[[], None]) -> None:
        """Have a reader woken when it is to offer again what it has set aside."""
        self._wake[name] = wake

    def knows(self, name: str) -> bool:
        """Whether there is, or was, a reader of this name."""
        return name in self._wake or name in self._cursors or any(self.set_aside(name))

    def retry(self, name: str) -> tuple[SetAside, ...]:
        """Have a reader offer again what it has set aside; return what that is."""
        asides = self.set_aside(name)
        if asides:
            self._wanted.add(name)
            self._wake.get(name, lambda: None)()
        return asides

    def wanted(self, name: str) -> tuple[SetAside, ...]:
        """Return what a reader is to offer again, once for each time somebody has asked."""
        if name not in self._wanted:
            return ()
        self._wanted.discard(name)
        return self.set_aside(name)

    async def taken(self, asides: Iterable[SetAside]) -> None:
        """Forget what was set aside, for it has been taken or is not there any more.

        Raises:
            JournalError: If that cannot be kept.
        """
        for aside in asides:
            self._forget(aside.key)
        await self._journal.commit()

    def _forget(self, key: str) -> None:
        del self._asides[key]
        self._journal.append(Drop(_ASIDE + key, ""))
