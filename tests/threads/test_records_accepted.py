"""Nothing is accepted that a later start could not take up: it is refused where it is said, and nothing is changed."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from organism import Limits, Organism, Text, agent
from organism.agents.context import Context
from organism.amounts import Amounts
from organism.errors import OrganismError
from organism.journal import Keep
from organism.stores.batch import batch_of
from organism.stores.sqlite import SqliteJournal
from organism.stores.sqlite_file import SqliteFile
from organism.testing import run
from organism.threads.approvals import ApprovalNeededError, Decision
from organism.usage.events import ThreadOpened

ODD = cast("Any", object())


@agent()
async def clerk(message: Text, ctx: Context) -> Text:
    """Ask a person."""
    await ctx.approval("send it", "all of it")
    return Text("done")


def organism(place: Path) -> Organism:
    return Organism([clerk], limits=Limits(tokens=5), journal=SqliteJournal(place / "j.db"))


async def decide(one: Organism, decision: Any) -> None:
    await one.approvals.decide(one.approvals.waiting()[0].id, decision)


async def stand(one: Organism, labels: Any) -> None:
    one.control.external_threads.open("stands", "key", labels=labels)


SAID: dict[str, Callable[[Organism], Awaitable[object]]] = {
    "labels of numbers": lambda one: one.open_thread("x", labels=cast("Any", {"a": 1})),
    "labels of nothing": lambda one: one.open_thread("x", labels=cast("Any", {"a": None})),
    "labels named by numbers": lambda one: one.open_thread("x", labels=cast("Any", {1: "a"})),
    "labels in a list": lambda one: one.open_thread("x", labels=cast("Any", ["a"])),
    "labels of objects": lambda one: one.open_thread("x", labels={"a": ODD}),
    "labels of a standing thread": lambda one: stand(one, {"a": 1}),
    "a reason that is a number": lambda one: one.terminate("waits", cast("Any", 5)),
    "a reason that is nothing": lambda one: one.terminate("waits", cast("Any", None)),
    "half a token": lambda one: one.control.adjust_budget("waits", Amounts(tokens=cast("Any", 1.5)), "r"),
    "a true token": lambda one: one.control.adjust_budget("waits", Amounts(tokens=True), "r"),
    "a true call": lambda one: one.control.adjust_budget("waits", Amounts(calls=True), "r"),
    "more than 64 bits": lambda one: one.control.adjust_budget("waits", Amounts(tokens=2**70), "r"),
    "an answer that is a word": lambda one: decide(one, Decision(cast("Any", "maybe"))),
    "an answer with a number for a note": lambda one: decide(one, Decision(True, cast("Any", 5))),
    "an answer that is nothing": lambda one: decide(one, None),
}


@pytest.mark.parametrize("what", SAID)
def test_what_could_not_be_taken_up_again_is_refused(what: str, tmp_path: Path) -> None:
    """It is an error for whoever says it; the organism goes on, and so does the next one on the same journal."""

    async def live() -> None:
        async with organism(tmp_path) as one:
            await one.open_thread("x", thread_id="waits")
            with pytest.raises(ApprovalNeededError, match="waits for a person"):
                await one.wait("waits")
            with pytest.raises(OrganismError, match=r"cannot be kept|no amount of 64 bits|more than 64 bits hold"):
                await SAID[what](one)
            assert [thread.thread_id for thread in one.threads()] == ["waits"]
        async with organism(tmp_path) as again:
            assert len(again.control.quarantine) == 0
            with pytest.raises(ApprovalNeededError, match="waits for a person"):
                await again.wait("waits")
            await decide(again, Decision(allowed=True))
            assert (await again.wait("waits")).outputs == (Text("done"),)

    run(live)


@pytest.mark.parametrize("bad", [(2,), (1, 2, 3), (5,), (1, 2, 3, 4, 5), (3, 4)])
def test_an_event_that_cannot_be_read_stops_nobody(bad: tuple[int, ...], tmp_path: Path) -> None:
    """A start and a reader pass over an event of an unknown shape, say so in the log, and miss no other."""

    def event(number: int) -> msgspec.Struct:
        labels = cast("Any", {"a": 1 if number in bad else "1"})
        return ThreadOpened(
            id=f"{number:016d}", time_ns=number, thread_id="t", root_thread_id="t", entry="a", labels=labels
        )

    file = SqliteFile(tmp_path / "j.db")
    file.write(batch_of([Keep("instance", "", Text("no name")), *(event(number) for number in range(1, 6))]), 1)
    good = [number for number in range(1, 6) if number not in bad]
    for limit in (1, 2, 10):
        seen: list[int] = []
        while page := file.events_after(f"{seen[-1]:016d}" if seen else "", limit):
            seen += [int(event.id) for event in page]
        assert seen == good
    file.close()

    async def live() -> None:
        async with organism(tmp_path) as one:
            assert [int(event.id) for event in await one.events_after("", 10)] == good

    run(live)
