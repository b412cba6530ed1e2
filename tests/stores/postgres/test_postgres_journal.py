"""The journal in PostgreSQL loses nothing and doubles nothing, whatever happens to the server or to the way there."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from msgspec.structs import replace

from organism.journal import Drop, DropThread, FencedError, JournalBrokenError, JournalError, Remember
from organism.ledger.entries import Dispatched, Entry, Released, Reserved, Settled, decode_entry
from organism.ledger.ledger import Ledger
from organism.stores.batch import batch_of
from organism.stores.group_storage import Retention
from organism.stores.postgres.database import PostgresDatabase
from organism.stores.postgres.postgres_journal import PostgresJournal
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import event, keep, live_a_little
from organism.testing.virtual_time import run
from organism.text.redaction import headline

pytestmark = pytest.mark.debian

GROUPS = 5


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


class Cable:
    """What lies between a program and its server: hands bytes on, and is cut at one of the program's statements."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self._port = server.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{server.port}/", f":{self._listener.getsockname()[1]}/")
        self.statements = 0
        self.cut_at: int | None = None
        self.lose_answer = False
        self.replaced = (b"", b"")
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._ends):
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [client, server]
                cut = threading.Event()
                for ends in ((client, server, True), (server, client, False)):
                    thread = threading.Thread(target=self._carry, args=(*ends, cut))
                    self._threads.append(thread)
                    thread.start()

    def _carry(self, source: socket.socket, target: socket.socket, asks: bool, cut: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                if asks:
                    self.statements += 1
                    if self.statements == self.cut_at:
                        cut.set()
                        if not self.lose_answer:
                            break
                elif cut.is_set():
                    break  # the server has answered, and so it is done; nobody learns of it
                target.sendall(data.replace(*self.replaced) if self.replaced[0] else data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cable(postgres: PostgresServer, url: str) -> Iterator[Cable]:
    cable = Cable(postgres, url)
    yield cable
    cable.close()


async def commit(journal: PostgresJournal) -> int:
    """Commit until it is done, as callers who come again do; return how often it failed."""
    failures = 0
    while True:
        try:
            await journal.commit()
        except JournalBrokenError:
            raise
        except JournalError:
            failures += 1
        else:
            return failures


def lives(journal: PostgresJournal, after_open: object = None) -> int:
    """Write some groups of everything there is, each committed; return how often a commit failed."""

    async def main() -> int:
        failures = 0
        async with journal:
            if callable(after_open):
                after_open()
            ledger = Ledger(journal.append)
            live_a_little(ledger)
            for number in range(1, GROUPS + 1):
                journal.append(event(number))
                journal.append(keep(str(number)))
                journal.append(Remember(key=f"receipt:{number}", value="x", time_ns=number))
                failures += await commit(journal)
        return failures

    return run(main)


def check_whole(url: str) -> None:
    """Everything that :func:`lives` has written is there once, and fits together."""
    with closing(PostgresDatabase(url)) as database:
        stored = database.load()
        assert database.head().faults == ()
        assert [piece.key for piece in stored.pieces] == [str(number) for number in range(1, GROUPS + 1)]
        assert [found.id for found in database.events_after("", 100)] == [event(n).id for n in range(1, GROUPS + 1)]
        assert all(database.remembered(f"receipt:{number}") == "x" for number in range(1, GROUPS + 1))
        written: list[object] = []
        live_a_little(Ledger(written.append))
        assert [decode_entry(body) for body in stored.entries] == written


@pytest.mark.parametrize("lose_answer", [False, True], ids=["before the server has it", "before its answer is here"])
@pytest.mark.parametrize("statement", range(1, GROUPS + 3))
def test_a_cut_connection_loses_and_doubles_nothing(cable: Cable, url: str, statement: int, lose_answer: bool) -> None:
    """The connection may be cut at any statement, and its answer may be lost: each group is there once."""

    def cut() -> None:
        cable.lose_answer, cable.cut_at = lose_answer, cable.statements + statement

    lives(PostgresJournal(cable.url), cut)
    check_whole(url)
    assert cable.statements >= (cable.cut_at or 0)


def test_a_killed_server_loses_and_doubles_nothing(postgres: PostgresServer, url: str) -> None:
    """After kill -9 of the server a commit fails, and when it is back everything is written once."""

    async def main() -> None:
        async with PostgresJournal(url) as journal:
            live_a_little(Ledger(journal.append))
            for number in range(1, GROUPS + 1):
                journal.append(event(number))
                journal.append(keep(str(number)))
                journal.append(Remember(key=f"receipt:{number}", value="x", time_ns=number))
                if number == 3:
                    postgres.stop()
                    try:
                        with pytest.raises(JournalError, match="cannot be reached or has failed") as failed:
                            await journal.commit()
                    finally:
                        postgres.start()
                    assert not isinstance(failed.value, JournalBrokenError)
                await commit(journal)

    run(main)
    check_whole(url)


def test_a_second_owner_stops_the_first(url: str) -> None:
    """Who opens a journal owns it: the earlier owner writes nothing more and ends with an error of its own."""

    async def main() -> None:
        async with PostgresJournal(url) as second:
            first.append(keep("late"))
            with pytest.raises(FencedError, match="taken over the journal"):
                await first.commit()
            second.append(keep("kept"))
            await second.commit()
            assert [piece.key for piece in second.load().pieces] == ["kept"]

    async def both() -> None:
        with pytest.raises(FencedError, match="taken over the journal"):
            async with first:
                await main()

    first = PostgresJournal(url)
    run(both)


def test_a_group_is_written_only_as_the_next_one(url: str) -> None:
    """A statement that is late, of a group that is written already, changes nothing."""
    with closing(PostgresDatabase(url)) as database, closing(PostgresDatabase(url, take=False)) as late:
        database.write(batch_of([keep("a")]), 1)
        with pytest.raises(JournalError, match="not the next one"):
            late.write(batch_of([keep("b")]), 1)
        assert [piece.key for piece in database.load().pieces] == ["a"]


def test_a_database_put_back_to_an_older_copy_is_refused(postgres: PostgresServer, url: str) -> None:
    """What was acknowledged is not there any more: nothing is written on top of it, and the error says so."""
    with closing(PostgresDatabase(url)) as database:
        for number in (1, 2):
            database.write(batch_of([event(number)]), number)
        postgres.execute("UPDATE organism.journals SET batch = 1", url)
        with pytest.raises(JournalError, match="not the next one"):
            database.write(batch_of([event(3)]), 3)
        with pytest.raises(JournalBrokenError, match="older copy"):
            database.reopen(3)


def test_a_journal_whose_row_is_gone_is_not_written_to(postgres: PostgresServer, url: str) -> None:
    """Nothing is written where the row that fences it is missing."""
    with closing(PostgresDatabase(url)) as database:
        postgres.execute("DELETE FROM organism.journals", url)
        with pytest.raises(JournalBrokenError, match="row that says where it ends is gone"):
            database.write(batch_of([keep("a")]), 1)
        assert postgres.execute("SELECT * FROM organism.pieces", url) == []


def test_missing_rows_are_found(postgres: PostgresServer, url: str) -> None:
    """Entries, events and pieces that somebody has deleted are said to be missing."""
    with closing(PostgresDatabase(url)) as database:
        records: list[object] = [event(1), keep("a"), keep("b")]
        live_a_little(Ledger(records.append))
        database.write(batch_of(records), 1)
        assert database.head().faults == ()
        for table in ("events", "pieces", "entries"):
            postgres.execute(f"TRUNCATE organism.{table}", url)
        assert len(database.head().faults) == 3
        with pytest.raises(JournalBrokenError, match="newest are missing"):
            database.load()


@pytest.mark.parametrize("kind", [Reserved, Dispatched, Settled, Released])
def test_the_database_refuses_what_may_happen_once(url: str, kind: type[Entry]) -> None:
    """A hold is taken once, let out once and resolved once, even if the program were wrong."""
    records: list[Any] = []
    live_a_little(Ledger(records.append))
    double = replace(next(each for each in records if isinstance(each, kind)), seq=len(records) + 1)
    with closing(PostgresDatabase(url)) as database:
        database.write(batch_of(records), 1)

        with pytest.raises(JournalBrokenError, match="UniqueViolation"):
            database.write(batch_of([double]), 2)

        assert len(database.entries_after(0, 100)) == len(records)


@pytest.mark.parametrize("known", ["", "VACUUM ANALYZE organism.pieces"], ids=["new", "known to be empty"])
def test_a_group_reads_only_the_pieces_that_it_names(postgres: PostgresServer, url: str, known: str) -> None:
    """It costs the same however many there are, although its plan was made when there were none."""
    PostgresDatabase(url).close()
    postgres.execute(known or "SELECT", url)
    with closing(PostgresDatabase(url)) as database:
        for number in range(1, 31):
            last = f"{number - 1}"
            kept = [keep(f"{number}.{each}", thread_id="parked" if each else f"{number}") for each in range(100)]
            named = [Drop(f"{last}.1", "parked"), keep(f"{last}.2", thread_id="parked"), DropThread(last)]
            database.write(batch_of([*named, *kept]), number)
    counted = (
        "FROM pg_stat_all_indexes JOIN pg_stat_all_tables USING (relid) WHERE pg_stat_all_tables.relname = 'pieces'"
    )
    while not (found := postgres.execute(f"SELECT sum(idx_tup_read) {counted} HAVING max(n_tup_ins) >= 2900", url)):
        pass  # the server counts when the connection is gone
    assert found[0][0] < 30 * 110  # a hundred of each are its own, met again when they are put


def test_what_is_too_old_is_forgotten(url: str) -> None:
    """Events older than they are kept go, a bounded number at a time, and what remains is whole."""
    with closing(PostgresDatabase(url)) as database:
        database.write(batch_of([event(number) for number in range(1, 11)]), 1)
        assert database.forget(Retention(events_ns=4), rows=3)
        while database.forget(Retention(events_ns=4), rows=3):
            pass
        assert [found.time_ns for found in database.events_after("", 100)] == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("text", ["zero \0", "\x1a", "\x1a0", "\x1a\0\x1a"])
def test_names_with_any_character_are_kept(url: str, text: str) -> None:
    """Keys, threads and values may hold the character zero, which PostgreSQL refuses."""
    with closing(PostgresDatabase(url)) as database:
        database.write(batch_of([keep(text, thread_id=text), Remember(key=text, value=text, time_ns=1)]), 1)
        assert database.remembered(text) == text
        (piece,) = database.load().pieces
        assert (piece.key, piece.thread_id) == (text, text)


REFUSED = {
    "read-only": (
        "ALTER DATABASE {name} SET default_transaction_read_only = on",
        "default_transaction_read_only = off",
    ),
    "off": ("ALTER DATABASE {name} SET synchronous_commit = off", "synchronous_commit = off"),
    "local": ("ALTER DATABASE {name} SET synchronous_commit = local", "synchronous_commit = local"),
    "remote_write": ("ALTER DATABASE {name} SET synchronous_commit = remote_write", "remote_write"),
    "newer": ("UPDATE organism.cluster SET schema = 99", "upgrade organism"),
    "a cluster": ("UPDATE organism.cluster SET partitions = 16", "a cluster of 16 partitions"),
    "foreign": ("DROP TABLE organism.cluster", "use another database"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_database_that_may_lose_or_is_not_ours_is_refused(postgres: PostgresServer, url: str, case: str) -> None:
    """Each is refused at the start, with a sentence that says what to do."""
    statement, told = REFUSED[case]
    PostgresDatabase(url).close()
    postgres.execute(statement.format(name=url.rpartition("/")[2]), url)
    with pytest.raises(JournalError, match=told):
        PostgresDatabase(url)


def test_a_server_that_does_not_sync_is_refused(postgres: PostgresServer, url: str) -> None:
    """A server with fsync = off would lose paid work at a power cut."""
    postgres.execute("ALTER SYSTEM SET fsync = off")
    postgres.execute("SELECT pg_reload_conf()")
    try:
        while postgres.execute("SHOW fsync", url) != [("off",)]:
            pass  # it reads its settings a moment after it was asked to
        with pytest.raises(JournalError, match="set fsync = on"):
            PostgresDatabase(url)
    finally:
        postgres.execute("ALTER SYSTEM RESET fsync")
        postgres.execute("SELECT pg_reload_conf()")


def test_an_old_server_is_refused(cable: Cable, postgres: PostgresServer) -> None:
    """A version of PostgreSQL that lacks what is needed is named, with the one that is needed."""
    ((version,),) = postgres.execute("SHOW server_version")
    cable.replaced = (b"server_version\x00" + version[:2].encode(), b"server_version\x00" + b"13")
    with pytest.raises(JournalError, match="version 13, and organism needs 14 or newer"):
        PostgresDatabase(cable.url)


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    """An address that nobody answers is named, and no password is."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(JournalError, match=f"127.0.0.1:{port}, database d cannot be reached") as failed:
        PostgresDatabase(f"postgresql://me:secret@127.0.0.1:{port}/d")
    assert "secret" not in str(failed.value)
    # Log lines stop at a colon, since what follows one may quote a message: the reason must come before.
    assert "Connection refused" in headline(str(failed.value))
    with pytest.raises(JournalError, match="URL cannot be read"):
        PostgresDatabase("postgresql://[")
