"""The durable journal of one machine: an SQLite file with one writer."""

from pathlib import Path

from organism.stores.group_journal import GroupJournal
from organism.stores.group_storage import Retention
from organism.stores.sqlite_file import SqliteFile


class SqliteJournal(GroupJournal[SqliteFile]):
    """A journal in a file. Use it as an async context manager: it owns the writer's task.

    Args:
        path: The file; its folder is made if it is not there.
        vfs: The name of an apsw VFS; the system's own unless given.
    """

    def __init__(self, path: str | Path, *, retention: Retention | None = None, vfs: str | None = None) -> None:
        super().__init__(str(path), retention)
        self.path = Path(path)
        self._vfs = vfs

    def _open_file(self) -> SqliteFile:
        return SqliteFile(self.path, self._vfs)
