"""What tells this organism's journal from all others: event ids are unique within it."""

from collections.abc import Iterable

import msgspec

from organism.ids import IdSource
from organism.journal import Journal, Keep, Piece

_KEY = "instance"


class Instance(msgspec.Struct, frozen=True, tag=True):
    """Names a journal."""

    id: str


class Identity:
    """Keeps a journal's name, which is made once.

    Args:
        journal: The journal.
        ids: Makes the name.
    """

    def __init__(self, journal: Journal, ids: IdSource) -> None:
        self._journal = journal
        self._ids = ids
        self.id = ""

    def restore(self, pieces: Iterable[Piece]) -> None:
        """Take the name over, or make one."""
        for piece in pieces:
            if piece.key == _KEY:
                self.id = msgspec.json.decode(piece.body, type=Instance).id
        if not self.id:
            self.id = self._ids.next("in")
            self._journal.append(Keep(_KEY, "", Instance(self.id)))
