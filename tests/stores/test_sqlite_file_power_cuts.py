"""The power goes at any operation of the disk, and everything that was not synced may be gone, or half of it."""

import random
from collections.abc import Callable
from pathlib import Path

import anyio
import apsw
import pytest

from organism import Context, Limits, Organism, Text, agent
from organism.journal import JournalError
from organism.ledger.entries import Dispatched, Settled, decode_entry
from organism.stores.batch import batch_of
from organism.stores.group_storage import Retention
from organism.stores.sqlite import SqliteJournal
from organism.stores.sqlite_file import SqliteFile
from organism.testing import FaultyDisk, ScriptedProvider, VirtualClock, run
from organism.testing.store_contract import event, keep
from organism.usage.events import UsageEvent

Record = Callable[[str, object], None]
"""Of pytest: notes a figure, which ``python -m tests.faults`` compares with its pass line."""

GROUPS = 60
AS_SHIPPED = "as shipped"
"""As every journal is opened, so that a change of that is noticed here."""


def write_until_dark(path: Path, disk: FaultyDisk, synchronous: str, chance: random.Random) -> int:
    """Write groups until the power goes, folding the log into the file every now and then; how many were answered."""
    acknowledged = 0
    file = None
    try:
        file = SqliteFile(path, disk.name)
        if synchronous != AS_SHIPPED:
            file._db.execute(f"PRAGMA synchronous = {synchronous}")
        file._db.execute("PRAGMA wal_autocheckpoint = 15")
        acknowledged = file.load().last_event
        for number in range(acknowledged + 1, acknowledged + GROUPS):
            records = [event(number), keep(f"msg:{number}", "x" * chance.randrange(3000))]
            file.write(batch_of(records), number)
            acknowledged = number
            if number % 20 == 0:
                file.forget(Retention(events_ns=30))
    except JournalError:
        pass
    finally:
        if file is not None:
            file._forsake()
    return acknowledged


def lost_in_power_cuts(folder: Path, synchronous: str, survives: float, seeds: int) -> int:
    """Cut the power again and again, and count the groups that were answered and are gone."""
    lost = 0
    for seed in range(seeds):
        chance = random.Random(seed)
        path = folder / f"{seed}.db"
        with FaultyDisk(f"cut-{synchronous}-{survives}", chance) as disk:
            for _ in range(3):
                disk.cut_power(chance.randrange(20, 450))
                acknowledged = write_until_dark(path, disk, synchronous, chance)
                disk.restore_power(survives)
                try:
                    found = read_whole(path)
                except JournalError:
                    assert synchronous == "OFF", "the file is damaged"
                    lost += acknowledged
                    break
                assert found <= acknowledged + 1
                lost += max(0, acknowledged - found)
    return lost


def read_whole(path: Path) -> int:
    """Return the number of the last group in the file, after looking at every page and every value."""
    file = SqliteFile(path)
    try:
        assert file._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        stored = file.load()
        assert [piece.key for piece in stored.pieces] == [f"msg:{n}" for n in range(1, stored.last_event + 1)]
        assert stored.last_event == file.batch_number
        return stored.last_event
    finally:
        file.close()


@pytest.mark.parametrize("survives", [0.0, 0.5, 0.95])
def test_a_power_cut_takes_nothing_that_was_acknowledged(
    survives: float, tmp_path: Path, record_property: Record
) -> None:
    """Whatever of the unsynced writes the disk has lost or torn, every commit that was answered is there, and whole."""
    lost = lost_in_power_cuts(tmp_path, AS_SHIPPED, survives, seeds=8)
    record_property("acknowledged commits lost", lost)
    assert lost == 0


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_power_cuts_would_be_noticed(synchronous: str, tmp_path: Path, record_property: Record) -> None:
    """The same cuts do take commits when SQLite is told to sync less, so the test above can fail."""
    lost = lost_in_power_cuts(tmp_path, synchronous, 0.0, seeds=6)
    record_property("lost with less syncing", lost)
    assert lost > 0


# -- a whole organism --------------------------------------------------------------------------------------------------


@agent(peers=["helper"])
async def asker(message: Text, ctx: Context) -> Text:
    """Two paid calls of its own and one of a helper."""
    first = await ctx.llm.complete("one", max_output_tokens=5)
    helped = await ctx.ask("helper", Text("two"))
    second = await ctx.llm.complete("three", max_output_tokens=5)
    return Text(f"{first.text} {helped.text if isinstance(helped, Text) else helped} {second.text}")


