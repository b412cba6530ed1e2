"""Connections to PostgreSQL, and the servers that are refused because what they acknowledge may be lost."""

from collections.abc import Callable
from contextlib import closing
from select import select
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from organism.journal import JournalError

OLDEST = 14
"""The oldest version of PostgreSQL that is used."""

_PATIENCE = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "application_name": "organism",
}
"""A server whose machine is gone is noticed within half a minute; the URL may say otherwise."""

_PROBE_S = 5

_SESSION = (
    "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
    # A statement that has waited for another node's reads what that one wrote.
    "SET default_transaction_isolation = 'read committed'; "
    # A plan made while the tables are small would read them whole for as long as the connection lasts.
    "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; "
    # What the planner is to avoid it reckons as endless, and so compiles: 0.2 s of a processor for a statement of 1 ms.
    "SET jit = off; "
    # A connection may idle for long; and what the server warns of may be a commit.
    "SET idle_session_timeout = 0; SET client_min_messages = warning"
)

_SESSION_OF_17 = "; SET transaction_timeout = 0"

Connection = psycopg.Connection[tuple[Any, ...]]


def connected(url: str, place: str, on_warning: Callable[[], None] = lambda: None) -> Connection:
    """Connect to a server that may be written to, and that keeps what it acknowledges.

    Args:
        on_warning: Called when the server warns: it may have given up waiting for its standbys.

    Raises:
        JournalError: If it is refused.
        psycopg.Error: If it cannot be reached.
    """
    given = conninfo_to_dict(url)
    options = {key: value for key, value in _PATIENCE.items() if key not in given}
    connection = psycopg.connect(url, autocommit=True, client_encoding="utf8", **options)  # type: ignore[arg-type]
    try:
        synchronous = _refuse_unsafe(connection, url, place)
        newer = _SESSION_OF_17 if connection.info.server_version >= 17_00_00 else ""  # noqa: PLR2004
        # What was looked at stays as it was for this connection, also where the server is set otherwise meanwhile.
        connection.execute(f"{_SESSION}{newer}; SET synchronous_commit = {synchronous}".encode())
    except BaseException:
        connection.close()
        raise

    def notice(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            on_warning()

    connection.add_notice_handler(notice)
    return connection


def _refuse_unsafe(connection: Connection, url: str, place: str) -> str:
    """Refuse a server that may lose what it acknowledges, or cannot keep it; return its ``synchronous_commit``."""
    version = connection.info.server_version // 10_000
    if version < OLDEST:
        raise JournalError(f"{place} is version {version}, and organism needs {OLDEST} or newer: upgrade the server")
    row = connection.execute(
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('fsync'), "
        "current_setting('synchronous_commit'), current_setting('server_encoding'), pg_backend_pid()"
    ).fetchone()
    standby, read_only, fsync, synchronous, encoding, pid = row or (False, "off", "off", "off", "", 0)
    if standby:
        raise JournalError(f"{place} is a standby, which takes no writes: give the URL of the primary")
    if read_only != "off":
        raise JournalError(f"{place} is read-only: set default_transaction_read_only = off for this user and database")
    if fsync != "on":
        raise JournalError(f"{place} runs with fsync = off, and a power cut would lose paid work: set fsync = on")
    if synchronous not in ("on", "remote_apply"):
        raise JournalError(
            f"{place} runs with synchronous_commit = {synchronous}, which acknowledges what a crash may lose: set it "
            "to on (or remote_apply) for this user and database"
        )
    if encoding != "UTF8":
        raise JournalError(
            f"{place} has the encoding {encoding}, which cannot hold every text: use a database that was made with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    if pid != connection.info.backend_pid and _is_shared(connection, url):
        raise JournalError(
            f"{place} is a pooler in transaction or statement mode, such as PgBouncer's pool_mode = transaction: give "
            "the URL of the server itself, or a pool with pool_mode = session"
        )
    return str(synchronous)


def _is_shared(connection: Connection, url: str) -> bool:
    """Whether a second client gets the server's process that this one has: then none has one of its own."""
    try:
        with connection.transaction():
            ((mine,),) = connection.execute("SELECT pg_backend_pid()")
    except psycopg.OperationalError:
        return True  # a pool in statement mode refuses transactions
    try:
        with closing(psycopg.connect(url, autocommit=True, connect_timeout=10)) as other:
            other.pgconn.send_query(b"SELECT pg_backend_pid()")
            # A pool in session mode that has no process left keeps this client waiting: that is no sharing.
            if not select([other.fileno()], [], [], _PROBE_S)[0]:
                return False
            answer = other.pgconn.get_result()
            return answer is not None and answer.get_value(0, 0) == b"%d" % mine
    except psycopg.OperationalError:
        return False  # it may also refuse this client
