"""Threads that are spent from outside: nothing but an order ends them, and their time runs only during calls."""

from pathlib import Path

import anyio
import pytest

from organism import BudgetWarning, Context, Limits, Organism, Text, agent
from organism.errors import StoppedError, ThreadClosedError
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.router.call import RouterSettings
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider, VirtualClock, run
from organism.threads.thread import NoMailboxError, ThreadPausedError
from organism.usage.events import ThreadClosed

REQUEST = CompletionRequest(model="main", messages=(ChatMessage("user", "hi there"),), max_output_tokens=16)
SECOND = 10**9
warned: list[BudgetWarning] = []


@agent()
async def sleeper(message: Text, ctx: Context) -> None:
    """Keep a thread open."""
    await anyio.sleep_forever()


@agent()
async def listener(message: Text | BudgetWarning, ctx: Context) -> None:
    """Keep warnings."""
    if isinstance(message, BudgetWarning):
        warned.append(message)


def make(latency_s: float = 2.0, journal: SqliteJournal | None = None, **options: object) -> Organism:
    return Organism(
        [sleeper, listener],
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["one two three"], latency_s=latency_s)},
        provider_kinds={"scripted": "local"},
        clock=VirtualClock(),
        journal=journal,
        router=RouterSettings(drain_s=0.5),
        **options,  # type: ignore[arg-type]
    )


def test_time_runs_only_while_a_call_is_under_way() -> None:
    """A thread that is open for days has been at work for as long as its calls took, side by side counted once."""

    async def scenario() -> None:
        async with make(limits=Limits(elapsed_ns=10 * SECOND)) as organism:
            standing = organism.control.external_threads
            standing.open("tap", "key")
            await anyio.sleep(86_400)
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(standing.complete, "tap", "key", REQUEST)
            await anyio.sleep(86_400)

            budget = organism.budgets.budget("tap")
            assert (budget.spent.calls, budget.elapsed_ns // SECOND) == (3, 2)

    run(scenario)


def test_a_pause_stops_no_call_and_so_not_its_time() -> None:
    """What runs when an operator pauses a thread is finished, and takes the thread's time as if nobody had."""

    async def scenario() -> None:
        async with make() as organism:
            standing = organism.control.external_threads
            standing.open("tap", "key")
            for resumed in (True, False):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(standing.complete, "tap", "key", REQUEST)
                    await anyio.sleep(0.5)
                    organism.control.components.orders.pausing.pause_thread("tap")
                    await anyio.sleep(0.5)
                    if resumed:
                        organism.control.components.orders.pausing.resume_thread("tap")
                await anyio.sleep(86_400)

            budget = organism.budgets.budget("tap")
            assert (budget.spent.calls, budget.elapsed_ns // SECOND) == (2, 4)

    run(scenario)


def test_it_stands_until_an_order_ends_it_and_is_told_once() -> None:
    """It is open however long nothing happens; its end cuts a call short, charges it and frees the budget, once."""
    closed: list[ThreadClosed] = []

    async def scenario() -> None:
        async with make(latency_s=60) as organism:
            organism.usage.subscribe(lambda event: closed.append(event) if isinstance(event, ThreadClosed) else None)
            standing = organism.control.external_threads
            standing.open("tap", "key", labels={"team": "blue"})
            await anyio.sleep(3600)
            assert organism.thread("tap").status == "open"

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(expect_closed, organism)
                await anyio.sleep(1)
                result = await organism.terminate("tap")

            assert (result.outcome, result.budget.spent.calls) == ("terminated", 1)
            assert not organism.budgets.has_budget("tap")
            with pytest.raises(ThreadClosedError, match="is not open"):
                standing.open("tap", "key")
        assert [(event.thread_id, event.labels) for event in closed] == [("tap", {"team": "blue"})]

    run(scenario)


async def expect_closed(organism: Organism) -> None:
    with pytest.raises(ThreadClosedError, match="is not open"):
        await organism.control.external_threads.complete("tap", "key", REQUEST)


def test_it_takes_no_messages_and_wakes_no_agent() -> None:
    """A message to it is refused, and its warnings are nobody's message: no agent belongs to it."""
    warned.clear()

    async def scenario() -> None:
        async with make(limits=Limits(calls=1)) as organism:
            organism.control.external_threads.open("tap", "key")
            with pytest.raises(NoMailboxError, match="takes no messages"):
                await organism.send("tap", "hello", to="listener")
            await organism.control.external_threads.complete("tap", "key", REQUEST)
            await organism.set_limits("tap", Limits(calls=1))
            await anyio.sleep(10)

    run(scenario)

    assert warned == []


def test_a_call_on_an_agents_thread_warns_the_agents_that_ask_for_it() -> None:
    """Spent from outside, an agents' thread still tells its agents that it runs low."""
    warned.clear()

    async def scenario() -> None:
        async with make(limits=Limits(calls=1)) as organism:
            thread = await organism.open_thread("wait")
            await organism.control.external_threads.complete(thread, "key", REQUEST)
            assert organism.budgets.budget(thread).spent.calls == 1
            await anyio.sleep(1)

    run(scenario)

    assert [warning.threshold for warning in warned] == [75, 90, 95]


def test_paused_it_refuses_and_a_drain_waits_for_calls_only() -> None:
    """A paused one says so; a drain ends as soon as no call is under way, and lets none begin."""

    async def scenario() -> None:
        async with make(latency_s=5) as organism:
            standing = organism.control.external_threads
            standing.open("tap", "key")
            await organism.control.pause_thread("tap")
            with pytest.raises(ThreadPausedError, match="is paused"):
                await standing.complete("tap", "key", REQUEST)
            await organism.control.resume_thread("tap")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(standing.complete, "tap", "key", REQUEST)
                await anyio.sleep(1)
                begun = anyio.current_time()
                assert await organism.drain(within_s=60)
                assert anyio.current_time() - begun == pytest.approx(4)
            with pytest.raises(StoppedError, match="takes no new work"):
                await standing.complete("tap", "key", REQUEST)

    run(scenario)


def test_it_outlives_the_process_with_its_time_and_its_spend(tmp_path: Path) -> None:
    """On the next start it is open again, owes what it owed, and has not aged while nobody was there."""

    async def first() -> None:
        async with make(journal=SqliteJournal(tmp_path / "j.db")) as organism:
            organism.control.external_threads.open("tap", "key", limits=Limits(tokens=500, elapsed_ns=90 * SECOND))
            await organism.control.external_threads.complete("tap", "key", REQUEST)
            await anyio.sleep(1000)

    async def second() -> None:
        async with make(journal=SqliteJournal(tmp_path / "j.db")) as organism:
            await anyio.sleep(1000)
            budget = organism.budgets.budget("tap")
            assert organism.thread("tap").status == "open"
            assert (budget.spent.calls, budget.elapsed_ns // SECOND, budget.limits.tokens) == (1, 2, 500)
            await organism.control.external_threads.complete("tap", "key", REQUEST)
            assert organism.budgets.budget("tap").elapsed_ns // SECOND == 4

    run(first)
    run(second)
