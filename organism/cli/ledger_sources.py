"""Where ledger entries come from: the running daemon, or else the journal that its configuration names."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from organism.cli.client import UnreachableError
from organism.cli.options import DaemonOptions
from organism.config.load import load_config
from organism.config.yaml.nodes import Scalar, Source, parse_tree, read_text
from organism.daemon.journal_file import JOURNAL_FILE, database_url
from organism.daemon.state_folder import owned
from organism.errors import ConfigError
from organism.journal import Stored, StoredEntry
from organism.stores.batch import chain_hash
from organism.stores.head import Head
from organism.stores.sqlite_file import SqliteFile

_PAGE = 10_000
_ENTRIES_PATH = "/v1/ledger/entries"

ChainHash = Callable[[bytes, str], bytes]
Ledger = tuple[Iterator[StoredEntry], ChainHash, Callable[[], Head] | None]


@contextmanager
def ledger_entries(daemon: DaemonOptions) -> Iterator[Ledger]:
    """Read a ledger from its first entry.

    Args:
        daemon: Where the daemon is, or was.

    Yields:
        The entries, the function that chains their hashes, and what reads where the ledger should end: of the
        journal's file only, because a daemon has checked that when it started. Entries that a daemon keeps only in
        memory have no hashes: nobody could change them unseen.

    Raises:
        ConfigError: If neither a daemon answers nor there is a journal, or another process owns it.
    """
    try:
        client = daemon.client()
        first = client.ask(list[StoredEntry], _ENTRIES_PATH, limit=1)
    except UnreachableError:
        with kept_journal(daemon) as journal:
            yield _paged(lambda after: journal.entries_after(after, _PAGE)), chain_hash, journal.head
    else:
        entries = _paged(lambda after: client.ask(list[StoredEntry], _ENTRIES_PATH, after=after, limit=_PAGE))
        yield entries, chain_hash if first and first[0].hash else lambda _last, _body: b"", None


@contextmanager
def kept_entries(daemon: DaemonOptions) -> Iterator[Iterator[StoredEntry]]:
    """Own a state folder and read the entries of its journal; see :func:`kept_journal` for what it raises."""
    with kept_journal(daemon) as journal:
        yield _paged(lambda after: journal.entries_after(after, _PAGE))


class KeptJournal(Protocol):
    """A journal that nobody writes to while it is read."""

    def load(self) -> Stored:
        """Return what a start would take up."""
        ...

    def head(self) -> Head:
        """Return where it ends, and what is missing."""
        ...

    def entries_after(self, after: int, limit: int) -> list[StoredEntry]:
        """Return ledger entries."""
        ...


@contextmanager
def kept_journal(daemon: DaemonOptions) -> Iterator[KeptJournal]:
    """Open the journal of a daemon that does not run: own the state folder, or read the database.

    Raises:
        ConfigError: If there is none, or another process owns it.
        JournalError: If the database cannot be read.
    """
    folder = daemon.folder
    if (url := configured_database(daemon)) is not None:
        from organism.stores.postgres.database import PostgresDatabase

        with closing(PostgresDatabase(url, take=False)) as database:
            yield database
        return
    path = folder / JOURNAL_FILE
    if not path.is_file():
        raise ConfigError("there is no journal here; runs and the daemon make one", where=str(path))
    with owned(folder), closing(SqliteFile(path)) as journal:
        yield journal


def configured_database(daemon: DaemonOptions) -> str | None:
    """Return the URL of the database that the configuration names; a file's journal is read without one too.

    Raises:
        ConfigError: If the journal is in a database, and nothing says in which; or the configuration is wrong
            somewhere, and does not say that the journal is in a file.
    """
    environment = dict(os.environ)
    try:
        loaded = load_config(daemon.file, environment)
    except ConfigError:
        if _keeps_a_file(daemon.file):
            return None
        raise
    return database_url(loaded, environment)


def _keeps_a_file(path: Path) -> bool:
    """Whether a configuration that cannot be loaded still tells that its journal is a file: by having no ``store``."""
    if not path.exists():
        return True  # a state folder is read without its configuration
    store = parse_tree(read_text(path), Source(str(path))).entries.get("store")
    return store is None or (isinstance(store, Scalar) and store.text == "sqlite")


def _paged(page_after: Callable[[int], list[StoredEntry]]) -> Iterator[StoredEntry]:
    after = 0
    while page := page_after(after):
        yield from page
        after = page[-1].seq
