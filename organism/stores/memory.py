"""A journal in memory, for embedding: it lasts as long as the process."""

from collections import deque
from collections.abc import Iterator

import msgspec


class MemoryJournal:
    """Keeps the newest records.

    Args:
        capacity: How many records are kept before the oldest is forgotten; ``None`` keeps all of them.
    """

    def __init__(self, capacity: int | None = 10_000) -> None:
        self._records: deque[msgspec.Struct] = deque(maxlen=capacity)

    def append(self, record: msgspec.Struct) -> None:
        """Keep a record."""
        self._records.append(record)

    async def commit(self) -> None:
        """Return at once: memory is as durable as it will ever be."""

    def replay(self) -> Iterator[msgspec.Struct]:
        """Return the kept records, oldest first."""
        return iter(tuple(self._records))

    async def aclose(self) -> None:
        """Do nothing: there is nothing to free."""
