"""Where ledger entries come from: the running daemon, or else the journal that its configuration names."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import NamedTuple, Protocol

from organism.cli.client import UnreachableError
from organism.cli.options import DaemonOptions
from organism.config.load import LoadedConfig, load_config, time_zone
from organism.config.yaml.mistakes import Mistakes, Source
from organism.config.yaml.nodes import Scalar, parse_tree, read_text
from organism.daemon.journal_file import JOURNAL_FILE, database_url
from organism.daemon.state_folder import owned
from organism.errors import ConfigError
from organism.ids import Layout
from organism.journal import Stored, StoredEntry
from organism.stores.batch import chain_hash
from organism.stores.head import Head
from organism.stores.leases import Lease
from organism.stores.sqlite_file import SqliteFile
from organism.usage.events import AnyEvent

_PAGE = 10_000
_EVENTS_PAGE = 1_000
_ENTRIES_PATH = "/v1/ledger/entries"

ChainHash = Callable[[bytes, str], bytes]


@dataclass(frozen=True)
class NamedConfig:
    """What the configuration says about the journal: read once, and good for that if it is wrong elsewhere.

    Attributes:
        file: The file.
        environment: The process's environment when it was read.
        found: What it holds, or what is wrong with it.
    """

    file: Path
    environment: dict[str, str]
    found: LoadedConfig | ConfigError

    @classmethod
    def read(cls, file: Path) -> "NamedConfig":
        """Read it; what is wrong with it is raised where it is asked for, if that cannot be known."""
        environment = dict(os.environ)
        try:
            return cls(file, environment, load_config(file, environment))
        except ConfigError as error:
            return cls(file, environment, error)

    @property
    def is_node(self) -> bool:
        """Whether it is that of a cluster's node."""
        found = self.found
        return isinstance(found, LoadedConfig) and found.config.cluster is not None

    @property
    def time_zone(self) -> tzinfo:
        """Where days begin; UTC, as where it says nothing, if it is wrong."""
        return time_zone(self.found.config) if isinstance(self.found, LoadedConfig) else UTC

    def database(self) -> str | None:
        """Return the URL of the database that the journal is in; a file's journal is read without a configuration too.

        Raises:
            ConfigError: If the journal is in a database, and nothing says in which; or the configuration is wrong
                somewhere, and does not say that the journal is in a file.
        """
        if isinstance(self.found, LoadedConfig):
            return database_url(self.found, self.environment)
        if not _keeps_a_file(self.file):
            raise self.found
        return None


def _keeps_a_file(path: Path) -> bool:
    """Whether a configuration that is wrong still tells that its journal is a file: by having no ``store``."""
    if not path.exists():
        return True  # a state folder is read without its configuration
    store = parse_tree(read_text(path), Source(str(path)), Mistakes()).entries.get("store")
    return store is None or (isinstance(store, Scalar) and store.text == "sqlite")


class LedgerSource(NamedTuple):
    """A ledger that can be read from its first entry.

    Attributes:
        partition: Which one of a cluster's; ``None`` for the only one.
        entries: Its entries.
        chained: Chains their hashes. Entries that a daemon keeps only in memory have none: nobody could change them
            unseen.
        head: Reads where it should end: of a kept journal only, because a daemon has checked that when it started.
    """

    partition: int | None
    entries: Iterator[StoredEntry]
    chained: ChainHash
    head: Callable[[], Head] | None


@contextmanager
def ledger_sources(daemon: DaemonOptions) -> Iterator[Iterator[LedgerSource]]:
    """Find the ledger of a daemon, or those of all partitions of a cluster, which are read while its nodes go on.

    Args:
        daemon: Where the daemon is, or was.

    Raises:
        ConfigError: If neither a daemon answers nor there is a journal, or another process owns it.
        JournalError: If the database cannot be read.
    """
    config = NamedConfig.read(daemon.file)
    if config.is_node and (cluster := _cluster(config)) is not None:  # a node answers for single partitions only
        yield _of_cluster(*cluster)
        return
    try:
        client = daemon.client()
        first = client.ask(list[StoredEntry], _ENTRIES_PATH, limit=1)
    except UnreachableError:
        if (cluster := _cluster(config)) is not None:
            yield _of_cluster(*cluster)
            return
        with kept_journal(daemon, config=config) as journal:
            yield iter([LedgerSource(None, _entries(journal), chain_hash, journal.head)])
    else:
        entries = _paged(lambda after: client.ask(list[StoredEntry], _ENTRIES_PATH, after=after, limit=_PAGE))
        yield iter([LedgerSource(None, entries, chain_hash if first and first[0].hash else _unchained, None)])


