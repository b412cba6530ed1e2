"""Where the journal of a daemon is, and how it is opened."""

from collections.abc import Mapping
from pathlib import Path

from organism.config.load import LoadedConfig
from organism.stores.group_storage import Retention
from organism.stores.sqlite import SqliteJournal
from organism.usage.event_log import Store
from organism.wiring import check_postgres, postgres_journal

JOURNAL_FILE = "journal.db"

DATABASE_URL = "DATABASE_URL"
"""The variable of the environment that names the database of ``store: postgres``."""

_DAY_NS = 86_400 * 1_000_000_000


def journal_of(loaded: LoadedConfig, state: Path, environment: Mapping[str, str]) -> Store:
    """Return the journal of a daemon, with the retention that the configuration says.

    Args:
        state: The state folder, where the file of an SQLite journal is.
        environment: Where the URL of the database is looked up, before the ``.env`` beside the file.

    Raises:
        ConfigError: If it is in a database that nothing names.
        MissingExtraError: If it is in a database and the driver is not installed.
    """
    retention = retention_of(loaded)
    if (url := database_url(loaded, environment)) is not None:
        return postgres_journal(url, loaded.config.name, retention)
    return SqliteJournal(state / JOURNAL_FILE, retention=retention)


def check_store(loaded: LoadedConfig, environment: Mapping[str, str]) -> None:
    """Refuse what :func:`journal_of` would refuse; nothing is opened.

    Raises:
        ConfigError: If the journal is in a database that nothing names.
        MissingExtraError: If it is in a database and the driver is not installed.
    """
    if database_url(loaded, environment) is not None:
        check_postgres()


def retention_of(loaded: LoadedConfig) -> Retention:
    """Return what is forgotten when."""
    section = loaded.config.journal
    return Retention(events_ns=section.events_days * _DAY_NS, entries_ns=section.entries_days * _DAY_NS)


def database_url(loaded: LoadedConfig, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the database that the journal is in; ``None`` if it is in a file.

    Raises:
        ConfigError: If nothing names it.
    """
    if loaded.config.cluster is not None:
        return loaded.config.cluster.url
    store = loaded.config.store
    if store == "sqlite":
        return None
    if store != "postgres":
        return store
    url = {**loaded.dotenv, **environment}.get(DATABASE_URL)
    if not url:
        loaded.fail(f"which database? Set {DATABASE_URL} here or in .env, or write store: postgresql://...", "store")
    return url
