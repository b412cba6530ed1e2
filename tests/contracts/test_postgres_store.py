"""The store in PostgreSQL keeps what the port promises."""

from pathlib import Path

import pytest

from organism.stores.postgres.postgres_journal import PostgresJournal
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import StoreContract, StoreUnderTest


@pytest.mark.debian
class TestPostgres(StoreContract):
    """The journal in a database."""

    @pytest.fixture(autouse=True)
    def _server(self, postgres: PostgresServer) -> None:
        self.server, self.urls = postgres, dict[Path, str]()

    def store(self, place: Path) -> StoreUnderTest:
        """Return a journal in the database of a place."""
        if place not in self.urls:
            self.urls[place] = self.server.database()
        return PostgresJournal(self.urls[place])
