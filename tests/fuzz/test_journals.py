"""Journals that no organism has written: opened, or refused in words; a start never ends in a crash or hangs."""

import random
from pathlib import Path

import anyio
import pytest

from organism.stores.sqlite import SqliteJournal
from tests.fuzz.campaign import campaign
from tests.fuzz.journals import faults_of, fill, remove

pytestmark = pytest.mark.anyio


async def test_journal_with_something_else_in_it_opens_or_is_refused(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Live state, events and entries of another shape, with checksums that fit: the start goes on, or says why not."""
    filled = tmp_path / "filled.db"
    await fill(SqliteJournal(filled))
    numbers = iter(range(10**9))

    async def one(chance: random.Random) -> list[str]:
        path = tmp_path / f"{next(numbers)}.db"
        with anyio.fail_after(60):
            faults = await faults_of(filled, path, chance)
        remove(path)
        return faults

    most = max(1, pytestconfig.getoption("fuzz") // 3)  # each opens an organism
    outcome = await campaign("journal", one, pytestconfig.getoption("seed"), most)
    assert not outcome.found, outcome.told
