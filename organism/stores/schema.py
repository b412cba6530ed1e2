"""The tables of the SQLite journal, and how an older file becomes a newer one. SQL only, no Python rule."""

from typing import Final

APPLICATION_ID: Final = 0x6F72676E
"""The four bytes ``orgn`` in the file's header: this file is one of ours."""

MIGRATIONS: Final = (
    """
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
    """,
    """
    CREATE INDEX checkpoints ON entries (seq) WHERE kind = 'Checkpoint';

    CREATE TABLE head (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        seq INTEGER NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        event INTEGER NOT NULL,
        pieces INTEGER NOT NULL,
        pieces_sum INTEGER NOT NULL
    ) STRICT;
    INSERT INTO head SELECT
        1,
        (SELECT coalesce(max(seq), 0) FROM entries),
        coalesce((SELECT hash FROM entries ORDER BY seq DESC LIMIT 1), zeroblob(32)),
        (SELECT coalesce(max(id), 0) FROM events),
        (SELECT count(*) FROM pieces),
        (SELECT coalesce(sum(checksum), 0) FROM pieces);

    CREATE TABLE remembered (
        key TEXT PRIMARY KEY,
        time_ns INTEGER NOT NULL,
        until_ns INTEGER,
        value TEXT NOT NULL,
        checksum INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX remembered_until ON remembered (until_ns, time_ns);
    INSERT OR IGNORE INTO remembered
        SELECT 'closed:' || substr(json_extract(body, '$.account'), 8), time_ns, NULL, '', NULL
        FROM entries WHERE kind = 'AccountClosed' AND json_extract(body, '$.account') LIKE 'thread:%';
    """,
)
"""Each step makes the schema one version newer; a file's ``user_version`` counts the steps it has taken."""

VERSION: Final = len(MIGRATIONS)

PRAGMAS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",  # one owner; also keeps the WAL index out of shared memory
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # with NORMAL a power cut takes commits that were acknowledged
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",  # an I/O error must be an error, not a signal
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA journal_size_limit = 67108864",
)
