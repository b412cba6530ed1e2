"""Where ledger entries come from: the running daemon, or else the journal in the state folder."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from organism.cli.client import Client, UnreachableError
from organism.daemon.journal_file import JOURNAL_FILE
from organism.daemon.state_folder import owned
from organism.errors import ConfigError
from organism.journal import StoredEntry
from organism.stores.batch import chain_hash
from organism.stores.head import Head
from organism.stores.sqlite_file import SqliteFile

_PAGE = 10_000
_ENTRIES_PATH = "/v1/ledger/entries"

ChainHash = Callable[[bytes, str], bytes]


@contextmanager
def ledger_entries(folder: Path) -> Iterator[tuple[Iterator[StoredEntry], ChainHash, Callable[[], Head] | None]]:
    """Read a ledger from its first entry.

    Args:
        folder: The state folder.

    Yields:
        The entries, the function that chains their hashes, and what reads where the ledger should end: of the
        journal's file only, because a daemon has checked that when it started. Entries that a daemon keeps only in
        memory have no hashes: nobody could change them unseen.

    Raises:
        ConfigError: If neither a daemon answers nor there is a journal, or another process owns it.
    """
    try:
        client = Client.of(folder)
        first = client.ask(list[StoredEntry], _ENTRIES_PATH, limit=1)
    except UnreachableError:
        with kept_journal(folder) as journal:
            yield _paged(lambda after: journal.entries_after(after, _PAGE)), chain_hash, journal.head
    else:
        entries = _paged(lambda after: client.ask(list[StoredEntry], _ENTRIES_PATH, after=after, limit=_PAGE))
        yield entries, chain_hash if first and first[0].hash else lambda _last, _body: b"", None


@contextmanager
def kept_entries(folder: Path) -> Iterator[Iterator[StoredEntry]]:
    """Own a state folder and read the entries of its journal; see :func:`kept_journal` for what it raises."""
    with kept_journal(folder) as journal:
        yield _paged(lambda after: journal.entries_after(after, _PAGE))


@contextmanager
def kept_journal(folder: Path) -> Iterator[SqliteFile]:
    """Own a state folder and open its journal.

    Raises:
        ConfigError: If there is none, or another process owns it.
    """
    path = folder / JOURNAL_FILE
    if not path.is_file():
        raise ConfigError("there is no journal here; runs and the daemon make one", where=str(path))
    with owned(folder), closing(SqliteFile(path)) as journal:
        yield journal


def _paged(page_after: Callable[[int], list[StoredEntry]]) -> Iterator[StoredEntry]:
    after = 0
    while page := page_after(after):
        yield from page
        after = page[-1].seq
