"""Each guard of the journal in PostgreSQL stands between one failure and lost work: here it fails."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from msgspec.json import encode

from organism.control.identity import Instance
from organism.journal import JournalBrokenError, JournalError
from organism.stores.batch import batch_of
from organism.stores.group_storage import Retention
from organism.stores.postgres.database import PostgresDatabase
from organism.stores.postgres.lease_table import LeaseTable
from organism.stores.postgres.postgres_schema import MIGRATIONS
from organism.stores.postgres.preparation import migrate
from organism.stores.postgres.statement import CONFIRM
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import event, keep

pytestmark = pytest.mark.debian


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


def interfere(postgres: PostgresServer, url: str, updates: str, act: str) -> None:
    """Have the server do something at each update of a journal's row that is the next group, or that changes nothing.

    It stands for a synchronous standby that is missing when that commit waits for it.
    """
    same = "=" if updates == "the same" else "<>"
    postgres.execute(
        "CREATE FUNCTION organism.interfere() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NEW.batch {same} OLD.batch AND NEW.batch >= 0 THEN {act} END IF; RETURN NEW; END $$",
        url,
    )
    postgres.execute(
        "CREATE TRIGGER interfere BEFORE UPDATE ON organism.journals "
        "FOR EACH ROW EXECUTE FUNCTION organism.interfere()",
        url,
    )


WARN = "RAISE WARNING 'canceling wait for synchronous replication';"


def test_a_commit_that_the_server_warns_of_is_looked_up(postgres: PostgresServer, url: str) -> None:
    """Who gives up waiting for its standbys only warns: the group counts as written once one more commit is whole."""
    with closing(PostgresDatabase(url)) as database:
        interfere(postgres, url, "the next", WARN)
        with pytest.raises(JournalError, match="has warned at a commit"):
            database.write(batch_of([event(1)]), 1)
        assert database.reopen(1)
        assert database.batch_number == 1


@pytest.mark.parametrize(
    ("act", "error", "told"),
    [
        ("RAISE EXCEPTION 'no standby';", JournalError, "no standby"),
        (WARN, JournalError, "has warned at a commit"),
        ("RETURN NULL;", JournalBrokenError, "row that says where it ends is gone"),
    ],
    ids=["it fails", "it warns", "it changes no row"],
)
def test_an_unsure_group_is_acknowledged_only_after_another_commit(
    postgres: PostgresServer, url: str, act: str, error: type[JournalError], told: str
) -> None:
    """A group that is visible after a lost answer may be on this server alone: it counts only after one more commit."""
    with closing(PostgresDatabase(url)) as database:
        interfere(postgres, url, "the next", WARN)
        with pytest.raises(JournalError, match="has warned at a commit"):
            database.write(batch_of([event(1)]), 1)
        postgres.execute("DROP FUNCTION organism.interfere CASCADE", url)
        interfere(postgres, url, "the same", act)
        with pytest.raises(error, match=told):
            database.reopen(1)
        assert database.batch_number == 0


@pytest.mark.parametrize("wrong", ["epoch", "number"])
def test_only_the_owner_of_the_newest_group_confirms_it(url: str, wrong: str) -> None:
    """What confirms a group is fenced as what writes one: who was overtaken meanwhile confirms nothing."""
    with closing(PostgresDatabase(url)) as database:
        database.write(batch_of([event(1)]), 1)
        right = {"p": 0, "epoch": 1, "number": 1}
        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.execute(CONFIRM, right).fetchall() == [(0,)]
            with pytest.raises(psycopg.errors.CheckViolation, match="fenced"):
                connection.execute(CONFIRM, right | {wrong: 7})


def test_an_overtaken_owner_forgets_nothing(url: str) -> None:
    """Deleting what is too old is fenced too: an owner that was overtaken takes no row from the next one."""
    with closing(PostgresDatabase(url)) as first, closing(PostgresDatabase(url)) as second:
        second.write(batch_of([event(number) for number in range(1, 11)]), 1)
        assert not first.forget(Retention(events_ns=4))
        assert len(second.events_after("", 100)) == 10


def test_a_database_of_another_organism_is_not_taken_over(url: str) -> None:
    """The daemon of another organism is refused before it owns anything, and the one that runs goes on."""
    with closing(PostgresDatabase(url, name="house")) as running:
        with pytest.raises(JournalError, match=r"organism 'house', and this is 'shop': use another database"):
            PostgresDatabase(url, name="shop")
        running.write(batch_of([keep("a")]), 1)
    PostgresDatabase(url, name="house").close()


def test_a_database_of_version_1_knows_whose_it_is(postgres: PostgresServer, url: str) -> None:
    """Tables made before names were kept take theirs from what the organism wrote, and become newer only for it."""
    postgres.execute(MIGRATIONS[0], url)
    body = encode(Instance("in_1", "house")).decode()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO organism.pieces VALUES (0, 'instance', 1, '', %s, 0)", (body,))
    with pytest.raises(JournalError, match="organism 'house'"):
        PostgresDatabase(url, name="shop")
    assert postgres.execute("SELECT schema FROM organism.cluster", url) == [(1,)]

    PostgresDatabase(url, name="house").close()

    assert postgres.execute("SELECT schema, name FROM organism.cluster", url) == [(len(MIGRATIONS), "house")]


def test_a_migration_keeps_no_node_waiting_while_somebody_reads(
    postgres: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that is under way refuses the program that would change the tables; who uses them goes on meanwhile."""
    monkeypatch.setattr("organism.stores.postgres.preparation.TRIES", 2)
    postgres.execute("".join(MIGRATIONS[:5]), url)
    with psycopg.connect(url) as backup, psycopg.connect(url, autocommit=True) as node, ThreadPoolExecutor() as threads:
        backup.execute("SELECT FROM organism.nodes")
        node.execute("SET lock_timeout = '3s'")
        started = threads.submit(PostgresDatabase, url)
        while not started.done():
            node.execute("SELECT FROM organism.nodes")
        with pytest.raises(JournalError, match="somebody uses them, such as a backup"):
            started.result()
        assert node.execute("SELECT schema FROM organism.cluster").fetchall() == [(1,)]
        backup.rollback()
        PostgresDatabase(url).close()
        assert node.execute("SELECT schema FROM organism.cluster").fetchall() == [(len(MIGRATIONS),)]


