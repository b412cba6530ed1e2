"""Commits in groups: each answers for what was appended before it."""

import threading
from contextlib import closing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from organism.concurrency.own_threads import OwnThreads
from organism.journal import JournalError
from organism.stores.sqlite import SqliteJournal
from organism.stores.sqlite_file import SqliteFile
from organism.testing.store_contract import event

pytestmark = pytest.mark.anyio


async def test_a_commit_waits_for_what_was_appended_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a group is being written is not durable with it, and its commit does not say that it is."""
    writing, go_on, begun, written = threading.Event(), threading.Event(), 0, 0
    write = SqliteFile.write

    def slow(file: SqliteFile, batch: object, number: int) -> None:
        nonlocal begun, written
        begun += 1
        if begun == 1:
            writing.set()
            go_on.wait(20)
        write(file, batch, number)
        written += 1

    monkeypatch.setattr(SqliteFile, "write", slow)
    async with SqliteJournal(tmp_path / "j.db") as journal, anyio.create_task_group() as tasks:
        journal.append(event(1))
        tasks.start_soon(journal.commit)
        with anyio.fail_after(60):
            while not writing.is_set():  # noqa: ASYNC110 - the writer's thread
                await anyio.sleep(0.001)
        journal.append(event(2))
        when_answered: list[int] = []

        async def second() -> None:
            await journal.commit()
            when_answered.append(written)

        tasks.start_soon(second)
        await anyio.lowlevel.checkpoint()
        go_on.set()

    assert when_answered == [2]


async def test_a_commit_without_a_thread_is_refused_and_written_when_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's thread ends when it has been idle: that none can be started for now is no end of the journal."""
    monkeypatch.setitem(OwnThreads.__init__.__kwdefaults__, "idle_s", 0.001)
    start = threading.Thread.start

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = threading.enumerate()
    async with SqliteJournal(tmp_path / "j.db") as journal:
        for thread in threading.enumerate():
            if thread not in before:
                thread.join(60)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        journal.append(event(1))
        with pytest.raises(JournalError, match="can't start new thread"):
            await journal.commit()
        monkeypatch.setattr(threading.Thread, "start", start)
        journal.append(event(2))
        await journal.commit()

    with closing(SqliteFile(tmp_path / "j.db")) as file:
        assert len(file.events_after("", 10)) == 2
