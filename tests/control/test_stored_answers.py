"""Answers are kept for those they were given to: across restarts, and within bounds of number, size and age."""

from pathlib import Path

import pytest

from organism.control import stored_answers
from organism.control.stored_answers import KEPT_DAYS, StoredAnswers
from organism.journal import Journal, Pieces
from organism.stores.memory import MemoryJournal
from organism.stores.sqlite import SqliteJournal
from organism.testing import run
from organism.usage.event_log import Store

DAY_NS = 86_400 * 10**9


def taken_up(journal: Store, now: list[int]) -> StoredAnswers:
    """Return what a start finds of what was kept before."""
    answers = StoredAnswers(journal, lambda: now[0])
    answers.restore(Pieces(journal.load().pieces))
    return answers


async def found(answers: StoredAnswers, journal: Journal, *names: str) -> list[str | None]:
    """Return what is found under names, once everything is durable."""
    await journal.commit()
    return [await answers.find("ci", name) for name in names]


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_what_is_durable_is_found_after_a_restart_with_its_owner_and_its_items(kind: str, tmp_path: Path) -> None:
    """The journal has it as soon as the client may: a process that is killed then leaves it to the next one."""
    journal: Store = SqliteJournal(tmp_path / "j.db") if kind == "file" else MemoryJournal()
    now = [DAY_NS]

    async def live() -> None:
        async with journal:
            answers = taken_up(journal, now)
            answers.keep("ci", "a", ["m1", "m2"], "first")
            answers.keep("ci", "b", ["m3"], "second")
            answers.drop("ci", "b")
            await journal.commit()

            again = taken_up(journal, now) if kind == "memory" else answers
            assert await found(again, journal, "a", "b") == ["first", None]
            assert again.place_of("ci", "m2") == "a"
            assert again.place_of("ci", "m3") is None
            assert await again.find("other", "a") is None
            assert again.place_of("other", "m1") is None
            assert not again.drop("other", "a")

    run(live)
    if kind == "memory":
        return
    reopened = SqliteJournal(tmp_path / "j.db")

    async def next_life() -> None:
        async with reopened:
            again = taken_up(reopened, now)
            assert await found(again, reopened, "a", "b") == ["first", None]
            assert again.place_of("ci", "m1") == "a"

    run(next_life)


def test_the_number_of_answers_is_bounded_and_what_is_in_use_stays() -> None:
    """The answer that nobody has gone on from for the longest time makes room; other callers' are not touched."""
    journal = MemoryJournal()
    answers = StoredAnswers(journal, lambda: DAY_NS)
    answers.bound(answers=3)

    async def live() -> None:
        answers.keep("other", "x", [], "x")
        for name in "abc":
            answers.keep("ci", name, [], name)
        assert await answers.find("ci", "a") == "a"
        answers.keep("ci", "d", [], "d")
        assert await found(answers, journal, "a", "b", "c", "d") == ["a", None, "c", "d"]
        assert await answers.find("other", "x") == "x"

    run(live)


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [([4, 4], "ab"), ([4, 4, 4], "bc"), ([4, 4, 9], "c"), ([11], ""), ([4, 11], "a"), ([10, 1], "b")],
)
def test_the_bytes_of_answers_are_bounded(monkeypatch: pytest.MonkeyPatch, sizes: list[int], kept: str) -> None:
    """What was kept first makes room for what is new; what is larger than all the room is not kept."""
    monkeypatch.setattr(stored_answers, "BYTES_MAX", 10)
    journal = MemoryJournal()
    answers = StoredAnswers(journal, lambda: DAY_NS)

    async def live() -> None:
        for name, size in zip("abc", sizes, strict=False):
            answers.keep("ci", name, [], "x" * size)
        there = [name for name in "abc" if (await found(answers, journal, name)) != [None]]
        assert "".join(there) == kept

    run(live)


def test_answers_are_forgotten_when_their_time_is_over() -> None:
    """An answer is found for as many days as is promised and not after, and leaves the journal with the next one."""
    journal, now = MemoryJournal(), [DAY_NS]
    answers = StoredAnswers(journal, lambda: now[0])

    async def live() -> None:
        answers.keep("ci", "a", ["m"], "a")
        now[0] += KEPT_DAYS * DAY_NS
        assert await found(answers, journal, "a") == ["a"]
        now[0] += 1
        assert await found(answers, journal, "a") == [None]
        answers.keep("ci", "b", [], "b")
        assert answers.place_of("ci", "m") is None
        assert [piece.key for piece in journal.load().pieces] == ["kept-answer:b"]

    run(live)


@pytest.mark.parametrize(
    ("answers", "days", "left"),
    [(1000, 30, "abc"), (2, 30, "bc"), (1, 30, "c"), (0, 30, ""), (1000, 2, "bc"), (1000, 1, "c"), (1, 2, "c")],
)
@pytest.mark.parametrize("after", ["reload", "start"])
def test_narrower_bounds_forget_what_is_kept_already(answers: int, days: int, left: str, after: str) -> None:
    """Whoever keeps less from now on has no more of what was said before either: at once, and in the journal."""
    journal, now = MemoryJournal(), [DAY_NS]
    kept = StoredAnswers(journal, lambda: now[0])

    async def live() -> None:
        for name in "abc":
            kept.keep("ci", name, [f"of {name}"], name)
            now[0] += DAY_NS
        now[0] -= DAY_NS // 2
        await journal.commit()
        narrower = kept if after == "reload" else StoredAnswers(journal, lambda: now[0])
        narrower.bound(answers=answers, days=days)
        if after == "start":
            narrower.restore(Pieces(journal.load().pieces))
        there = await found(narrower, journal, *"abc")
        assert "".join(each for each in there if each is not None) == left
        assert {piece.key[-1] for piece in journal.load().pieces} == set(left)
        assert [narrower.place_of("ci", f"of {name}") is not None for name in "abc"] == [name in left for name in "abc"]
        assert narrower.keep("ci", "d", [], "d") == (answers > 0)

    run(live)
