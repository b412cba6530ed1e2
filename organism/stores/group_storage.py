"""Where a journal's groups go, as its writer sees it, and how long what is over is kept there."""

from typing import Protocol

import msgspec

from organism.journal import Stored, StoredEntry
from organism.stores.batch import Batch
from organism.usage.events import AnyEvent


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What is forgotten when; open threads and the balances of open accounts never are.

    Attributes:
        events_ns: How long events are kept.
        entries_ns: How long ledger entries are kept, once a checkpoint stands for them.
    """

    events_ns: int = 90 * 86_400 * 1_000_000_000
    entries_ns: int = 400 * 86_400 * 1_000_000_000


class GroupStorage(Protocol):
    """Where the groups of one owner go; everything here blocks, and is called on worker threads."""

    @property
    def batch_number(self) -> int:
        """The number of the last batch that was written."""
        ...

    def write(self, batch: Batch, number: int) -> None:
        """Write a batch, whole or not at all. One that was written before, by its number, is not written again.

        Raises:
            JournalFullError: If there is no room for it.
            JournalError: If it could not be written, or it is not known whether it was: :meth:`reopen`, and look.
            JournalBrokenError: If what is stored cannot be trusted any more, or belongs to another owner.
        """
        ...

    def reopen(self, number: int) -> bool:
        """Begin anew after an error of which nobody knows what it has left; whether that batch was written."""
        ...

    def forget(self, retention: Retention) -> bool:
        """Delete some of what is older than it need be kept; whether there may be more."""
        ...

    def load(self) -> Stored:
        """Return everything that is needed to go on."""
        ...

    def remembered(self, key: str) -> str | None:
        """Return what is remembered under a key."""
        ...

    def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return stored events."""
        ...

    def entries_after(self, after: int, limit: int) -> list[StoredEntry]:
        """Return stored ledger entries."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...
