"""What administrators set for a user, a database or a server does not change what a journal needs of a connection."""

from contextlib import closing

import psycopg
import pytest

from organism.journal import JournalError
from organism.stores.batch import batch_of
from organism.stores.postgres.database import PostgresDatabase
from organism.stores.postgres.postgres_connection import connected
from organism.stores.postgres.postgres_errors import place_of
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import keep

pytestmark = pytest.mark.debian


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


SET_BY_OTHERS = {
    "statement_timeout": ("1s", "0"),
    "lock_timeout": ("1s", "0"),
    "idle_in_transaction_session_timeout": ("1s", "0"),
    "idle_session_timeout": ("1s", "0"),
    "transaction_timeout": ("1s", "0"),  # from PostgreSQL 17 on
    "default_transaction_isolation": ("serializable", "read committed"),
    "client_min_messages": ("error", "warning"),
    "client_encoding": ("LATIN1", "UTF8"),
}


@pytest.mark.parametrize("setting", SET_BY_OTHERS)
def test_what_is_set_for_a_database_is_not_so_for_our_connections(
    postgres: PostgresServer, url: str, setting: str
) -> None:
    """No time-out ends a statement or an idle connection, no warning of a commit is kept back, no text is refused."""
    given, found = SET_BY_OTHERS[setting]
    if (setting,) in postgres.execute("SELECT name FROM pg_settings"):
        postgres.execute(f"ALTER DATABASE test SET {setting} = '{given}'")
        with closing(connected(url, "here")) as connection:
            assert connection.execute(f"SHOW {setting}".encode()).fetchall() == [(found,)]
    with closing(PostgresDatabase(url)) as database:
        database.write(batch_of([keep("→ 木")]), 1)
        assert [piece.key for piece in database.load().pieces] == ["→ 木"]


def test_a_server_that_is_told_to_promise_less_meanwhile_promises_as_much(postgres: PostgresServer, url: str) -> None:
    """A connection goes on as it was looked at; one that is made later is refused."""
    with closing(connected(url, "here")) as connection, psycopg.connect(url, autocommit=True) as other:
        postgres.execute("ALTER SYSTEM SET synchronous_commit = off")
        try:
            postgres.execute("SELECT pg_reload_conf()")
            while other.execute("SHOW synchronous_commit").fetchall() != [("off",)]:
                pass  # it reads its settings a moment after it was asked to
            assert connection.execute("SHOW synchronous_commit").fetchall() == [("on",)]
            with pytest.raises(JournalError, match="synchronous_commit = off, which acknowledges what a crash"):
                connected(url, "here")
        finally:
            postgres.execute("ALTER SYSTEM RESET synchronous_commit")
            postgres.execute("SELECT pg_reload_conf()")
            while other.execute("SHOW synchronous_commit").fetchall() != [("on",)]:
                pass


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused(postgres: PostgresServer, encoding: str) -> None:
    """It would take a journal until the first text of another alphabet, and end there."""
    postgres.execute(f"CREATE DATABASE narrow ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(JournalError, match=f"has the encoding {encoding}, .* ENCODING 'UTF8' TEMPLATE template0"):
            PostgresDatabase(postgres.url("narrow"))
    finally:
        postgres.execute("DROP DATABASE narrow")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cr%zz@db.example.com/house",
        "postgresql://me:s3cr@3t@db.example.com/house",
        "postgresql://me:s3cr/3t@db.example.com/house",
        "postgresql://me:s3cr3t@[::1]x/house",
        "postgresql://me:s3cr3t@db.example.com/house?no_such=s3cr3t",
    ],
)
def test_an_address_that_cannot_be_read_is_told_without_its_password(url: str) -> None:
    """What is wrong with it and how to write it, and nothing of what may be the password."""
    with pytest.raises(JournalError, match=r"URL cannot be read \(.*%40") as refused:
        place_of(url)
    assert "s3cr" not in str(refused.value)
    assert "3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://me:p%40ss%2Fw@db.example.com:5433/house", "PostgreSQL at db.example.com:5433, database house"),
        ("postgresql://me:p?ss@db.example.com/house", "PostgreSQL at db.example.com, database house"),
        ("postgresql:///house?host=/run/postgresql", "PostgreSQL at /run/postgresql, database house"),
        ("postgresql://me@[::1]:5433/house", "PostgreSQL at ::1:5433, database house"),
        ("postgresql://me@a:1,b:2/house?target_session_attrs=read-write", "PostgreSQL at a,b:1,2, database house"),
        ("postgresql:///?service=house", "PostgreSQL at this machine, database of the user"),
    ],
)
def test_every_address_that_the_driver_takes_is_taken(url: str, place: str) -> None:
    """Sockets, several hosts, IPv6, passwords with written characters."""
    assert place_of(url) == place
