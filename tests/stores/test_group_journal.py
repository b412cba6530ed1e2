"""Commits in groups: each answers for what was appended before it."""

import threading
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

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
