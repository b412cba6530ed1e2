"""How far each reader of the events has come, kept in the journal that the events are in."""

import msgspec

from organism.journal import Journal, Keep, Pieces

_KIND = "cursor"
_PREFIX = f"{_KIND}:"


class Cursor(msgspec.Struct, frozen=True, tag=True):
    """The id of the last event that a reader is done with."""

    after: str


class Cursors:
    """Remembers for each reader, by its name, how far it has come.

    Args:
        journal: Where that is kept.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._cursors: dict[str, str] = {}

    def restore(self, pieces: Pieces) -> None:
        """Take over what an earlier run has kept."""
        for piece, cursor in pieces.read(_KIND, Cursor):
            self._cursors[piece.key.removeprefix(_PREFIX)] = cursor.after

    def of(self, name: str) -> str:
        """Return the id of the last event that a reader is done with; empty for none."""
        return self._cursors.get(name, "")

    async def keep(self, name: str, after: str) -> None:
        """Remember how far a reader has come, and return when that is durable.

        Raises:
            JournalError: If it cannot be kept.
        """
        self._cursors[name] = after
        self._journal.append(Keep(_PREFIX + name, "", Cursor(after)))
        await self._journal.commit()
