"""The tables of the PostgreSQL journal, and how older ones become newer. SQL only, no Python rule.

Each table begins with the partition, so that a database may hold the journals of many; one daemon uses partition 0,
and each node of a cluster those that it holds the leases of.
"""

from typing import Final

from organism.ids import PARTITIONS_MAX

MIGRATIONS: Final = (
    """
    CREATE SCHEMA IF NOT EXISTS organism;

    CREATE TABLE IF NOT EXISTS organism.cluster (
        one integer PRIMARY KEY CHECK (one = 1),
        partitions integer NOT NULL CHECK (partitions BETWEEN 1 AND 256),
        schema integer NOT NULL
    );

    CREATE TABLE IF NOT EXISTS organism.journals (
        p smallint PRIMARY KEY,
        epoch bigint NOT NULL,
        batch bigint NOT NULL CONSTRAINT fenced CHECK (batch >= 0),
        seq bigint NOT NULL,
        hash bytea NOT NULL CHECK (length(hash) = 32),
        event bigint NOT NULL,
        time_ns bigint NOT NULL
    ) WITH (fillfactor = 50);

    CREATE TABLE IF NOT EXISTS organism.live (
        p smallint PRIMARY KEY,
        pieces bigint NOT NULL,
        pieces_sum bigint NOT NULL
    ) WITH (fillfactor = 50);

    CREATE TABLE IF NOT EXISTS organism.entries (
        p smallint NOT NULL,
        seq bigint NOT NULL CHECK (seq > 0),
        time_ns bigint NOT NULL CHECK (time_ns >= 0),
        kind text NOT NULL,
        hold_id text,
        tokens bigint CHECK (kind = 'Adjusted' OR tokens >= 0),
        cost_nanousd bigint CHECK (kind = 'Adjusted' OR cost_nanousd >= 0),
        calls bigint CHECK (kind = 'Adjusted' OR calls >= 0),
        body text NOT NULL,
        hash bytea NOT NULL CHECK (length(hash) = 32),
        PRIMARY KEY (p, seq)
    );
    CREATE UNIQUE INDEX IF NOT EXISTS one_reserve ON organism.entries (p, hold_id) WHERE kind = 'Reserved';
    CREATE UNIQUE INDEX IF NOT EXISTS one_dispatch ON organism.entries (p, hold_id) WHERE kind = 'Dispatched';
    CREATE UNIQUE INDEX IF NOT EXISTS one_resolution
        ON organism.entries (p, hold_id) WHERE kind IN ('Settled', 'Released');
    CREATE INDEX IF NOT EXISTS checkpoints ON organism.entries (p, seq) WHERE kind = 'Checkpoint';

    CREATE TABLE IF NOT EXISTS organism.pieces (
        p smallint NOT NULL,
        key text COLLATE "C" NOT NULL,
        seq bigint NOT NULL,
        thread_id text COLLATE "C" NOT NULL,
        body text NOT NULL,
        checksum bigint NOT NULL,
        PRIMARY KEY (p, key)
    ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
    CREATE INDEX IF NOT EXISTS pieces_of_thread ON organism.pieces (p, thread_id);

    CREATE TABLE IF NOT EXISTS organism.events (
        p smallint NOT NULL,
        id bigint NOT NULL CHECK (id > 0),
        time_ns bigint NOT NULL CHECK (time_ns >= 0),
        type text NOT NULL,
        thread_id text NOT NULL,
        body text NOT NULL,
        checksum bigint NOT NULL,
        PRIMARY KEY (p, id)
    );

    CREATE TABLE IF NOT EXISTS organism.remembered (
        p smallint NOT NULL,
        key text COLLATE "C" NOT NULL,
        time_ns bigint NOT NULL,
        until_ns bigint,
        value text NOT NULL,
        checksum bigint,
        PRIMARY KEY (p, key)
    );
    CREATE INDEX IF NOT EXISTS remembered_until ON organism.remembered (p, until_ns, time_ns);

    INSERT INTO organism.cluster VALUES (1, 1, 1) ON CONFLICT DO NOTHING;
    INSERT INTO organism.journals VALUES (0, 0, 0, 0, decode(repeat('00', 32), 'hex'), 0, 0) ON CONFLICT DO NOTHING;
    INSERT INTO organism.live VALUES (0, 0, 0) ON CONFLICT DO NOTHING;
    """,
    """
    ALTER TABLE organism.cluster ADD COLUMN IF NOT EXISTS name text NOT NULL DEFAULT '';
    UPDATE organism.cluster SET name = coalesce(
        (SELECT body::jsonb->>'name' FROM organism.pieces WHERE p = 0 AND key = 'instance'), '') WHERE name = '';

    CREATE TABLE IF NOT EXISTS organism.nodes (
        node text PRIMARY KEY,
        incarnation bigint NOT NULL,
        url text NOT NULL,
        version text NOT NULL,
        seen timestamptz NOT NULL,
        draining boolean NOT NULL
    ) WITH (fillfactor = 50);

    CREATE TABLE IF NOT EXISTS organism.leases (
        p smallint PRIMARY KEY,
        epoch bigint NOT NULL,
        owner text,
        incarnation bigint NOT NULL,
        expires timestamptz NOT NULL,
        wanted_by text,
        stopped text NOT NULL DEFAULT ''
    ) WITH (fillfactor = 50);
    """,
    """
    CREATE TABLE IF NOT EXISTS organism.shared (
        account text COLLATE "C" PRIMARY KEY,
        tokens bigint, cost_nanousd bigint, calls bigint,
        g_tokens bigint NOT NULL DEFAULT 0,
        g_cost_nanousd bigint NOT NULL DEFAULT 0,
        g_calls bigint NOT NULL DEFAULT 0,
        taken_tokens bigint NOT NULL DEFAULT 0,
        taken_cost_nanousd bigint NOT NULL DEFAULT 0,
        taken_calls bigint NOT NULL DEFAULT 0,
        short_tokens bigint NOT NULL DEFAULT 0,
        short_cost_nanousd bigint NOT NULL DEFAULT 0,
        short_calls bigint NOT NULL DEFAULT 0,
        revision bigint NOT NULL DEFAULT 1,
        changed timestamptz NOT NULL DEFAULT clock_timestamp(),
        until_ns bigint
    ) WITH (fillfactor = 50);
    CREATE INDEX IF NOT EXISTS shared_changed ON organism.shared (changed);

    CREATE TABLE IF NOT EXISTS organism.slices (
        account text COLLATE "C" NOT NULL,
        p smallint NOT NULL,
        version bigint NOT NULL DEFAULT 0,
        pushed bigint NOT NULL DEFAULT 1,
        tokens bigint NOT NULL DEFAULT 0,
        cost_nanousd bigint NOT NULL DEFAULT 0,
        calls bigint NOT NULL DEFAULT 0,
        s_tokens bigint NOT NULL DEFAULT 0,
        s_cost_nanousd bigint NOT NULL DEFAULT 0,
        s_calls bigint NOT NULL DEFAULT 0,
        h_tokens bigint NOT NULL DEFAULT 0,
        h_cost_nanousd bigint NOT NULL DEFAULT 0,
        h_calls bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (account, p)
    ) WITH (fillfactor = 50);
    CREATE INDEX IF NOT EXISTS slices_of_partition ON organism.slices (p);

    CREATE TABLE IF NOT EXISTS organism.wanted (
        account text COLLATE "C" NOT NULL,
        p smallint NOT NULL,
        tokens bigint NOT NULL, cost_nanousd bigint NOT NULL, calls bigint NOT NULL,
        since timestamptz NOT NULL,
        seen timestamptz NOT NULL,
        PRIMARY KEY (account, p)
    ) WITH (fillfactor = 50);

    CREATE TABLE IF NOT EXISTS organism.fired (
        account text COLLATE "C" NOT NULL,
        unit text NOT NULL,
        threshold integer NOT NULL,
        p smallint NOT NULL,
        revision bigint NOT NULL,
        at_ns bigint NOT NULL,
        PRIMARY KEY (account, unit, threshold)
    );
    CREATE INDEX IF NOT EXISTS fired_by_partition ON organism.fired (p);
    """,
    """
    ALTER TABLE organism.cluster ADD COLUMN IF NOT EXISTS key bytea NOT NULL DEFAULT '';
    UPDATE organism.cluster SET key = decode(
        replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex') WHERE key = '';
    """,
    """
    CREATE TABLE IF NOT EXISTS organism.rates (
        provider text COLLATE "C" PRIMARY KEY,
        version bigint NOT NULL,
        nodes text NOT NULL
    ) WITH (fillfactor = 50);
    """,
    """
    CREATE TABLE IF NOT EXISTS organism.tokens (
        name text COLLATE "C" PRIMARY KEY,
        hash text COLLATE "C" NOT NULL UNIQUE,
        body text NOT NULL
    );
    CREATE TABLE IF NOT EXISTS organism.tokens_taken_up (hash text COLLATE "C" PRIMARY KEY);
    ALTER TABLE organism.cluster ADD COLUMN IF NOT EXISTS tokens_mark uuid NOT NULL DEFAULT gen_random_uuid();
    ALTER TABLE organism.nodes ADD COLUMN IF NOT EXISTS reads_tokens boolean NOT NULL DEFAULT false;
    """,
    """
    ALTER TABLE organism.nodes ADD COLUMN IF NOT EXISTS labels text[];
    ALTER TABLE organism.leases ADD COLUMN IF NOT EXISTS node_label text NOT NULL DEFAULT '';
    """,
    """
    CREATE TABLE IF NOT EXISTS organism.questions (
        account text COLLATE "C" PRIMARY KEY,
        revision bigint NOT NULL,
        threshold integer NOT NULL,
        p smallint NOT NULL,
        asked_ns bigint NOT NULL,
        thread_id text NOT NULL,
        root text NOT NULL,
        agent text NOT NULL,
        detail text NOT NULL,
        said boolean,
        note text NOT NULL DEFAULT '',
        said_by text NOT NULL DEFAULT '',
        said_ns bigint NOT NULL DEFAULT 0,
        passed integer NOT NULL DEFAULT 0,
        passed_ns bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50);
    """,
    """
    CREATE TABLE IF NOT EXISTS organism.configurations (
        mark text COLLATE "C" PRIMARY KEY,
        number bigint GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME organism.configuration_numbers)
    );
    ALTER TABLE organism.nodes ADD COLUMN IF NOT EXISTS configuration text NOT NULL DEFAULT '';
    ALTER TABLE organism.nodes ADD COLUMN IF NOT EXISTS configuration_number bigint NOT NULL DEFAULT 0;
    ALTER TABLE organism.shared
        ADD COLUMN IF NOT EXISTS configuration bigint NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS c_tokens bigint,
        ADD COLUMN IF NOT EXISTS c_cost_nanousd bigint,
        ADD COLUMN IF NOT EXISTS c_calls bigint;
    """,
)
"""Each step makes the schema one version newer; ``organism.cluster`` counts the steps it has taken."""

