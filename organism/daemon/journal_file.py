"""Where the journal of a state folder is, and how it is opened."""

import os
from pathlib import Path

from organism.config.load import LoadedConfig
from organism.stores.sqlite import SqliteJournal
from organism.stores.sqlite_file import Retention

JOURNAL_FILE = "journal.db"

_DAY_NS = 86_400 * 1_000_000_000


def journal_of(loaded: LoadedConfig, state: Path) -> SqliteJournal:
    """Return the journal of a state folder, with the retention that the configuration says.

    Raises:
        ConfigError: If the process is to be killed at a point that there is not.
    """
    section = loaded.config.journal
    retention = Retention(events_ns=section.events_days * _DAY_NS, entries_ns=section.entries_days * _DAY_NS)
    if (killed_at := os.environ.get("ORGANISM_KILL_AT")) is not None:
        from organism.testing.kill_points import KillingJournal, KillPoint  # only tests of crashes come here

        return KillingJournal(state / JOURNAL_FILE, KillPoint.parse(killed_at), retention)
    return SqliteJournal(state / JOURNAL_FILE, retention=retention)
