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
    writing, go_on, groups = threading.Event(), threading.Event(), 0
    write = SqliteFile.write

    def slow(file: SqliteFile, batch: object, number: int) -> None:
        nonlocal groups
        groups += 1
        if groups == 1:
            writing.set()
            go_on.wait(20)
        write(file, batch, number)

    monkeypatch.setattr(SqliteFile, "write", slow)
    async with SqliteJournal(tmp_path / "j.db") as journal, anyio.create_task_group() as tasks:
        journal.append(event(1))
        tasks.start_soon(journal.commit)
        with anyio.fail_after(20):
            while not writing.is_set():  # noqa: ASYNC110 - the writer's thread
                await anyio.sleep(0.001)
        journal.append(event(2))
        durable: list[str] = []

        async def second() -> None:
            await journal.commit()
            durable.extend(found.id[-1] for found in await journal.events_after("", 10))

        tasks.start_soon(second)
        await anyio.lowlevel.checkpoint()
        go_on.set()

    assert durable == ["1", "2"]
