"""One connection for statements that are a step each: made with the first of them, and anew when it was lost."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg

from organism.journal import JournalError
from organism.stores.postgres.postgres_connection import Connection, connected
from organism.stores.postgres.postgres_errors import explained, place_of
from organism.stores.shared.quoted_text import quoted


class TableConnection:
    """Executes statements one by one. Everything blocks.

    Attributes:
        place: What errors call it.
    """

    def __init__(self, url: str) -> None:
        self.place = place_of(url)
        self._url = url
        self._connection: Connection | None = None
        self._closed = False

    def close(self) -> None:
        """Let go of the server for good: a statement that comes later is refused, and opens no connection again."""
        self._closed = True
        self._let_go()

    def opened_anew(self) -> Connection:
        """Let go of the server and connect once more; call it where errors are explained.

        Raises:
            JournalError: If the server is refused, or this is closed.
            psycopg.Error: If it cannot be reached.
        """
        self._let_go()
        self._refuse_closed()
        connection = self._connection = connected(self._url, self.place)
        self._refuse_closed()  # another thread may have closed it while this one connected
        return connection

    def _refuse_closed(self) -> None:
        if self._closed:
            self._let_go()
            raise JournalError(f"the connection to {self.place} is closed: what used it has ended")

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def execute(self, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows.

        Args:
            values: Of its parameters; texts that anybody may have written are quoted as in the journal, so what reads
                such a text back unquotes it.

        Raises:
            JournalError: If that failed; what it was to change may be changed or not.
        """
        with explained(self.place):
            connection = self._connection
            if connection is None or connection.closed:
                connection = self.opened_anew()
            given = {name: quoted(value) if isinstance(value, str) else value for name, value in values.items()}
            try:
                cursor = connection.execute(statement, given)
            except psycopg.errors.FeatureNotSupported:
                # Somebody has changed a table: what was planned before is refused as long as this connection lasts.
                cursor = self.opened_anew().execute(statement, given)
            return cursor.fetchall() if cursor.description else []
