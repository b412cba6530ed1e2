"""Where the journal of a state folder is, and how it is opened."""

from pathlib import Path

from organism.config.load import LoadedConfig
from organism.stores.group_journal import Retention
from organism.stores.sqlite import SqliteJournal

JOURNAL_FILE = "journal.db"

_DAY_NS = 86_400 * 1_000_000_000


def journal_of(loaded: LoadedConfig, state: Path) -> SqliteJournal:
    """Return the journal of a state folder, with the retention that the configuration says."""
    section = loaded.config.journal
    retention = Retention(events_ns=section.events_days * _DAY_NS, entries_ns=section.entries_days * _DAY_NS)
    return SqliteJournal(state / JOURNAL_FILE, retention=retention)