VERSION: Final = len(MIGRATIONS)


def partitions_made(count: int) -> str:
    """Return the SQL that makes the journals of a new database, and their leases where they are several."""
    if count == 1:
        return ""
    # Another node may have made them a moment ago, and another number of them: then its number stays.
    return f"""
    UPDATE organism.cluster SET partitions = {count:d} WHERE (SELECT count(*) = 1 FROM organism.journals);
    INSERT INTO organism.journals
        SELECT p, 0, 0, 0, decode(repeat('00', 32), 'hex'), 0, 0
        FROM organism.cluster, generate_series(0, partitions - 1) AS p ON CONFLICT DO NOTHING;
    INSERT INTO organism.live
        SELECT p, 0, 0 FROM organism.cluster, generate_series(0, partitions - 1) AS p ON CONFLICT DO NOTHING;
    INSERT INTO organism.leases
        SELECT p, 0, NULL, 0, '-infinity' FROM organism.cluster, generate_series(0, partitions - 1) AS p
        ON CONFLICT DO NOTHING;"""  # noqa: S608 - a number


def labelled_made(label: str, count: int) -> str:
    """Return the SQL that makes the partitions of a label, behind all others, if it has none yet and there is room.

    A process of a program that knows no labels, and so says none, would take them as any others: where it has gone
    silent it is a node no more, and ends by that when it comes back.
    """
    return f"""
    SELECT pg_advisory_xact_lock({LOCK});
    DELETE FROM organism.nodes WHERE labels IS NULL;
    INSERT INTO organism.leases (p, epoch, incarnation, expires, node_label)
        SELECT last + n, 0, 0, '-infinity', '{label}'
        FROM (SELECT max(p) AS last FROM organism.leases) AS made, generate_series(1, {count:d}) AS n
        WHERE NOT EXISTS (SELECT FROM organism.leases WHERE node_label = '{label}')
            AND last + {count:d} < {PARTITIONS_MAX};
    INSERT INTO organism.journals
        SELECT p, 0, 0, 0, decode(repeat('00', 32), 'hex'), 0, 0 FROM organism.leases ON CONFLICT DO NOTHING;
    INSERT INTO organism.live SELECT p, 0, 0 FROM organism.leases ON CONFLICT DO NOTHING;"""  # noqa: S608 - checked


LOCK: Final = 0x6F72676E
"""What programs lock that make the tables, so that two at once do not get into each other's way."""
