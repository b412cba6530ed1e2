"""The file under the journal: whose it is, what it refuses, and that it never answers wrongly."""

import os
import random
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from organism.amounts import Amounts, Limits
from organism.journal import Drop, JournalBrokenError, JournalError, Stored
from organism.ledger.entries import decode_entry
from organism.ledger.ledger import Cost, Ledger
from organism.stores import schema, sqlite_file
from organism.stores.batch import batch_of
from organism.stores.group_storage import Retention
from organism.stores.schema import VERSION
from organism.stores.sqlite_file import SqliteFile
from organism.testing import FaultyDisk
from organism.testing.store_contract import event, keep, live_a_little


def filled(path: Path, *, groups: int = 30, fold: bool = True) -> Stored:
    """Write a journal with a bit of everything, and return what it holds."""
    file = SqliteFile(path if fold else path.with_name("living.db"))
    records: list[Any] = []
    ledger = Ledger(records.append)
    live_a_little(ledger)
    for number in range(1, groups + 1):
        records += [event(number), keep(f"msg:{number}", f"some text {number} " * 20)]
        records += [Drop(f"msg:{number - 3}", "t")] if number % 4 == 0 else []
        file.write(batch_of(records), number)
        records.clear()
    found = everything(file)
    if not fold:  # as a killed process leaves it
        for end in ("", "-wal"):
            path.with_name(path.name + end).write_bytes(path.with_name(f"living.db{end}").read_bytes())
    file.close()
    return found


def everything(file: SqliteFile) -> Stored:
    """Read all that can be read, events too."""
    stored = file.load()
    assert len(file.events_after("", 10_000)) == stored.last_event
    return stored


def read(path: Path) -> Stored:
    file = SqliteFile(path)
    try:
        return everything(file)
    finally:
        file.close()


# -- whose it is -------------------------------------------------------------------------------------------------------


