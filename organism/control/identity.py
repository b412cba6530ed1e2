"""What tells this organism's journal from all others: event ids are unique within it."""

import msgspec

from organism.ids import IdSource
from organism.journal import Journal, Keep, Pieces

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

    def restore(self, pieces: Pieces) -> None:
        """Take the name over, or make one."""
        for _, instance in pieces.read(_KEY, Instance):
            self.id = instance.id
        if not self.id:
            self.id = self._ids.next("in")
            self._journal.append(Keep(_KEY, "", Instance(self.id)))
