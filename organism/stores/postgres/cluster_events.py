"""The events of all journals in a database, for those who follow the whole. Everything blocks."""

from collections.abc import Mapping

from organism.stores.postgres.postgres_errors import place_of
from organism.stores.postgres.reader import JournalReader
from organism.usage.events import AnyEvent


class ClusterEvents(JournalReader):
    """Reads events of any partition, over one connection."""

    def __init__(self, url: str) -> None:
        super().__init__(url, place_of(url), 0)

    def newest(self) -> dict[int, int]:
        """Return the number of the newest event of each partition."""
        return dict(self._rows("SELECT p, event FROM organism.journals WHERE p >= %s", at=0))

    def names(self) -> dict[int, str]:
        """Return what tells each journal from all others, of those that have been begun."""
        query = "SELECT p, body::jsonb->>'id' FROM organism.pieces WHERE p >= %s AND key = 'instance'"
        return dict(self._rows(query, at=0))

    def after(self, seen: Mapping[int, int], limit: int) -> dict[int, list[AnyEvent]]:
        """Return the events of each partition behind the one that was seen, oldest first, so many of each.

        Raises:
            EventsGoneError: If some of them have been forgotten.
            JournalBrokenError: If one of them is not what was written.
        """
        found = {}
        for partition, number in seen.items():
            self.partition = partition
            found[partition] = self.events_after(f"{number:016d}" if number else "", limit)
        return found
