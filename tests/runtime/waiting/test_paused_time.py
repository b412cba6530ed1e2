"""A pause costs nothing: what waits is neither lost nor tried again nor given up, and no seconds pass meanwhile."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from organism import Bounds, Context, Gathered, Limits, Organism, Text, agent
from organism.testing import CrashingJournal, ScriptedProvider, VirtualClock, run
from organism.threads.approvals import Decision
from organism.usage.events import DeadLetterEvent

LONG = 10_000.0
"""Longer than every deadline of a handler, question or mailbox."""

SECOND = 10**9

runs: list[str] = []
fails: list[str] = []


@agent(peers=["worker", "slow", "joiner"], timeout_s=60)
async def boss(message: Text, ctx: Context) -> Text | None:  # noqa: PLR0911 - one for each kind of waiting
    """Do one of the things that wait."""
    runs.append(f"boss {message.text}")
    what, _, _ = message.text.partition(" ")
    if what == "ask":
        return await ctx.ask("worker", Text("q"), timeout_s=30)  # type: ignore[return-value]
    if what == "gather":
        answers = await ctx.gather([("worker", Text("q")), ("slow", Text("q"))], timeout_s=30)
        return Text("+".join(getattr(answer, "text", "?") for answer in answers))
    if what == "spawn":
        return Text((await ctx.spawn("worker", Text("q"), limits=Limits(tokens=100))).outcome)
    if what == "carve":
        return Text((await ctx.spawn("worker", Text("q"), limits=Limits(tokens=100), budget="carved")).outcome)
    if what == "delay":
        ctx.send("worker", Text("later"), delay_s=20)
        return None
    if what == "approve":
        return Text(str((await ctx.approval("do it")).allowed))
    if what == "fail" and len(fails) < 3:
        fails.append(what)
        raise TimeoutError("not yet")
    if what == "join":
        ctx.send("worker", Text("for joiner"))
        ctx.send("slow", Text("for joiner"))
        return None
    if what == "many":
        for number in range(4):
            ctx.send("worker", Text(f"m{number}"))
        return None
    if what == "work":
        await anyio.sleep(5)
    return Text("done")


@agent(peers=["joiner"], timeout_s=60)
async def worker(message: Text, ctx: Context) -> Text | None:
    """Take five seconds for everything."""
    runs.append(f"worker {message.text}")
    await anyio.sleep(5)
    if message.text == "for joiner":
        ctx.send("joiner", Text("w"))
        return None
    return Text("w")


@agent(peers=["joiner"], timeout_s=60)
async def slow(message: Text, ctx: Context) -> Text | None:
    """Take twenty."""
    runs.append(f"slow {message.text}")
    await anyio.sleep(20)
    if message.text == "for joiner":
        ctx.send("joiner", Text("s"))
        return None
    return Text("s")


@agent(gather=["worker", "slow"])
async def joiner(message: Gathered, ctx: Context) -> Text:
    """Put together what both have given."""
    runs.append("joiner")
    return Text("+".join(sorted(part.text for part in message.parts)))


KINDS = ("ask", "gather", "spawn", "carve", "delay", "approve", "fail", "join", "many", "work")


def made(**options: Any) -> Organism:
    return Organism(
        [boss, worker, slow, joiner],
        models={"m": "s/x"},
        providers={"s": ScriptedProvider()},
        clock=VirtualClock(),
        limits=Limits(tokens=10_000, elapsed_ns=1_000 * SECOND),
        **options,
    )


async def finished(organism: Organism, thread: str, letters: list[Any]) -> tuple[list[str], int]:
    """Answer what is asked, let the thread come to its end, and return what it said and its seconds."""
    with anyio.fail_after(LONG):
        while (result := organism.pump.result(thread)) is None:
            for approval in organism.approvals.waiting():
                await organism.approvals.decide(approval.id, Decision(True))
            await anyio.sleep(1)
    assert letters == []
    assert result.outcome == "completed"
    texts = [message.text for message in result.outputs if isinstance(message, Text)]
    return texts, result.budget.elapsed_ns // SECOND


Stop = Callable[[Organism, str], Awaitable[object]]


async def pause_thread(organism: Organism, thread: str) -> None:
    await organism.control.pause_thread(thread)


async def resume_thread(organism: Organism, thread: str) -> None:
    await organism.control.resume_thread(thread)


async def pause_agents(organism: Organism, thread: str) -> None:
    for name in ("worker", "slow", "joiner", "boss"):
        await organism.control.pause_agent(name)


async def resume_agents(organism: Organism, thread: str) -> None:
    for name in ("boss", "joiner", "slow", "worker"):
        await organism.control.resume_agent(name)


async def pause_child(organism: Organism, thread: str) -> None:
    for view in organism.threads():
        if view.parent_thread_id is not None:
            await organism.control.pause_thread(view.thread_id)


async def resume_child(organism: Organism, thread: str) -> None:
    for view in organism.threads():
        if view.parent_thread_id is not None:
            await organism.control.resume_thread(view.thread_id)


async def undisturbed(kind: str) -> tuple[list[str], list[str], int]:
    runs.clear()
    fails.clear()
    async with made() as organism:
        thread = await organism.open_thread(kind, thread_id="t")
        texts, seconds = await finished(organism, thread, [])
    return texts, sorted(runs), seconds


@pytest.mark.parametrize("at", [0.0, 0.1, 2.0, 6.0, 12.0])
@pytest.mark.parametrize("how", ["thread", "agents", "child"])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_waits_goes_on_after_a_pause_as_if_none_had_been(kind: str, how: str, at: float) -> None:
    """Paused at any time, for longer than every deadline: the same runs, the same answers, about the same seconds."""
    ways: dict[str, tuple[Stop, Stop]] = {
        "thread": (pause_thread, resume_thread),
        "agents": (pause_agents, resume_agents),
        "child": (pause_child, resume_child),
    }
    stop, go_on = ways[how]

    async def disturbed() -> tuple[list[str], list[str], int]:
        runs.clear()
        fails.clear()
        letters: list[Any] = []
        async with made() as organism:
            organism.usage.subscribe(letters.append, DeadLetterEvent)
            thread = await organism.open_thread(kind, thread_id="t")
            await anyio.sleep(at)
            if organism.pump.result(thread) is None:
                await stop(organism, thread)
                begun = len(runs)
                await anyio.sleep(LONG)
                assert how == "child" or len(runs) == begun  # nothing is begun or tried again meanwhile
                if organism.pump.result(thread) is None:
                    await go_on(organism, thread)
            texts, seconds = await finished(organism, thread, letters)
        return texts, sorted(runs), seconds

    expected, got = run(undisturbed, kind), run(disturbed)

    assert got[0] == expected[0]
    if kind != "approve":  # it is run once to ask and once with the answer, and when that is given is up to the test
        assert got[1] == expected[1]
    assert got[2] <= expected[2] + 30


@pytest.mark.parametrize("at", [0.1, 2.0, 6.0])
@pytest.mark.parametrize("how", ["thread", "agents"])
@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pause_outlasts_the_process_and_goes_on_after_it(kind: str, how: str, end: str, at: float) -> None:
    """Paused, then killed or stopped, then started and resumed much later: nothing is lost or given up on."""
    stop, go_on = (pause_thread, resume_thread) if how == "thread" else (pause_agents, resume_agents)

    async def disturbed() -> tuple[list[str], int]:
        runs.clear()
        fails.clear()
        letters: list[Any] = []
        journal = CrashingJournal()
        kept = journal.kept
        async with made(journal=journal) as organism:
            organism.usage.subscribe(letters.append, DeadLetterEvent)
            thread = await organism.open_thread(kind, thread_id="t")
            await anyio.sleep(at)
            if organism.pump.result(thread) is None:
                await stop(organism, thread)
                await anyio.sleep(1)
            if end == "killed":
                journal.kept = type(kept)(capacity=1)  # what is written from here on is lost
        async with made(journal=CrashingJournal(kept)) as organism:
            organism.usage.subscribe(letters.append, DeadLetterEvent)
            await anyio.sleep(LONG)
            if organism.pump.result(thread) is None:
                await go_on(organism, thread)
            return await finished(organism, thread, letters)

    expected, got = run(undisturbed, kind), run(disturbed)

    assert got[0] == expected[0]
    assert got[1] <= expected[2] + 30


def test_a_stop_while_a_paused_thread_s_handler_runs_is_no_failure_of_it() -> None:
    """A handler that runs when its thread is paused and the process stopped has not failed: it had no time left."""

    async def main() -> None:
        runs.clear()
        letters: list[Any] = []
        journal = CrashingJournal()
        for life in range(2):
            async with made(journal=journal, bounds=Bounds(attempts=1)) as organism:
                organism.usage.subscribe(letters.append, DeadLetterEvent)
                if life == 0:
                    await organism.open_thread("work", thread_id="t")
                    await anyio.sleep(1)
                    await organism.control.pause_thread("t")
                else:
                    await organism.control.resume_thread("t")
                    assert await finished(organism, "t", letters) == (["done"], 6)
            journal = CrashingJournal(journal.kept)

    run(main)
