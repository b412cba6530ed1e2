"""A journal can always be opened again: what no start can take up is set aside and told, all else goes on."""

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import anyio
import msgspec
import pytest

from organism import BudgetExhaustedError, Limits, Organism, Text, agent
from organism.agents.context import Context
from organism.amounts import Amounts
from organism.journal import Drop, JournalBrokenError, Keep
from organism.ledger.entries import CallRecord, decode_entry
from organism.ledger.ledger import Ledger
from organism.messages import Envelope
from organism.stores.batch import batch_of
from organism.stores.memory import MemoryJournal
from organism.stores.sqlite import SqliteJournal
from organism.stores.sqlite_file import SqliteFile
from organism.testing import CrashingJournal, ScriptedProvider, VirtualClock, run
from organism.threads.records import StateRecord, StepRecord
from organism.usage.events import ThreadClosed

Records = list[msgspec.Struct]


@agent()
async def worker(message: Text, ctx: Context) -> Text:
    """Ask the model once."""
    return Text((await ctx.llm.complete(message.text, max_output_tokens=20)).text)


def organism(place: Path) -> Organism:
    return Organism(
        [worker],
        models={"m": "s/x"},
        providers={"s": ScriptedProvider(["an answer"] * 9)},
        limits=Limits(tokens=5),
        journal=SqliteJournal(place / "journal.db"),
    )


async def lives_a_first_time(place: Path) -> None:
    """Leave two threads that wait for budget."""
    async with organism(place) as first:
        for name in ("innocent", "other"):
            await first.open_thread("please", thread_id=name)
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await first.wait(name)


def write(place: Path, records: Callable[[SqliteFile], Records]) -> None:
    """Write into a journal what no organism that is right would write."""
    with closing(SqliteFile(place / "journal.db")) as file:
        file.write(batch_of(records(file)), file.batch_number + 1)


class Body(msgspec.Struct):
    """Any JSON object."""

    anything: object = None


def envelope(**fields: object) -> Envelope:
    given = {"id": "msg_x", "thread_id": "nobody", "sender": "user", "recipient": "worker", "payload": Text("hi")}
    return Envelope(**{**given, "created_ns": 1, **fields})  # type: ignore[arg-type]


ODD: dict[str, Keep] = {
    "a message of no thread": Keep("msg:msg_x", "nobody", envelope()),
    "a step of no message": Keep("step:m:n", "innocent", StepRecord("m", "n", msgspec.Raw(b"1"))),
    "a step of no thread": Keep("step:m:n", "nobody", StepRecord("m", "n", msgspec.Raw(b"1"))),
    "an answer of no thread": Keep("answer:q", "nobody", Body()),
    "a thread that says nothing": Keep("thread:x", "x", Body()),
    "a message that says nothing": Keep("msg:x", "innocent", Body()),
    "a message of wrong types": Keep("msg:x", "innocent", envelope(hops="many", thread_id="innocent")),
    "a state that is a list": Keep("state:x", "innocent", StateRecord("worker", msgspec.Raw(b"[1]"))),
    "a state of no thread": Keep("state:x", "nobody", StateRecord("worker", msgspec.Raw(b"{}"))),
    "a paid answer of no thread": Keep("paid:m:1", "nobody", Body()),
    "an output of wrong types": Keep("output:o", "innocent", Body()),
    "how a child of nobody ended": Keep("child:c", "nobody", Body()),
    "how a thread ended, unreadable": Keep("closed:c", "", Body()),
    "a dead letter without envelope": Keep("dead:d", "", Body()),
    "a parked message, unreadable": Keep("parked:p", "innocent", Body()),
    "a count of tries, unreadable": Keep("tried:p", "innocent", Body()),
    "a receipt, unreadable": Keep("receipt:r", "", Body()),
    "a cursor, unreadable": Keep("cursor:c", "", Body()),
    "an owner, unreadable": Keep("owner:x", "innocent", Body()),
    "a paused agent, unreadable": Keep("paused_agent:x", "", Body()),
    "a kind that is not known": Keep("marvel:x", "innocent", Body()),
    "a key without a kind": Keep("marvel", "", Body()),
}


@pytest.mark.parametrize("what", ODD)
def test_a_piece_that_no_start_can_take_up_costs_only_itself(what: str, tmp_path: Path) -> None:
    """The start succeeds, everything else goes on to its end, and what was set aside is kept with its reason."""
    odd = ODD[what]
    run(lives_a_first_time, tmp_path)
    write(tmp_path, lambda _: [odd])

    async def again() -> None:
        for _ in range(2):  # what was set aside stays, and is not set aside again
            async with organism(tmp_path) as second:
                (kept,) = second.control.quarantine.list()
                assert (kept.key, kept.thread_id) == (odd.key, odd.thread_id)
                assert kept.reason
                assert {thread.thread_id for thread in second.threads()} == {"innocent", "other"}
        async with organism(tmp_path) as third:
            await third.set_limits("innocent", Limits(tokens=1000))
            result = await third.wait("innocent")
            assert result.outputs == (Text("an answer"),)

    run(again)