def _of_cluster(url: str, layout: Layout) -> Iterator[LedgerSource]:
    for partition, journal in partitions_of(url, layout):
        yield LedgerSource(partition, _entries(journal), chain_hash, journal.head)


@contextmanager
def kept_entries(daemon: DaemonOptions, thread: str) -> Iterator[Iterator[StoredEntry]]:
    """Read the entries of the journal that a thread is in; see :func:`kept_journal` for what it raises."""
    with kept_journal(daemon, thread) as journal:
        yield _entries(journal)


def _entries(journal: "KeptJournal") -> Iterator[StoredEntry]:
    return _paged(lambda after: journal.entries_after(after, _PAGE))


def _unchained(_last: bytes, _body: str) -> bytes:
    return b""


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

    def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return events."""
        ...


def events_of(journal: KeptJournal) -> Iterator[AnyEvent]:
    """Yield every event of a journal, oldest first."""
    after = ""
    while page := journal.events_after(after, _EVENTS_PAGE):
        yield from page
        after = page[-1].id


@contextmanager
def kept_journal(
    daemon: DaemonOptions, thread: str | None = None, *, config: NamedConfig | None = None
) -> Iterator[KeptJournal]:
    """Open the journal of a daemon that does not run: own the state folder, or read the database.

    Args:
        daemon: Where the daemon was.
        thread: Of a cluster's journals the one with this thread.
        config: The configuration that the options name, if it is read already.

    Raises:
        ConfigError: If there is none, or another process owns it.
        JournalError: If the database cannot be read.
    """
    folder = daemon.folder
    if (url := (config or NamedConfig.read(daemon.file)).database()) is not None:
        from organism.stores.postgres.database import PostgresDatabase

        with closing(PostgresDatabase(url, take=False, lease=_lease_to_read(url, thread))) as database:
            yield database
        return
    path = folder / JOURNAL_FILE
    if not path.is_file():
        raise ConfigError("there is no journal here; runs and the daemon make one", where=str(path))
    with owned(folder), closing(SqliteFile(path)) as journal:
        yield journal


def _lease_to_read(url: str, thread: str | None) -> Lease | None:
    from organism.stores.postgres.preparation import layout_of

    layout = layout_of(url)
    if (partitions := len(layout.every)) == 1:
        return None
    if thread is None:
        raise ConfigError(
            f"the database holds the journals of a cluster of {partitions} partitions, and this is answered by its "
            "nodes: start one, or see 'organism cluster status'"
        )
    return Lease(layout.partition_of(thread), 0, layout.partitions)


def _cluster(config: NamedConfig) -> tuple[str, Layout] | None:
    """Return the database of a cluster and its partitions."""
    if (url := config.database()) is None:
        return None
    from organism.stores.postgres.preparation import layout_of

    layout = layout_of(url)
    return (url, layout) if layout.partitions > 1 else None


def partitions_of(url: str, layout: Layout) -> Iterator[tuple[int, KeptJournal]]:
    """Open the journals of a cluster one after the other, only to read them; each is closed when the next is asked for.

    Raises:
        JournalError: If the database cannot be read.
    """
    from organism.stores.postgres.database import PostgresDatabase

    for partition in layout.every:
        with closing(PostgresDatabase(url, take=False, lease=Lease(partition, 0, layout.partitions))) as database:
            yield partition, database


def _paged(page_after: Callable[[int], list[StoredEntry]]) -> Iterator[StoredEntry]:
    after = 0
    while page := page_after(after):
        yield from page
        after = page[-1].seq
