"""The durable journal in PostgreSQL: for a daemon whose machine may be lost, or that is one of many."""

from organism.stores.group_journal import GroupJournal
from organism.stores.group_storage import Retention
from organism.stores.leases import Lease
from organism.stores.postgres.database import PostgresDatabase


class PostgresJournal(GroupJournal[PostgresDatabase]):
    """A journal in a database. Use it as an async context manager: it owns the writer's task.

    Opening it takes it over: an earlier owner that still runs ends with :class:`organism.journal.FencedError`.

    Args:
        url: ``postgresql://user:password@host:port/database``; its tables are in the schema ``organism``.
        name: The organism; a database of another one is refused.
        lease: Which journal of a cluster, and by what right.
    """

    def __init__(
        self, url: str, *, retention: Retention | None = None, name: str = "", lease: Lease | None = None
    ) -> None:
        self._url = url
        self._organism = name
        self._lease = lease
        super().__init__("in PostgreSQL", retention)

    def _open_file(self) -> PostgresDatabase:
        return PostgresDatabase(self._url, name=self._organism, lease=self._lease)