def test_a_thread_whose_message_is_set_aside_does_not_pass_for_done(tmp_path: Path) -> None:
    """A thread that lost a message at a start ends as failed, with the reason."""
    run(lives_a_first_time, tmp_path)

    def spoil(file: SqliteFile) -> Records:
        mine = next(p for p in file.load().pieces if p.key.startswith("msg:") and p.thread_id == "innocent")
        return [Drop(mine.key, "innocent"), Keep(mine.key, "innocent", Body())]

    write(tmp_path, spoil)

    async def again() -> None:
        async with organism(tmp_path) as second:
            result = await second.wait("innocent")
            assert result.outcome == "failed"
            assert "set aside" in (result.reason or "")

    run(again)


def test_money_of_a_thread_that_is_lost_is_charged_and_told(tmp_path: Path) -> None:
    """A thread whose record is lost is closed: what was let out or carved is charged whole, and its end is told."""
    run(lives_a_first_time, tmp_path)

    def spoil(file: SqliteFile) -> Records:
        written: Records = []
        ledger = Ledger.replay(map(decode_entry, file.load().entries), written.append)
        now_ns = file.load().last_time_ns
        call = CallRecord(
            thread_id="innocent",
            root_thread_id="innocent",
            agent="worker",
            message_id="m",
            call_id="c",
            attempt=1,
            provider="s",
            model="m",
            request_model="x",
            input_tokens=2,
            output_cap=1,
            price_source=None,
        )
        ledger.reserve("h1", ("thread:innocent",), Amounts(tokens=3, calls=1), now_ns, call)
        ledger.dispatch("h1", now_ns)
        ledger.reserve("carve_1", ("thread:innocent", "thread:other"), Amounts(tokens=1), now_ns)
        return [Drop("thread:innocent", "innocent"), *written]

    write(tmp_path, spoil)

    async def again() -> None:
        async with organism(tmp_path) as second:
            assert [thread.thread_id for thread in second.threads()] == ["other"]
            assert not second.budgets.open_holds()
            assert second.budgets.budget("other").spent.tokens == 1
            events = await second.events_after("", 1000)
            (closed,) = [event for event in events if isinstance(event, ThreadClosed)]
            assert (closed.thread_id, closed.outcome, closed.budget.spent.tokens) == ("innocent", "failed", 4)
            await second.terminate("other")

    run(again)
    run(lambda: again_is_quiet(tmp_path))


async def again_is_quiet(place: Path) -> None:
    async with organism(place) as third:
        closed = [event for event in await third.events_after("", 1000) if isinstance(event, ThreadClosed)]
        assert sorted(event.thread_id for event in closed) == ["innocent", "other"]
        assert third.threads() == ()


@agent(peers=["worker"], timeout_s=100_000)
async def asking(message: Text, ctx: Context) -> Text:
    """Have a child ask the model."""
    await ctx.spawn("worker", message)
    return message


def test_what_a_pause_outlasts_is_waited_for_by_nobody_in_the_next_process() -> None:
    """A child paused while its freeze is lifted is found again without it: its parent waits and does not spin."""
    kept = MemoryJournal(capacity=10_000)

    def organism(journal: CrashingJournal) -> Organism:
        return Organism(
            [asking, worker],
            models={"m": "s/x"},
            providers={"s": ScriptedProvider(["an answer"])},
            journal=journal,
            clock=VirtualClock(),
        )

    async def first() -> None:
        scope = anyio.CancelScope()
        journal = CrashingJournal(kept, on_crash=scope.cancel)
        with scope, suppress(JournalBrokenError):
            async with organism(journal) as it:
                await it.control.freeze()
                await it.open_thread("go", thread_id="root")
                await anyio.sleep(1)
                (child,) = it.thread("root").children
                await it.control.pause_thread(child)
                await it.control.unfreeze()
                await anyio.sleep(1)
                journal.crash_after(0)
                await it.open_thread("this kills it")
        assert journal.crashed

    async def second() -> None:
        async with organism(CrashingJournal(kept)) as it:
            await anyio.sleep(1)
            await it.control.resume_thread("root")
            assert (await it.wait("root")).outcome == "completed"

    run(first, turns=20_000)
    run(second, turns=20_000)
