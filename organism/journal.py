"""The port to durable storage: one ordered stream of what happened, committed in groups.

Messages, ledger entries and events go into the same stream in the order in which they happened, so that what belongs
together is committed together. ``append`` never blocks and never fails: it is called between deciding and applying,
where nothing may interrupt. ``commit`` is where a call waits before it leaves the machine.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec


class Journal(Protocol):
    """Where records are kept."""

    def append(self, record: msgspec.Struct) -> None:
        """Take a record; it is durable once a later :meth:`commit` has returned."""
        ...

    async def commit(self) -> None:
        """Return when everything appended so far is kept.

        Raises:
            OSError: If it cannot be kept; nothing that depends on it may then be done.
        """
        ...

    def replay(self) -> Iterator[msgspec.Struct]:
        """Return the committed records in order."""
        ...

    async def aclose(self) -> None:
        """Commit what is left and free the storage. May be called twice."""
        ...