def test_an_older_program_that_comes_second_does_not_make_the_tables_older(url: str) -> None:
    """Of two that begin at once on old tables the newer one may be first: the other one is refused."""
    PostgresDatabase(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE organism.cluster SET schema = schema + 1")
        with pytest.raises(JournalError, match="upgrade organism"):
            migrate(connection, "here")
        assert connection.execute("SELECT schema FROM organism.cluster").fetchall() == [(len(MIGRATIONS) + 1,)]


def test_a_node_that_begins_with_another_one_does_not_lock_the_tables_that_this_has_made(url: str) -> None:
    """Both found an empty database; the second one waited while the first made the tables, which is at work by now."""
    PostgresDatabase(url).close()
    with psycopg.connect(url, autocommit=True) as second, psycopg.connect(url) as first:
        first.execute("SELECT FROM organism.nodes")
        migrate(second, "here")
        assert second.execute("SELECT partitions FROM organism.cluster").fetchall() == [(1,)]


def test_nodes_that_begin_at_once_on_an_empty_database_all_begin(url: str) -> None:
    """What `docker compose up` does: none is refused, and none ends another one's first statement."""

    def begin(node: str) -> int:
        with closing(LeaseTable(url, name="house", node=node, partitions=4)) as table:
            table.register(url, "1", time.time_ns())
            return table.incarnation

    for _ in range(10):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS organism CASCADE")
        with ThreadPoolExecutor() as threads:
            assert list(threads.map(begin, ("a", "b", "c", "d"))) == [1, 1, 1, 1]


def test_a_database_whose_transactions_are_serializable_by_default_is_used_as_any_other(
    postgres: PostgresServer, url: str
) -> None:
    """A statement that waits for another node's has to read what that one wrote, not what stood there before."""
    postgres.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', "
        "current_database()); END $$",
        url,
    )
    with closing(PostgresDatabase(url)) as database, closing(LeaseTable(url, name="", node="a", partitions=1)) as table:
        database.write(batch_of([event(1)]), 1)
        assert table._execute("SELECT current_setting('transaction_isolation')") == [("read committed",)]
