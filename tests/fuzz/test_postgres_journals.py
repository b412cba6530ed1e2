"""Journals in PostgreSQL that no organism has written, or that were damaged: opened, or refused in words."""

import random
from contextlib import closing

import anyio
import pytest

from organism.stores.postgres.postgres_journal import PostgresJournal
from organism.testing.postgres_server import PostgresServer
from tests.fuzz.campaign import campaign
from tests.fuzz.journals import fill
from tests.fuzz.postgres_journals import Damaged

pytestmark = [pytest.mark.anyio, pytest.mark.debian]


async def test_rows_that_no_organism_has_written_are_refused_or_gone_on_with(
    postgres: PostgresServer, pytestconfig: pytest.Config
) -> None:
    """A ledger that was damaged is never taken for what was written; a wrong row ends no start in a crash."""
    url = postgres.database()
    await fill(PostgresJournal(url))
    with closing(Damaged(url)) as damaged:

        async def one(chance: random.Random) -> list[str]:
            with anyio.fail_after(60):
                return await damaged.faults_of(chance)

        most = max(1, pytestconfig.getoption("fuzz") // 2)  # each opens an organism
        outcome = await campaign("postgres", one, pytestconfig.getoption("seed"), most)
    assert not outcome.found, outcome.told
