"""A connection for single statements: once it is closed it stays closed, whoever asks it late."""

from typing import Any

import pytest

from organism.journal import JournalError
from organism.stores.postgres import postgres_connection
from organism.stores.postgres.table_connection import TableConnection
from organism.testing.postgres_server import PostgresServer

pytestmark = pytest.mark.debian


@pytest.fixture
def connection(postgres: PostgresServer) -> TableConnection:
    return TableConnection(postgres.database())


def connections(postgres: PostgresServer) -> int:
    ((count,),) = postgres.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'organism'")
    return int(count)


def test_a_statement_after_the_close_opens_no_connection_that_nobody_closes(
    postgres: PostgresServer, connection: TableConnection
) -> None:
    """A renewal that was ordered as a node left comes after the node's last step."""
    before = connections(postgres)
    assert connection.execute("SELECT 1", {}) == [(1,)]
    connection.close()
    with pytest.raises(JournalError, match="is closed: what used it has ended"):
        connection.execute("SELECT 1", {})
    assert connections(postgres) <= before


def test_a_close_while_another_thread_connects_leaves_no_connection_behind(
    postgres: PostgresServer, connection: TableConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The close comes between its connection and its statement."""
    opened = []
    connect = postgres_connection.connected

    def connected(url: str, place: str) -> Any:
        opened.append(connect(url, place))
        connection.close()
        return opened[-1]

    monkeypatch.setattr("organism.stores.postgres.table_connection.connected", connected)
    with pytest.raises(JournalError, match="is closed"):
        connection.execute("SELECT 1", {})
    assert [each.closed for each in opened] == [True]
