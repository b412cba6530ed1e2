"""The table of leases in the hands of those who administer its database."""

from contextlib import closing

import pytest

from organism.journal import JournalBrokenError, JournalError
from organism.stores.postgres.lease_table import LeaseTable
from organism.stores.postgres.preparation import layout_of
from organism.stores.postgres.token_table import TokenTable
from organism.testing.postgres_server import PostgresServer

pytestmark = pytest.mark.debian


def test_a_table_that_is_altered_meanwhile_is_read_on(postgres: PostgresServer, leases: LeaseTable) -> None:
    """What was planned for the table before is planned anew, and no renewal is lost by it."""
    for _ in range(10):
        leases.look()
    postgres.execute("ALTER TABLE organism.leases ALTER COLUMN p TYPE integer", postgres.url("test"))
    assert [row.partition for row in leases.look().leases] == [0, 1, 2]


@pytest.mark.parametrize("lost", ["TRUNCATE organism.leases", "DELETE FROM organism.leases WHERE p = 1"])
def test_leases_that_are_gone_are_no_smaller_cluster(postgres: PostgresServer, leases: LeaseTable, lost: str) -> None:
    """Names of threads would come to other partitions, and perhaps be begun twice."""
    url = postgres.url("test")
    postgres.execute(lost, url)
    with pytest.raises(JournalBrokenError, match=r"has lost rows of organism\.leases"):
        leases.look()
    with pytest.raises(JournalError, match=r"has lost rows of organism\.leases"):
        layout_of(url)


def test_a_cluster_that_has_lost_what_describes_it_says_so(postgres: PostgresServer, leases: LeaseTable) -> None:
    """No node begins on it, and nobody is let in by tokens that may have been revoked."""
    url = postgres.url("test")
    postgres.execute("TRUNCATE organism.cluster", url)
    with pytest.raises(JournalError, match=r"lost the row of organism\.cluster: restore the newest copy"):
        leases.register("", "1", 0)
    with closing(TokenTable(url)) as tokens, pytest.raises(JournalError, match=r"lost the row of organism\.cluster"):
        tokens.read("")


def test_a_database_whose_clock_is_set_back_keeps_no_dead_nodes_leases(
    postgres: PostgresServer, leases: LeaseTable
) -> None:
    """A lease that seems to last an hour was renewed before: what a node had that died then is free as ever."""
    url = postgres.url("test")
    taken = leases.acquire(2, [])
    postgres.execute(
        "UPDATE organism.leases SET owner = 'z', expires = expires + interval '1 hour' WHERE p = 0; "
        "UPDATE organism.leases SET owner = 'z', expires = expires + interval '10 s' WHERE p = 1; "
        "INSERT INTO organism.nodes SELECT 'z', 1, '', '1', seen + interval '1 hour', false FROM organism.nodes",
        url,
    )
    view = leases.look()
    assert [row.expired for row in view.leases[:2]] == [True, False]
    assert not next(node for node in view.nodes if node.name == "z").live
    assert [lease.partition for lease in leases.acquire(3, [])] == [0, 2]
    assert [lease.partition for lease in taken] == [0, 1]


def test_the_newest_file_is_the_newest_where_only_rows_were_replicated(
    postgres: PostgresServer, leases: LeaseTable
) -> None:
    """Logical replication carries no sequence: numbers of files would begin anew, and a new one be taken for old."""
    numbers = [leases.order(mark, "another") for mark in ("a", "b", "c")]
    postgres.execute("ALTER SEQUENCE organism.configuration_numbers RESTART", postgres.url("test"))
    assert leases.order("d", "another") > max(numbers)
    postgres.execute("ALTER SEQUENCE organism.configuration_numbers RESTART", postgres.url("test"))
    before = leases.order("d")
    assert leases.order("a", "another") > before
