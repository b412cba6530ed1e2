"""What tells this organism's journal from all others: event ids are unique within it."""

import msgspec

from organism.errors import ConfigError
from organism.ids import IdSource
from organism.journal import Journal, Keep, Pieces
from organism.threads.records import THREAD

_KEY = "instance"


class Instance(msgspec.Struct, frozen=True, tag=True):
    """Names a journal.

    Attributes:
        id: Its own name, made once.
        name: What the organism was called that has written into it last; empty in journals of before this was kept.
    """

    id: str
    name: str = ""


class ForeignJournalError(ConfigError):
    """A journal holds work of another organism, which this one would give up for want of its agents.

    Attributes:
        name: The other organism.
        threads: How many threads of it are open.
    """

    def __init__(self, name: str, threads: int, ours: str) -> None:
        self.name = name
        self.threads = threads
        super().__init__(
            f"the journal holds {threads:,} open threads of the organism {name!r}, and this is {ours!r}: "
            f"let them end with the file of {name!r} first, or start {ours!r} with another --state"
        )


class Identity:
    """Keeps a journal's name, which is made once.

    Args:
        name: What this organism is called.
    """

    def __init__(self, journal: Journal, ids: IdSource, name: str) -> None:
        self._journal = journal
        self._ids = ids
        self._name = name
        self.id = ""

    def check(self, pieces: Pieces) -> None:
        """Refuse a journal with open threads of another organism; to be called before anything is taken up.

        Raises:
            ForeignJournalError: If it is one.
        """
        waiting = sum(1 for _ in pieces.of(THREAD))
        for _, instance in pieces.read(_KEY, Instance):
            if waiting and instance.name not in ("", self._name):
                raise ForeignJournalError(instance.name, waiting, self._name)

    def restore(self, pieces: Pieces) -> None:
        """Take the journal's name over, or make one."""
        known = None
        for _, known in pieces.read(_KEY, Instance):
            self.id = known.id
        self.id = self.id or self._ids.next("in")
        if (now := Instance(self.id, self._name)) != known:
            self._journal.append(Keep(_KEY, "", now))
