"""The end of a journal: what was cut off of it is noticed by the next start."""

from pathlib import Path

import apsw
import pytest

from organism.amounts import Amounts, Limits
from organism.journal import JournalBrokenError
from organism.ledger.entries import AnyEntry
from organism.ledger.ledger import Cost, Ledger
from organism.stores.batch import batch_of
from organism.stores.sqlite_file import SqliteFile


def lived(path: Path) -> None:
    """Write a ledger that has spent something."""
    entries: list[AnyEntry] = []
    ledger = Ledger(entries.append)
    ledger.open("day", Limits(tokens=100), 1)
    ledger.reserve("hold_1", ("day",), Amounts(50), 2)
    ledger.settle("hold_1", Amounts(40), Cost(), 3)
    file = SqliteFile(path)
    file.write(batch_of(entries), 1)
    file.close()


def cut(path: Path, *statements: str) -> None:
    db = apsw.Connection(str(path))
    for statement in statements:
        db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)",
        "DELETE FROM entries",
        "UPDATE entries SET hash = zeroblob(32) WHERE seq = (SELECT max(seq) FROM entries)",
    ],
    ids=["the newest", "all", "another newest"],
)
def test_a_journal_without_its_newest_entries_is_refused(statement: str, tmp_path: Path) -> None:
    """A ledger that was cut off would give back what was spent, so no start believes it."""
    lived(tmp_path / "j.db")
    cut(tmp_path / "j.db", statement)

    file = SqliteFile(tmp_path / "j.db")
    with pytest.raises(JournalBrokenError, match="is damaged"):
        file.load()
    file.close()


def test_a_whole_journal_is_taken_up(tmp_path: Path) -> None:
    """What was written and closed is there with all that it had spent."""
    lived(tmp_path / "j.db")
    file = SqliteFile(tmp_path / "j.db")
    stored = file.load()
    head = file.head()
    file.close()

    assert (len(stored.entries), head.seq, head.faults) == (3, 3, ())
