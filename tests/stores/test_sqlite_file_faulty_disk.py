"""Any operation of the disk fails, once or for ever; the disk is full: refused at once, in order, and never by half."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from organism import Context, Limits, Organism, Text, agent
from organism.journal import Drop, JournalBrokenError, JournalError, JournalFullError
from organism.stores.group_storage import Retention
from organism.stores.sqlite import SqliteJournal
from organism.stores.sqlite_file import SqliteFile
from organism.testing import FaultyDisk, ScriptedProvider, VirtualClock, run
from organism.testing.faulty_disk import DiskOperation
from organism.testing.store_contract import event, keep

Record = Callable[[str, object], None]
"""Of pytest: notes a figure, which ``python -m tests.faults`` compares with its pass line."""

GROUPS = 4


async def session(path: Path, disk: FaultyDisk, told: list[int], acknowledged: list[int]) -> None:
    """Write groups, trying each up to three times."""
    async with SqliteJournal(path, vfs=disk.name) as journal:
        for number in range(1, GROUPS + 1):
            journal.append(event(number))
            journal.append(keep(f"msg:{number}", "x" * 500), lambda number=number: told.append(number))  # type: ignore[misc]
            for _ in range(3):
                try:
                    await journal.commit()
                except JournalBrokenError:
                    raise
                except JournalError:
                    continue
                acknowledged.append(number)
                break


def check(path: Path, told: list[int], acknowledged: list[int]) -> int:
    """Compare what is in the file with what was said to be; return the number of groups there."""
    file = SqliteFile(path)
    stored = file.load()
    events = file.events_after("", 1000)
    file.close()
    there = list(range(1, stored.last_event + 1))
    assert [int(found.id) for found in events] == there
    assert [piece.key for piece in stored.pieces] == [f"msg:{number}" for number in there]
    assert told == there[: len(told)], "told of what is not there, twice, or out of order"
    assert set(acknowledged) <= set(told)
    return len(there)


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("at", [None, "open", "sync", "truncate"])
def test_every_operation_may_fail(
    at: DiskOperation | None, for_ever: bool, tmp_path: Path, record_property: Record
) -> None:
    """Whichever operation fails, commits are answered rightly: kept in order, or a clean error and no more."""
    with FaultyDisk("nth", random.Random(1)) as disk:
        number, hit, refused = 0, True, 0
        while hit and number < 400:
            number += 1
            path = tmp_path / f"{number}.db"
            told: list[int] = []
            acknowledged: list[int] = []
            failures = Failures()
            disk.fail(number, for_ever=for_ever, at=at, on_failure=failures)
            try:
                run(session, path, disk, told, acknowledged)
            except JournalError:
                refused += 1
            hit = failures.count > 0
            disk.heal()
            there = check(path, told, acknowledged)
            if not hit:
                assert there == GROUPS
        record_property("operations failed", number - 1)
        assert not hit
        assert number > 1
        assert refused or not for_ever or at == "truncate"  # a log that stays long does no harm


class Failures:
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def test_a_failed_write_is_tried_again_and_nobody_notices(tmp_path: Path) -> None:
    """One write that fails in the middle of the work costs a try, not the process."""
    with FaultyDisk("one", random.Random(1)) as disk:

        async def main() -> None:
            async with SqliteJournal(tmp_path / "j.db", vfs="one") as journal:
                journal.append(event(1))
                await journal.commit()
                disk.fail(1, at="write")
                journal.append(event(2))
                with pytest.raises(JournalError, match="cannot be written"):
                    await journal.commit()
                journal.append(event(3))
                await journal.commit()
                assert [found.id[-1] for found in await journal.events_after("", 9)] == ["1", "2", "3"]

        run(main)


def test_what_is_refused_is_not_there(tmp_path: Path) -> None:
    """A commit is never answered with an error and kept all the same, though folding the log into the file fails."""

    async def write(path: Path, disk: FaultyDisk, number: int) -> bool:
        async with SqliteJournal(path, vfs=disk.name) as journal:
            journal._opened._db.execute("PRAGMA wal_autocheckpoint = 1")
            disk.fail(number, at="write", for_ever=True)
            journal.append(event(1))
            try:
                await journal.commit()
            except JournalError:
                return False
            return True

    answers = []
    with FaultyDisk("refused", random.Random(1)) as disk:
        for number in range(1, 40):
            path = tmp_path / f"{number}.db"
            answers.append(run(write, path, disk, number))
            disk.heal()
            file = SqliteFile(path)
            assert file.load().last_event == answers[-1], f"write {number}"
            file.close()
    assert set(answers) == {False, True}


def test_a_failed_sync_ends_the_process_s_use_of_the_file(tmp_path: Path) -> None:
    """After a failed sync nobody knows what the disk holds: no later commit may say that all is well."""
    with FaultyDisk("sync", random.Random(1)) as disk:

        async def main() -> None:
            async with SqliteJournal(tmp_path / "j.db", vfs="sync") as journal:
                journal.append(event(1))
                journal.append(keep("msg:1"))
                await journal.commit()
                disk.fail(1, at="sync")
                journal.append(event(2))
                journal.append(keep("msg:2"))
                await journal.commit()

        with pytest.raises(JournalBrokenError, match="start organism again"):
            run(main)
        disk.heal()
        check(tmp_path / "j.db", [], [])


# -- no room -----------------------------------------------------------------------------------------------------------


def used(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.iterdir())


def test_a_full_disk_refuses_at_once_and_goes_on_when_there_is_room(tmp_path: Path, record_property: Record) -> None:
    """Without room a commit is refused within 100 ms, nothing is lost or told of, and later all is there in order."""
    told: list[int] = []
    with FaultyDisk("full") as disk:

        async def main() -> None:
            async with SqliteJournal(tmp_path / "j.db", vfs="full") as journal:

                def append(number: int) -> None:
                    journal.append(event(number))
                    size = 2_000_000 if number == 101 else 5_000  # more than the log has room for as it is
                    journal.append(keep(f"msg:{number}", "x" * size), lambda: told.append(number))

                for number in range(1, 101):
                    append(number)
                await journal.commit()
                disk.fill(used(tmp_path) + 10_000)
                taken_s = []
                for number in range(101, 111):
                    append(number)
                    began = time.monotonic()
                    with pytest.raises(JournalFullError, match="full"):
                        await journal.commit()
                    taken_s.append(time.monotonic() - began)
                record_property("refused in s", round(sorted(taken_s)[len(taken_s) // 2], 4))
                assert min(taken_s) < 0.1  # what waits on purpose waits each time; a busy machine does not
                assert told == list(range(1, 101))
                assert len(await journal.events_after("", 1000)) == 100
                disk.heal()
                append(111)
                await journal.commit()
                assert told == list(range(1, 112))

        run(main)
    assert check(tmp_path / "j.db", told, told) == 111


def test_room_is_found_without_anybody_asking(tmp_path: Path) -> None:
    """What could not be written is written soon after there is room, though nobody commits."""
    with FaultyDisk("soon") as disk:

        async def main() -> None:
            async with SqliteJournal(tmp_path / "j.db", vfs="soon") as journal:
                disk.fill(0)
                told = anyio.Event()
                journal.append(keep("msg:1", "x" * 50_000), told.set)
                with pytest.raises(JournalFullError, match=r"the disk of .+ is full"):
                    await journal.commit()
                await anyio.sleep(5)
                assert not told.is_set()
                disk.heal()
                with anyio.fail_after(3):
                    await told.wait()

        run(main)


def test_closing_on_a_full_disk_ends(tmp_path: Path) -> None:
    """A process that is stopped while the disk is full leaves what was committed, and nobody waits for the rest."""
    with FaultyDisk("closing") as disk:

        async def main() -> None:
            async with SqliteJournal(tmp_path / "j.db", vfs="closing") as journal:
                journal.append(event(1))
                journal.append(keep("msg:1"))
                await journal.commit()
                disk.fill(0)
                journal.append(keep("lost", "x" * 50_000))
            with pytest.raises(JournalError, match="is closed"):
                await journal.commit()

        run(main)
        disk.heal()
    assert check(tmp_path / "j.db", [], []) == 1


def test_full_disk_is_told_once_and_not_with_every_try(tmp_path: Path) -> None:
    """Each time that it fills there is one line in the log: ten tries more fill neither a screen nor another disk."""
    with FaultyDisk("telling") as disk, capture_logs() as logs:

        async def main() -> None:
            async with SqliteJournal(tmp_path / "j.db", vfs="telling") as journal:
                for number in (1, 2):
                    disk.fill(0)
                    journal.append(event(number))
                    for _ in range(10):
                        with pytest.raises(JournalFullError, match="full"):
                            await journal.commit()
                    disk.heal()
                    await journal.commit()

        run(main)
    assert [log["event"] for log in logs if log["event"] == "commit_failed"] == ["commit_failed"] * 2


def test_forgetting_that_fails_stops_nobody(tmp_path: Path) -> None:
    """Old rows that cannot be deleted for want of room are deleted later; it is no reason to end."""
    with FaultyDisk("forget") as disk:

        async def main() -> None:
            retention = Retention(events_ns=1)
            async with SqliteJournal(tmp_path / "j.db", vfs="forget", retention=retention) as journal:
                for number in range(1, 4):
                    journal.append(event(number))
                    await journal.commit()
                disk.fill(0)
                await journal._forget()
                disk.heal()
                assert len(await journal.events_after("", 9)) == 3
                await journal._forget()
                assert len(await journal.events_after("", 9)) == 2

        run(main)


@agent()
async def caller(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete("a question", max_output_tokens=5)).text)


def test_no_model_is_called_while_the_disk_is_full(tmp_path: Path) -> None:
    """Without a row no call leaves; the thread waits and comes to its end when there is room, paid for once."""
    with FaultyDisk("organism") as disk:
        provider = ScriptedProvider(["fine"])

        async def main() -> None:
            async with Organism(
                [caller],
                models={"main": "scripted/m"},
                providers={"scripted": provider},
                provider_kinds={"scripted": "local"},
                limits=Limits(tokens=1000),
                clock=VirtualClock(),
                journal=SqliteJournal(tmp_path / "j.db", vfs="organism"),
            ) as organism:
                await organism.journal.commit()  # else what the start has left fails first, and the thread is not taken
                disk.fill(0)
                with pytest.raises(JournalFullError, match=r"the disk of .+ is full"):
                    await organism.open_thread("x" * 20_000, thread_id="th")
                await anyio.sleep(30)
                assert provider.requests == []
                disk.heal()
                result = await organism.wait("th")
                assert result.outputs == (Text("fine"),)
                assert len(provider.requests) == 1
                assert result.budget.spent.tokens == provider.billed.total

        run(main)


def test_a_dropped_piece_s_room_is_used_again(tmp_path: Path) -> None:
    """Messages that come and go for a long time leave the file as small as it was."""
    sizes: list[int] = []

    async def main() -> None:
        async with SqliteJournal(tmp_path / "j.db") as journal:
            for number in range(600):
                journal.append(keep(f"msg:{number}", "x" * 3000))
                await journal.commit()
                if number:
                    journal.append(Drop(f"msg:{number - 1}", "t"))
                sizes.append(used(tmp_path))

    run(main)
    assert max(sizes[300:]) <= max(sizes[:300])
