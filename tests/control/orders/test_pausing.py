"""Pausing threads and agents: nothing is lost, nothing more is started, and time stands still."""

from contextlib import suppress

import anyio

from organism import Context, Limits, Organism, Text, agent
from organism.journal import JournalBrokenError
from organism.stores.memory import MemoryJournal
from organism.testing import CrashingJournal, run
from organism.usage.events import AnyEvent, ThreadBlocked

seen: list[str] = []


@agent()
async def worker(message: Text, ctx: Context) -> None:
    """Take a second for each message."""
    seen.append(f"{message.text} begins")
    await anyio.sleep(1)
    seen.append(f"{message.text} ends")


@agent(peers=["worker"])
async def parent(message: Text, ctx: Context) -> Text:
    """Have a child do it."""
    result = await ctx.spawn("worker", message)
    return Text(result.outcome)


def test_paused_thread_finishes_its_message_and_starts_no_other() -> None:
    """A paused thread takes messages and keeps them until it is resumed; its wall time stands still."""
    seen.clear()

    async def scenario() -> None:
        async with Organism([worker], limits=Limits(elapsed_ns=10**12)) as organism:
            thread = await organism.open_thread("a")
            await organism.send(thread, "b")
            await anyio.sleep(0.5)
            await organism.control.pause_thread(thread)
            await organism.send(thread, "c")
            await anyio.sleep(1000)
            assert seen == ["a begins", "a ends"]
            assert organism.thread(thread).status == "paused"
            assert organism.thread_budgets(thread)[0].elapsed_ns <= 1_100_000_000
            await organism.control.resume_thread(thread)
            assert (await organism.wait(thread)).outcome == "completed"

    run(scenario)

    assert seen == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


def test_pause_reaches_child_threads() -> None:
    """Pausing a conversation pauses what it has spawned."""
    seen.clear()

    async def scenario() -> None:
        async with Organism([parent, worker]) as organism:
            thread = await organism.open_thread("a")
            await anyio.sleep(0.5)
            paused = (await organism.control.pause_thread(thread)).changed
            assert len(paused) == 2
            await anyio.sleep(50)
            assert {view.status for view in organism.threads()} == {"paused"}
            resumed = (await organism.control.resume_thread(thread)).changed
            assert resumed == paused
            assert (await organism.wait(thread)).outputs == (Text("completed"),)

    run(scenario)


def test_paused_agent_stands_still_in_all_threads() -> None:
    """An agent that is paused takes nothing, whatever the thread, until it is resumed."""
    seen.clear()

    async def scenario() -> None:
        async with Organism([worker]) as organism:
            await organism.control.pause_agent("worker")
            threads = [await organism.open_thread(text) for text in "ab"]
            await anyio.sleep(100)
            assert seen == []
            assert {view.status for view in organism.threads()} == {"open"}
            await organism.control.resume_agent("worker")
            for thread in threads:
                assert (await organism.wait(thread)).outcome == "completed"

    run(scenario)


def test_blocked_thread_that_is_paused_waits_for_both() -> None:
    """A thread that is out of budget and paused goes on only when it is raised and resumed."""

    @agent()
    async def caller(message: Text, ctx: Context) -> Text:
        return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)

    async def scenario() -> None:
        from organism.testing import ScriptedProvider

        models, providers = {"main": "s/m"}, {"s": ScriptedProvider(["yes"])}
        blocked: list[AnyEvent] = []
        async with Organism([caller], models=models, providers=providers, limits=Limits(calls=0)) as organism:
            organism.usage.subscribe(blocked.append, ThreadBlocked)
            thread = await organism.open_thread("a")
            await anyio.sleep(1)
            assert organism.thread(thread).status == "blocked"
            await organism.control.pause_thread(thread)
            await organism.control.resume_thread(thread)
            await anyio.sleep(1)
            assert organism.thread(thread).status == "blocked"
            await organism.control.pause_thread(thread)
            await organism.set_limits(thread, Limits(calls=1))
            await anyio.sleep(1)
            assert organism.thread(thread).status == "paused"
            await organism.control.resume_thread(thread)
            assert (await organism.wait(thread)).outputs == (Text("yes"),)

    run(scenario)


def test_drain_does_not_wait_for_what_is_paused() -> None:
    """A paused thread cannot hold up a stop."""

    async def scenario() -> None:
        async with Organism([worker]) as organism:
            thread = await organism.open_thread("a")
            await organism.send(thread, "b")
            await anyio.sleep(0.5)
            await organism.control.pause_thread(thread)
            assert await organism.drain(5)

    run(scenario)


def test_thread_that_was_paused_is_paused_after_a_crash() -> None:
    """What an operator has stopped does not spend again because the process was killed: the order was answered."""
    seen.clear()
    kept = MemoryJournal(capacity=1_000)

    async def first() -> None:
        scope = anyio.CancelScope()
        journal = CrashingJournal(kept, on_crash=scope.cancel)
        with scope, suppress(JournalBrokenError):
            async with Organism([worker], journal=journal) as organism:
                await organism.open_thread("a", thread_id="t")
                await organism.send("t", "b")
                await anyio.sleep(0.5)
                await organism.control.pause_thread("t")
                journal.crash_after(0)
                await organism.open_thread("this kills it")
        assert journal.crashed

    async def second() -> None:
        async with Organism([worker], journal=CrashingJournal(kept)) as organism:
            await anyio.sleep(1000)
            assert organism.thread("t").status == "paused"
            assert "a ends" not in seen
            await organism.control.resume_thread("t")
            assert (await organism.wait("t")).outcome == "completed"

    run(first)
    run(second)
