"""A database that gets its tables from another server, as in an upgrade by logical replication, is not written to."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from organism.journal import JournalError
from organism.stores.batch import batch_of
from organism.stores.postgres.database import PostgresDatabase
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import keep

pytestmark = pytest.mark.debian


@pytest.fixture
def servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Run two servers, the second of which subscribes to the journal that is in the first."""
    with PostgresServer({"wal_level": "logical"}) as first, PostgresServer() as second:
        source = first.database()
        PostgresDatabase(source).close()
        first.execute("CREATE PUBLICATION upgrade FOR ALL TABLES", source)
        target = second.database()
        PostgresDatabase(target).close()
        second.execute("TRUNCATE organism.cluster, organism.journals, organism.live", target)
        second.execute(f"CREATE SUBSCRIPTION upgrade CONNECTION '{source}' PUBLICATION upgrade", target)
        while second.execute("SELECT DISTINCT srsubstate FROM pg_subscription_rel", target) != [("r",)]:
            pass  # each of its tables is copied a moment later
        yield first, second


def test_a_database_that_is_replicated_to_is_refused_until_that_has_ended(
    servers: tuple[PostgresServer, PostgresServer],
) -> None:
    """What is written at both ends would be mixed; when the subscription is dropped the journal goes on there."""
    first, second = servers
    source, target = first.url("test"), second.url("test")
    with closing(PostgresDatabase(source)) as database:
        database.write(batch_of([keep("a")]), 1)
    while second.execute("SELECT batch FROM organism.journals", target) != [(1,)]:
        pass
    with pytest.raises(JournalError, match=r"by a subscription, .* give the URL of that server, or drop the subscript"):
        PostgresDatabase(target)
    with closing(PostgresDatabase(target, take=False)) as reader:
        assert [piece.key for piece in reader.load().pieces] == ["a"]
    second.execute("ALTER SUBSCRIPTION upgrade DISABLE", target)
    second.execute("DROP SUBSCRIPTION upgrade", target)
    with closing(PostgresDatabase(target)) as database:
        database.write(batch_of([keep("b")]), 2)
        assert [piece.key for piece in database.load().pieces] == ["a", "b"]
