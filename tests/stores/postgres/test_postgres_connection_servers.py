"""Servers that the journal in PostgreSQL cannot be kept on are refused with a sentence that says what to do."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from organism.clock import SystemClock
from organism.journal import JournalBrokenError, JournalError
from organism.stores.batch import batch_of
from organism.stores.postgres.database import PostgresDatabase
from organism.stores.postgres.postgres_connection import connected
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import keep

pytestmark = pytest.mark.debian


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


def test_a_standby_is_refused(postgres: PostgresServer, url: str) -> None:
    """A standby answers and takes no writes: the primary is asked for, and nothing is tried in vain."""
    PostgresDatabase(url).close()
    with PostgresServer(primary=postgres) as standby, pytest.raises(JournalError, match="give the URL of the primary"):
        PostgresDatabase(standby.url("test"))


@contextmanager
def pooler(server: PostgresServer, folder: Path, mode: str, size: int) -> Iterator[str]:
    """Run a PgBouncer before a server, and yield the URL of the test database through it."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\ntest = host=127.0.0.1 port={server.port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\n"
    )
    url = server.url("test").replace(f":{server.port}/", f":{port}/")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root's
    process = subprocess.Popen(
        ["/usr/sbin/pgbouncer", "-q", *user, str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(url)
        yield url
    finally:
        process.kill()
        process.wait()


def wait_for(url: str) -> None:
    """Wait until a server answers."""
    until_ns = SystemClock().now_ns() + 60 * 1_000_000_000
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if SystemClock().now_ns() > until_ns:
                raise
            time.sleep(0.02)
        else:
            return


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pool_that_shares_its_connections_is_refused(
    postgres: PostgresServer, url: str, tmp_path: Path, mode: str, size: int
) -> None:
    """A pooler that hands the server's processes from client to client is refused, and told from a server."""
    del url
    with pooler(postgres, tmp_path, mode, size) as pooled, pytest.raises(JournalError, match="pool_mode = session"):
        PostgresDatabase(pooled)


@pytest.mark.parametrize("size", [2, 5])
def test_a_pool_of_sessions_is_taken(postgres: PostgresServer, url: str, tmp_path: Path, size: int) -> None:
    """What the refusal advises works: through a pool in session mode a journal is written and read."""
    del url
    with pooler(postgres, tmp_path, "session", size) as pooled, closing(PostgresDatabase(pooled)) as database:
        for number in (1, 2):
            database.write(batch_of([keep(str(number))]), number)
        assert [piece.key for piece in database.load().pieces] == ["1", "2"]


RIGHTS = {
    "nothing": (),
    "see the schema": ("GRANT USAGE ON SCHEMA organism TO guest",),
    "read": ("GRANT USAGE ON SCHEMA organism TO guest", "GRANT SELECT ON ALL TABLES IN SCHEMA organism TO guest"),
}


@pytest.fixture
def guest(postgres: PostgresServer, url: str) -> str:
    """Return the test database's URL for a user who may do nothing."""
    if not postgres.execute("SELECT 1 FROM pg_roles WHERE rolname = 'guest'"):
        postgres.execute("CREATE ROLE guest LOGIN")
    return url.replace("postgres@", "guest@")


def test_a_user_who_may_not_make_the_tables_is_refused(guest: str) -> None:
    """In an empty database the right that is missing is named."""
    with pytest.raises(JournalError, match="GRANT CREATE ON DATABASE") as refused:
        PostgresDatabase(guest)
    assert not isinstance(refused.value, JournalBrokenError)


@pytest.mark.parametrize("rights", RIGHTS)
def test_a_user_with_too_few_rights_is_refused(postgres: PostgresServer, url: str, guest: str, rights: str) -> None:
    """A user who may not write to a journal's tables is refused before anything is started."""
    PostgresDatabase(url).close()
    for statement in RIGHTS[rights]:
        postgres.execute(statement, url)
    with pytest.raises(JournalError, match="the user must own the schema 'organism'") as refused:
        PostgresDatabase(guest)
    assert not isinstance(refused.value, JournalBrokenError)


def test_who_may_only_read_reads(postgres: PostgresServer, url: str, guest: str) -> None:
    """Commands that only read a journal need no right to write to it."""
    with closing(PostgresDatabase(url)) as database:
        database.write(batch_of([keep("a")]), 1)
    for statement in RIGHTS["read"]:
        postgres.execute(statement, url)
    with closing(PostgresDatabase(guest, take=False)) as database:
        assert [piece.key for piece in database.load().pieces] == ["a"]


def test_no_statement_is_compiled(postgres: PostgresServer, url: str) -> None:
    """A server that compiles what it reckons as long would take a hundred times as long for our short statements."""
    postgres.execute("ALTER DATABASE test SET jit = on")
    with closing(connected(url, "here")) as connection:
        assert connection.execute("SHOW jit").fetchall() == [("off",)]