@agent()
async def helper(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=5)).text)


def organism_on(path: Path, provider: ScriptedProvider, vfs: str | None = None) -> Organism:
    return Organism(
        [asker, helper],
        models={"main": "scripted/m"},
        providers={"scripted": provider},
        provider_kinds={"scripted": "local"},
        limits=Limits(tokens=1000),
        clock=VirtualClock(),
        journal=SqliteJournal(path, vfs=vfs),
    )


async def until_dark(path: Path, provider: ScriptedProvider, disk: FaultyDisk) -> bool:
    """Run a thread on a disk whose power goes; whether opening it was answered."""
    opened = False
    with anyio.move_on_after(20):
        async with organism_on(path, provider, disk.name) as organism:
            await organism.open_thread("go", thread_id="th")
            opened = True
            await organism.wait("th")
    return opened


async def afterwards(path: Path, provider: ScriptedProvider, *, opened: bool) -> None:
    """Take the thread up on a disk that works, and compare the bill with what is recorded."""
    async with organism_on(path, provider) as organism:
        if not opened and not organism.threads() and not await organism.events_after(""):
            await organism.open_thread("go", thread_id="th")
        result = await organism.wait("th")
        assert result.outcome == "completed"
        assert result.outputs == (Text("re one re two re three"),)
        events = await organism.events_after("")
        recorded = sum(found.usage.total for found in events if isinstance(found, UsageEvent))
        assert result.budget.spent.tokens == recorded >= provider.billed.total
        assert organism.ledger.open_holds == ()


def test_no_call_leaves_without_a_row(tmp_path: Path, record_property: Record) -> None:
    """Wherever the power goes, each call a provider has seen is in the journal, and the thread comes to its end."""
    with FaultyDisk("whole", random.Random(5)) as disk:
        number, dark, unrecorded = 3, True, 0
        while dark:
            path = tmp_path / f"{number}.db"
            provider = ScriptedProvider(lambda request: f"re {next(iter(request.texts()))}", latency_s=0.1)
            disk.cut_power(number)
            before = disk.operations
            try:
                opened = run(until_dark, path, provider, disk, seed=number)
            except JournalError:
                opened = False
            dark = disk.operations - before >= number
            disk.restore_power(0.5)
            seen = len(provider.requests)
            file = SqliteFile(path)
            entries = [decode_entry(entry) for entry in file.load().entries]
            file.close()
            rows = sum(isinstance(entry, Dispatched) for entry in entries)
            unrecorded += max(0, seen - rows)
            assert rows >= seen, f"cut at {number}"
            run(lambda: afterwards(path, provider, opened=opened), seed=number)  # noqa: B023 - it runs at once
            number += 4
        record_property("calls without a row", unrecorded)
        assert number > 100
        assert sum(isinstance(entry, Settled) for entry in entries) == 3


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
def test_no_fault_of_the_disk_makes_a_call_free(for_ever: bool, tmp_path: Path) -> None:
    """Whichever operation fails under a whole organism, it goes on or ends cleanly, and every call is paid for."""
    with FaultyDisk("fault", random.Random(6)) as disk:
        number, failures = 2, [0]
        while failures:
            path = tmp_path / f"{number}.db"
            provider = ScriptedProvider(lambda request: f"re {next(iter(request.texts()))}", latency_s=0.1)
            failures.clear()
            disk.fail(number, for_ever=for_ever, on_failure=lambda: failures.append(0))
            try:
                opened = run(until_dark, path, provider, disk, seed=number)
            except JournalError:
                opened = False
            disk.heal()
            run(lambda: afterwards(path, provider, opened=opened), seed=number)  # noqa: B023 - it runs at once
            number += 6
        assert number > 100


def test_the_disk_forgets_only_what_was_not_synced(tmp_path: Path) -> None:
    """The double itself: what was synced stays, what was not goes, and sectors survive by chance."""
    path = tmp_path / "x.db"
    with FaultyDisk("double", random.Random(1)) as disk:
        db = apsw.Connection(str(path), vfs="double")
        db.execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
        db.execute("PRAGMA synchronous = OFF; INSERT INTO t VALUES (2)")
        disk.cut_power()
        with pytest.raises(apsw.Error, match="the disk failed at its operation"):
            db.execute("INSERT INTO t VALUES (3)")
        db.close(True)
        disk.restore_power()
        db = apsw.Connection(str(path), vfs="double")
        assert db.execute("SELECT x FROM t").fetchall() == [(1,)]
        db.close()