def test_folder_and_file_are_for_their_owner_only(tmp_path: Path) -> None:
    """Nobody else on the machine reads what agents say: the folder is 0700, the file and its log are 0600."""
    before = os.umask(0)
    try:
        file = SqliteFile(tmp_path / "deep" / "state" / "journal.db")
        file.write(batch_of([keep("a")]), 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep" / "state").stat().st_mode) == 0o700
    for path in (tmp_path / "deep" / "state").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    file.close()


OWNER = """
import sys, pathlib
from organism.stores.sqlite_file import SqliteFile
file = SqliteFile(pathlib.Path(sys.argv[1]))
print("mine", flush=True)
sys.stdin.read()
"""


def test_a_second_owner_is_refused_at_once(tmp_path: Path) -> None:
    """Two processes never write one journal: the second is refused while the first lives, reading included."""
    path = tmp_path / "journal.db"
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "mine\n"
        with pytest.raises(JournalError, match="in use"):
            SqliteFile(path)
        owner.kill()
    SqliteFile(path).close()


# -- what it refuses ---------------------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An older program does not touch what a newer one has written, and says what to do."""
    path = tmp_path / "journal.db"
    filled(path)
    with apsw.Connection(str(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="upgrade organism"):
        SqliteFile(path)
    assert path.read_bytes() == before


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    """Somebody else's database is left as it is."""
    path = tmp_path / "journal.db"
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
    db.close()
    with pytest.raises(JournalError, match="not a journal of organism"):
        SqliteFile(path)
    db = apsw.Connection(str(path))
    assert db.execute("SELECT x FROM theirs").fetchall() == [(1,)]
    db.close()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be one " * 100, b"{}", b"\xff" * 4096])
def test_garbage_is_refused(content: bytes, tmp_path: Path) -> None:
    """A file that is no database is refused with what to do, and left as it is."""
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"restore a backup|another --state"):
        SqliteFile(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("place", ["a file for a folder", "a folder for the file"])
def test_a_place_that_cannot_be_is_refused(place: str, tmp_path: Path) -> None:
    """A path that cannot hold a file is named in the error."""
    if place == "a file for a folder":
        (tmp_path / "x").write_text("")
        path = tmp_path / "x" / "journal.db"
    else:
        path = tmp_path / "journal.db"
        path.mkdir()
    with pytest.raises(JournalError, match=r"journal\.db"):
        SqliteFile(path)


@contextmanager
def powerless() -> Iterator[None]:
    """Be somebody who may not write everywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("read_only", ["folder", "file"])
def test_what_may_not_be_written_is_refused(read_only: str) -> None:
    """A folder or a file without the right to write is refused at the start, with a word about its owner."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filled(folder / "journal.db")
        folder.chmod(0o555 if read_only == "folder" else 0o777)
        (folder / "journal.db").chmod(0o666 if read_only == "folder" else 0o444)
        path = folder / "new.db" if read_only == "folder" else folder / "journal.db"
        with powerless(), pytest.raises(JournalError, match=r"Permission denied|check the folder and its owner"):
            SqliteFile(path)
        folder.chmod(0o700)


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", [False, True])
def test_an_emptied_file_is_refused(log: bool, tmp_path: Path) -> None:
    """Whether its log is beside it or not, it is never begun anew as if nothing had been spent, nor thrown away."""
    path = tmp_path / "journal.db"
    filled(path, fold=not log)
    os.truncate(path, 0)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(JournalBrokenError, match=r"it is empty.*restore a backup"):
        SqliteFile(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_empty_file_that_a_crash_has_left_while_it_was_made_is_begun(tmp_path: Path) -> None:
    """The first start may die right after it has made the file; the next one goes on, and leaves no mark behind."""
    path = tmp_path / "journal.db"
    path.with_name("journal.db-making").touch(mode=0o600)
    path.touch(mode=0o600)
    assert read(path).empty
    assert [file.name for file in tmp_path.iterdir()] == ["journal.db"]


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """However much of its end is missing, it is refused or whole; a shorter past is never taken for the truth."""
    path = tmp_path / "journal.db"
    whole = filled(path)
    content = path.read_bytes()
    for size in (1, 99, 100, 511, 512, 1000, 4095, 4096, *range(4097, len(content), 4096 * 3 + 511)):
        path.write_bytes(content[:size])
        assert_refused_or_whole(path, whole)


def assert_refused_or_whole(path: Path, whole: Stored, what: str = "") -> bool:
    """Open a damaged file; whether it was refused."""
    try:
        found = read(path)
    except JournalError as error:
        assert "--state" in str(error) or "upgrade" in str(error), what  # noqa: PT017 - or nothing may be raised
        return True
    assert found == whole, what
    return False


def test_a_flipped_bit_is_found_or_does_no_harm(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Whichever bit of the file is flipped, the answer is the right one or none; no balance is ever a little wrong."""
    path = tmp_path / "journal.db"
    whole = filled(path)
    content = path.read_bytes()
    chance = random.Random(7)
    refused = 0
    for _ in range(400):
        place = chance.randrange(len(content) * 8)
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        refused += assert_refused_or_whole(path, whole, f"bit {place}")
    record_property("bits flipped", 400)
    record_property("wrong answers", 0)  # each is compared above
    assert refused > 60  # the rest hit what was free or empty


def test_a_zeroed_page_is_found(tmp_path: Path) -> None:
    """A page that the disk has lost is found at the start, whichever it is."""
    path = tmp_path / "journal.db"
    whole = filled(path)
    content = path.read_bytes()
    refused = 0
    for page in range(0, len(content), 4096):
        path.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
        refused += assert_refused_or_whole(path, whole, f"page {page // 4096}")
    assert refused >= len(content) // 4096 - 3  # pages that hold nothing


def test_a_damaged_log_gives_an_earlier_commit_whole(tmp_path: Path) -> None:
    """A flipped bit in the log takes the commits from there on, and none of them by half."""
    whole = filled(tmp_path / "source.db", fold=False)
    database, log = ((tmp_path / f"source.db{end}").read_bytes() for end in ("", "-wal"))
    path = tmp_path / "journal.db"
    chance = random.Random(3)
    for _ in range(60):
        place = chance.randrange(len(log) * 8)
        damaged = bytearray(log)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(database)
        path.with_name("journal.db-wal").write_bytes(damaged)
        try:
            found = read(path)
        except JournalError as error:
            assert "--state" in str(error)  # noqa: PT017 - or nothing may be raised
            continue
        assert found.last_event <= whole.last_event
        dropped = {number - 3 for number in range(4, found.last_event + 1, 4)}
        assert [int(piece.key[4:]) for piece in found.pieces] == sorted({*range(1, found.last_event + 1)} - dropped)


def test_a_killed_process_s_log_is_read(tmp_path: Path) -> None:
    """What a killed process has committed is in the log beside the file, and is there at the next start."""
    path = tmp_path / "journal.db"
    whole = filled(path, fold=False)
    assert read(path) == whole


# -- migrations --------------------------------------------------------------------------------------------------------


def test_a_migration_that_is_cut_off_has_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the power goes while an older file is brought up to date, the file is the old one or the new one."""
    newer = (
        "ALTER TABLE events ADD COLUMN extra TEXT; UPDATE events SET extra = body; CREATE INDEX x ON events (extra);"
    )
    whole = filled(tmp_path / "old.db")
    old = (tmp_path / "old.db").read_bytes()
    path = tmp_path / "journal.db"
    versions = set()
    with FaultyDisk("migration", random.Random(1)) as disk:
        for number in range(1, 200):
            path.write_bytes(old)
            path.with_name("journal.db-wal").unlink(missing_ok=True)
            with monkeypatch.context() as patch:
                patch.setattr(sqlite_file, "MIGRATIONS", (*schema.MIGRATIONS, newer))
                patch.setattr(sqlite_file, "VERSION", VERSION + 1)
                disk.cut_power(number)
                finished = opens(path, disk)
            disk.restore_power(0.5)
            db = apsw.Connection(str(path))
            version = next(iter(db.execute("PRAGMA user_version")))[0]
            columns = [row[1] for row in db.execute("PRAGMA table_info(events)")]
            db.close()
            assert ("extra" in columns) == (version == VERSION + 1)
            versions.add(version)
            if version == VERSION:
                assert read(path) == whole
            if finished:
                break
    assert versions == {VERSION, VERSION + 1}


def opens(path: Path, disk: FaultyDisk) -> bool:
    try:
        file = SqliteFile(path, disk.name)
    except JournalError:
        return False
    file._forsake()
    return True


def test_a_new_file_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    """Wherever the power goes while a journal is made, the next start has a new one that works."""
    path = tmp_path / "journal.db"
    with FaultyDisk("making", random.Random(2)) as disk:
        for number in range(1, 200):
            path.unlink(missing_ok=True)
            path.with_name("journal.db-wal").unlink(missing_ok=True)
            disk.cut_power(number)
            finished = opens(path, disk)
            disk.restore_power(0.5)
            assert read(path).empty
            if finished:
                break
        assert finished


# -- what the database itself refuses ----------------------------------------------------------------------------------


def resolved_twice() -> list[Any]:
    records: list[Any] = []
    ledger = Ledger(records.append)
    ledger.open("thread:t", Limits(tokens=100), 1)
    ledger.reserve("h", ("thread:t",), Amounts(tokens=10), 2)
    ledger.dispatch("h", 3)
    ledger.settle("h", Amounts(tokens=5), Cost(), 4)
    return records


@pytest.mark.parametrize("again", [1, 2, 3], ids=["reserve", "dispatch", "settle"])
def test_the_database_refuses_what_may_happen_once(again: int, tmp_path: Path) -> None:
    """A hold is taken once, let out once and resolved once, even if the program were wrong."""
    file = SqliteFile(tmp_path / "journal.db")
    records = resolved_twice()
    file.write(batch_of(records), 1)
    double = type(records[again])(
        **{name: getattr(records[again], name) for name in records[again].__struct_fields__} | {"seq": 5}
    )
    with pytest.raises(JournalBrokenError, match="UNIQUE"):
        file.write(batch_of([double]), 2)
    assert len(file.entries_after(0, 100)) == 4
    assert file.batch_number == 1
    file.close()


def test_a_group_is_not_written_twice(tmp_path: Path) -> None:
    """Trying a group again, whose first try had come through unseen, changes nothing."""
    file = SqliteFile(tmp_path / "journal.db")
    file.write(batch_of(resolved_twice()), 1)
    before = everything(file)
    file.write(batch_of(resolved_twice()), 1)
    assert everything(file) == before
    file.close()


def test_a_stranger_s_groups_are_not_taken_for_ours(tmp_path: Path) -> None:
    """If another process wrote while the file was opened anew, nothing of ours is believed to be written."""
    file = SqliteFile(tmp_path / "journal.db")
    file.write(batch_of([keep("a")]), 1)
    file.write(batch_of([keep("b")]), 2)
    with pytest.raises(JournalBrokenError, match="another process"):
        file.write(batch_of([keep("c")]), 1)
    file.close()


# -- room --------------------------------------------------------------------------------------------------------------


def test_entries_are_forgotten_only_where_a_checkpoint_stands_for_them(tmp_path: Path) -> None:
    """However old entries are, a ledger without a checkpoint after them keeps them: its balances are made of them."""
    file = SqliteFile(tmp_path / "journal.db")
    records: list[Any] = []
    ledger = Ledger(records.append)
    ledger.open("organism", Limits(tokens=100), 1)
    ledger.reserve("h", ("organism",), Amounts(tokens=10), 2)
    ledger.settle("h", Amounts(tokens=10), Cost(), 10**18)
    retention = Retention(events_ns=1, entries_ns=1)
    file.write(batch_of(records), 1)

    file.forget(retention)
    assert len(tuple(file.load().entries)) == 3
    records.clear()
    ledger.checkpoint(10**18 + 1)
    ledger.remark("organism", "later", 10**18 + 10)
    file.write(batch_of(records), 2)
    file.forget(retention)

    assert [entry.seq for entry in file.entries_after(0, 10)] == [4, 5]
    assert Ledger.replay(map(decode_entry, file.load().entries)).balance("organism").spent == Amounts(tokens=10)
    file.close()


def test_file_and_log_stay_bounded(tmp_path: Path) -> None:
    """A long run with retention needs no more room at its end than in its middle."""
    path = tmp_path / "journal.db"
    file = SqliteFile(path)
    records: list[Any] = []
    ledger = Ledger(records.append)
    ledger.open("organism", Limits(tokens=10**12), 1)
    retention = Retention(events_ns=2000, entries_ns=2000)
    sizes: list[int] = []
    for number in range(1, 601):
        for step in range(20):
            now = number * 20 + step
            ledger.reserve(f"h{now}", ("organism",), Amounts(tokens=10), now)
            ledger.settle(f"h{now}", Amounts(tokens=5), Cost(), now)
            records.append(event(now))
        if number % 50 == 0:
            ledger.checkpoint(now)
        file.write(batch_of(records), number)
        records.clear()
        while file.forget(retention, rows=100):
            pass
        sizes.append(sum(each.stat().st_size for each in tmp_path.iterdir()))
    assert max(sizes[300:]) <= max(sizes[:300]) * 1.05
    assert max(sizes) < 16 * 2**20
    found = file.load()
    assert len(tuple(found.entries)) == 1
    assert found.last_event == 600 * 20 + 19
    assert 1000 < len(file.events_after("", 10**6)) < 4000
    file.close()
    assert read_balance(path) == 5 * 600 * 20


def read_balance(path: Path) -> int:
    from organism.ledger.entries import decode_entry

    file = SqliteFile(path)
    ledger = Ledger.replay(map(decode_entry, file.load().entries))
    file.close()
    return ledger.balance("organism").spent.tokens
