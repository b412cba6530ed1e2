"""A journal says how it is doing: what it has written, and what waits."""

from pathlib import Path

import anyio.lowlevel
import pytest

from organism.journal import GroupWritten, Keep
from organism.messages import Text
from organism.stores.memory import MemoryJournal
from organism.stores.sqlite import SqliteJournal

pytestmark = pytest.mark.anyio


async def test_groups_are_told_and_what_waits_is_counted(tmp_path: Path) -> None:
    """Every record is told of in exactly one group, and until then it is counted with its age."""
    written: list[GroupWritten] = []
    async with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        journal.observer = written.append
        for number in range(100):
            journal.append(Keep(f"k{number}", "t", Text("x")))
            assert journal.statistics().pending > 0
            if number % 10 == 0:
                await anyio.lowlevel.checkpoint()
        await journal.commit()
        assert journal.statistics().pending == 0
        assert journal.statistics().lag_ns == 0
    assert sum(group.records for group in written) == 100
    assert all(0 < group.write_ns <= group.lag_ns for group in written)


async def test_memory_has_nothing_that_waits() -> None:
    """A journal in memory is as durable as it will ever be."""
    journal = MemoryJournal()
    journal.append(Keep("k", "t", Text("x")))

    assert journal.statistics().pending == 0
