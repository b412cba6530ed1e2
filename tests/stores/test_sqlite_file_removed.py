"""A journal that is taken away under a running organism is noticed: nothing more is promised that nobody keeps."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from organism import Limits, Organism, Text, agent
from organism.agents.context import Context
from organism.journal import JournalBrokenError
from organism.stores.sqlite import SqliteJournal
from organism.testing import run


@agent()
async def clerk(message: Text, ctx: Context) -> Text:
    """Answer at once."""
    return Text("done")


def moved(place: Path) -> None:
    place.rename(place.with_name("elsewhere"))


def replaced(place: Path) -> None:
    copy = (place / "j.db").read_bytes()
    (place / "j.db").unlink()
    (place / "j.db").write_bytes(copy)


def linked(place: Path) -> None:
    (place / "j.db").rename(place / "other.db")
    (place / "j.db").symlink_to(place / "other.db")


TAKEN: dict[str, Callable[[Path], object]] = {
    "the folder deleted": shutil.rmtree,
    "the file deleted": lambda place: (place / "j.db").unlink(),
    "the folder moved": moved,
    "the file moved": lambda place: (place / "j.db").rename(place / "other.db"),
    "the file replaced by a copy": replaced,
    "the file replaced by a link to it": linked,
}


@pytest.mark.parametrize("what", TAKEN)
def test_a_journal_that_is_taken_away_is_noticed_with_the_next_request(what: str, tmp_path: Path) -> None:
    """The next request is refused, and so is every later one; the organism ends with an error that says what to do."""
    place = tmp_path / "state"

    async def live() -> None:
        async with Organism([clerk], limits=Limits(tokens=5), journal=SqliteJournal(place / "j.db")) as one:
            await one.run("hi")
            TAKEN[what](place)
            for _ in range(2):
                with pytest.raises(JournalBrokenError, match="removed or replaced"):
                    await one.open_thread("hi")

    with pytest.raises(JournalBrokenError, match="start organism again"):
        run(live)
