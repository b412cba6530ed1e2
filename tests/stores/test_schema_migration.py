"""A journal of an earlier version becomes one of this version when it is opened, whole or not at all."""

from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

from organism.amounts import Amounts, Limits
from organism.ledger.ledger import Cost, Ledger
from organism.stores import schema
from organism.stores.batch import GENESIS, EntryRow, batch_of, chained, checksum
from organism.stores.sqlite_file import SqliteFile

FIRST = """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY CHECK (seq > 0),
        time_ns INTEGER NOT NULL CHECK (time_ns >= 0),
        kind TEXT NOT NULL,
        hold_id TEXT,
        tokens INTEGER CHECK (kind = 'Adjusted' OR tokens >= 0),
        cost_nanousd INTEGER CHECK (kind = 'Adjusted' OR cost_nanousd >= 0),
        calls INTEGER CHECK (kind = 'Adjusted' OR calls >= 0),
        body TEXT NOT NULL CHECK (json_valid(body)),
        hash BLOB NOT NULL CHECK (length(hash) = 32)
    ) STRICT;
    CREATE UNIQUE INDEX one_reserve ON entries (hold_id) WHERE kind = 'Reserved';
    CREATE UNIQUE INDEX one_dispatch ON entries (hold_id) WHERE kind = 'Dispatched';
    CREATE UNIQUE INDEX one_resolution ON entries (hold_id) WHERE kind IN ('Settled', 'Released');

    CREATE TABLE pieces (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        thread_id TEXT NOT NULL,
        body TEXT NOT NULL CHECK (json_valid(body)),
        checksum INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX pieces_of_thread ON pieces (thread_id);

    CREATE TABLE events (
        id INTEGER PRIMARY KEY CHECK (id > 0),
        time_ns INTEGER NOT NULL CHECK (time_ns >= 0),
        type TEXT NOT NULL,
        thread_id TEXT NOT NULL,
        body TEXT NOT NULL CHECK (json_valid(body)),
        checksum INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX events_of_thread ON events (thread_id);

    INSERT INTO meta VALUES ('batch', 0);
    PRAGMA application_id = 1869768558;
    PRAGMA user_version = 1;
"""
"""The tables of version 1, as organism 0.1 made them."""


def rows() -> list[tuple[*EntryRow, bytes]]:
    """Return the entries of a ledger in which one thread has ended and another has not."""
    records: list[msgspec.Struct] = []
    ledger = Ledger(records.append)
    for number, name in enumerate(("thread:ended", "agent:a@thread:ended", "thread:open")):
        ledger.open(name, Limits(tokens=100), 1 + number)
    ledger.reserve("h", ("thread:open",), Amounts(tokens=9, calls=1), 5)
    ledger.settle("h", Amounts(tokens=7, calls=1), Cost(), 6)
    ledger.close("agent:a@thread:ended", 7)
    ledger.close("thread:ended", 8)
    return list(chained(batch_of(records).entries, GENESIS))


def old_journal(path: Path) -> None:
    """Make a journal of version 1 with something in it."""
    with closing(apsw.Connection(str(path))) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(FIRST)
        db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows())
        piece = ("instance", "", '{"type":"Instance","id":"in_1"}')
        db.execute(
            "INSERT INTO pieces (key, thread_id, body, checksum) VALUES (?, ?, ?, ?)", (*piece, checksum(*piece))
        )
        event = '{"type":"thread_opened","id":"0000000000000004","time_ns":9,"thread_id":"t","root_thread_id":"t"}'
        db.execute("INSERT INTO events VALUES (4, 9, 'thread_opened', 't', ?, ?)", (event, checksum("4", event)))
    path.chmod(0o600)


def test_a_journal_of_the_first_version_is_taken_up(tmp_path: Path) -> None:
    """Everything in it is there, what it had come to is known, and the ids of its ended threads are used up."""
    path = tmp_path / "journal.db"
    old_journal(path)
    for _ in range(2):
        with closing(SqliteFile(path)) as file:
            stored = file.load()
            assert len(list(stored.entries)) == len(rows())
            assert [piece.key for piece in stored.pieces] == ["instance"]
            assert stored.last_event == 4
            assert file.head().faults == ()
            assert file.head().seq == len(rows())
            assert file.remembered("closed:ended") == ""
            assert file.remembered("closed:open") is None
            assert file.remembered("closed:a@thread:ended") is None


def test_a_migration_that_fails_leaves_the_old_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that cannot be finished changes nothing: the journal is still one of the old version."""
    path = tmp_path / "journal.db"
    old_journal(path)
    monkeypatch.setattr("organism.stores.sqlite_file.MIGRATIONS", (*schema.MIGRATIONS, "SELECT no_such_function()"))
    monkeypatch.setattr("organism.stores.sqlite_file.VERSION", len(schema.MIGRATIONS) + 1)
    with pytest.raises(Exception, match="no_such_function"):
        SqliteFile(path)
    with closing(apsw.Connection(str(path))) as db:
        assert db.execute("PRAGMA user_version").fetchall() == [(1,)]
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'head'").fetchall() == [(0,)]
    monkeypatch.undo()
    with closing(SqliteFile(path)) as file:
        assert file.remembered("closed:ended") == ""
