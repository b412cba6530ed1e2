"""The server of a journal has no room, or fails over to its standby: nothing that was promised is lost."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from organism.journal import JournalBrokenError, JournalError, JournalFullError, Remember
from organism.ledger.ledger import Ledger
from organism.stores.batch import batch_of
from organism.stores.postgres.database import PostgresDatabase
from organism.stores.postgres.postgres_journal import PostgresJournal
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import event, keep, live_a_little
from organism.testing.virtual_time import run

pytestmark = pytest.mark.debian


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


TABLES = ("pieces", "entries", "events", "remembered")

REFUSALS: dict[str, type[JournalError]] = {
    "disk_full": JournalFullError,
    "out_of_memory": JournalError,
    "io_error": JournalError,
    "internal_error": JournalError,
    "query_canceled": JournalError,
    "deadlock_detected": JournalError,
    "lock_not_available": JournalError,
    "serialization_failure": JournalError,
    "read_only_sql_transaction": JournalError,
    "cannot_connect_now": JournalError,
}
"""What a server in trouble says, as PostgreSQL's manual names it (appendix A), and how a commit ends."""


def refuse(postgres: PostgresServer, url: str, condition: str, table: str) -> None:
    """Have the server answer every row of a table with an error, as it does when its disk is full."""
    postgres.execute(
        "CREATE FUNCTION organism.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{condition}'; END $$; "
        f"CREATE TRIGGER refuse BEFORE INSERT ON organism.{table} FOR EACH ROW EXECUTE FUNCTION organism.refuse()",
        url,
    )


@pytest.mark.parametrize(
    ("condition", "table"),
    [*(("disk_full", table) for table in TABLES), *((each, "events") for each in REFUSALS if each != "disk_full")],
)
def test_a_server_in_trouble_refuses_a_group_whole_and_takes_it_later(
    postgres: PostgresServer, url: str, condition: str, table: str
) -> None:
    """The commit fails with an error that ends nothing; when the server is well again all is there once, in order."""

    async def main() -> None:
        async with PostgresJournal(url) as journal:
            journal.append(event(1))
            await journal.commit()
            refuse(postgres, url, condition, table)
            live_a_little(Ledger(journal.append))
            journal.append(event(2))
            journal.append(keep("a"))
            journal.append(Remember(key="receipt", value="x", time_ns=1))
            with pytest.raises(REFUSALS[condition]) as refused:
                await journal.commit()
            assert not isinstance(refused.value, JournalBrokenError)
            assert postgres.execute("SELECT count(*) FROM organism.events", url) == [(1,)]
            postgres.execute("DROP FUNCTION organism.refuse CASCADE", url)
            journal.append(event(3))
            await journal.commit()

    run(main)
    with closing(PostgresDatabase(url, take=False)) as database:
        assert database.head().faults == ()
        assert [found.id for found in database.events_after("", 9)] == [event(n).id for n in (1, 2, 3)]
        assert database.remembered("receipt") == "x"


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Run a primary that acknowledges what its standby has on disk too."""
    with PostgresServer() as primary:
        primary.database()
        with PostgresServer(primary=primary) as standby:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.execute("SELECT pg_reload_conf()")
            while primary.execute("SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
                pass  # it reads its settings a moment after it was asked to
            yield primary, standby


def test_a_failover_to_a_synchronous_standby_loses_nothing(pair: tuple[PostgresServer, PostgresServer]) -> None:
    """The primary is killed and its standby promoted: the daemon goes on with all it has promised."""
    primary, standby = pair
    url = (
        f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/test?target_session_attrs=read-write"
    )
    acknowledged: list[str] = []

    async def main() -> None:
        async with PostgresJournal(url) as journal:
            for number in range(1, 201):
                journal.append(event(number))
                journal.append(keep(str(number)))
                if number == 100:
                    primary.stop()
                    with pytest.raises(JournalError) as failed:
                        await journal.commit()
                    assert not isinstance(failed.value, JournalBrokenError)
                    standby.execute("SELECT pg_promote()")
                while True:
                    try:
                        await journal.commit()
                        break
                    except JournalBrokenError:
                        raise
                    except JournalError:
                        continue
                acknowledged.append(str(number))

    run(main)
    with closing(PostgresDatabase(standby.url("test"), take=False)) as database:
        stored = database.load()
        assert [piece.key for piece in stored.pieces] == acknowledged
        assert database.head().faults == ()


def test_a_failover_that_has_lost_work_stops_the_daemon(pair: tuple[PostgresServer, PostgresServer]) -> None:
    """A standby that was promoted without the newest groups is not written to: what was promised is missing there."""
    primary, standby = pair
    url = (
        f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/test?target_session_attrs=read-write"
    )
    with closing(PostgresDatabase(url)) as database:
        database.write(batch_of([keep("1")]), 1)
        ((written,),) = primary.execute("SELECT pg_current_wal_lsn()::text")
        while standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn") != [(True,)]:
            pass  # what it has on disk it reads a moment later
        assert standby.execute("SELECT batch FROM organism.journals", standby.url("test")) == [(1,)]
        primary.execute("ALTER SYSTEM RESET synchronous_standby_names")  # somebody has given up durability
        primary.execute("SELECT pg_reload_conf()")
        standby.execute("SELECT pg_wal_replay_pause()")
        while primary.execute("SHOW synchronous_standby_names") != [("",)]:
            pass
        standby.stop()
        database.write(batch_of([keep("2")]), 2)
        primary.stop()
        standby.start()
        standby.execute("SELECT pg_promote()")
        with pytest.raises(
            JournalError, match=r"cannot be reached or has failed|not the next one|acknowledged work is lost"
        ):
            database.write(batch_of([keep("3")]), 3)
        with pytest.raises(JournalBrokenError, match="acknowledged work is lost"):
            database.reopen(3)
