"""Functions spend as it comes naturally to their authors: handlers and tools, coroutines and plain functions."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, BudgetPlan, Context, Limits, Organism, Text, agent, llm_agent
from organism.agents.agent import Agent
from organism.errors import ConfigError
from organism.llm.requests import ToolCall
from organism.testing import CrashingJournal, ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.usage.events import UsageEvent

CENT = 10_000_000

Spend = Callable[..., Any]


async def charge(ctx: Context, usd: str) -> None:
    await ctx.charge(usd=usd, what="render")


async def charge_without_waiting(ctx: Context, usd: str) -> None:
    ctx.charge(usd=usd, what="render")


async def hold(ctx: Context, usd: str) -> None:
    async with ctx.hold(usd=usd, what="render"):
        pass


async def hold_more(ctx: Context, usd: str) -> None:
    async with ctx.hold(usd="0.9", what="render") as block:
        block.settle(usd=usd)


async def hold_by_pieces(ctx: Context, usd: str) -> None:
    async with ctx.hold(usd="0.9", what="render") as block:
        block.charge(usd=usd)
        block.charge(usd=0)


def charge_plainly(ctx: Context, usd: str) -> None:
    ctx.charge(usd=usd, what="render")


def hold_plainly(ctx: Context, usd: str) -> None:
    with ctx.hold(usd=usd, what="render"):
        pass


def hold_more_plainly(ctx: Context, usd: str) -> None:
    with ctx.hold(usd="0.9", what="render") as block:
        assert block.amounts.cost_nanousd == 90 * CENT
        block.settle(usd=usd)


def hold_by_pieces_plainly(ctx: Context, usd: str) -> None:
    with ctx.hold(usd="0.9", what="render") as block:
        block.charge(usd=usd)


COROUTINES = [charge, charge_without_waiting, hold, hold_more, hold_by_pieces]
PLAIN = [charge_plainly, hold_plainly, hold_more_plainly, hold_by_pieces_plainly]


def handler(spend: Spend, usd: str) -> Agent:
    """Make an agent whose handler spends."""
    if spend in PLAIN:

        def work(_message: Text, ctx: Context) -> Text:
            spend(ctx, usd)
            return Text("done")

        return agent("worker")(work)

    async def work_async(_message: Text, ctx: Context) -> Text:
        await spend(ctx, usd)
        return Text("done")

    return agent("worker")(work_async)


def tool_user(spend: Spend, usd: str) -> Agent:
    """Make an agent whose model has a tool that spends."""
    if spend in PLAIN:

        def render(ctx: Context) -> str:
            """Render it."""
            spend(ctx, usd)
            return "rendered"

        return llm_agent("worker", tools=[render])

    async def render_async(ctx: Context) -> str:
        """Render it."""
        await spend(ctx, usd)
        return "rendered"

    return llm_agent("worker", tools=[render_async])


def answer(request: Any) -> ScriptedAnswer:
    """Want the tool once, where there is one."""
    if request.tools and len(request.messages) == 1:
        return ScriptedAnswer(text="", tool_calls=(ToolCall("1", request.tools[0].name, "{}"),))
    return ScriptedAnswer(text="done")


def make(worker: Agent, usd: str = "1", **options: Any) -> tuple[Organism, list[UsageEvent]]:
    options.setdefault("limits", BudgetPlan(thread=Limits(usd=usd), final_reserve_percent=0))
    organism = Organism(
        [worker],
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(answer)},
        provider_kinds={"scripted": "local"},
        clock=VirtualClock(),
        wait_s=1,
        **options,
    )
    events: list[UsageEvent] = []
    organism.usage.subscribe(lambda event: events.append(event) if event.tool else None, UsageEvent)
    return organism, events


@pytest.mark.parametrize("kind", [handler, tool_user])
@pytest.mark.parametrize("spend", [*COROUTINES, *PLAIN])
def test_each_way_charges_the_thread_with_its_agent_and_labels(
    kind: Callable[[Spend, str], Agent], spend: Spend
) -> None:
    """What a function spends stands on its thread, and its event says what for, of which agent and which labels."""

    async def main() -> None:
        organism, events = make(kind(spend, "0.07"))
        async with organism:
            result = await organism.run("go", labels={"tenant": "acme"})
        assert result.budget.spent.cost_nanousd == 7 * CENT
        assert result.text == "done"
        (event,) = events
        told = (event.tool, event.agent, event.thread_id, event.labels, event.cost_nanousd)
        assert told == ("render", "worker", result.thread_id, {"tenant": "acme"}, 7 * CENT)

    run(main)


@pytest.mark.parametrize("kind", [handler, tool_user])
@pytest.mark.parametrize("spend", [hold, hold_plainly])
def test_what_does_not_fit_waits_for_a_raise_in_each_way(kind: Callable[[Spend, str], Agent], spend: Spend) -> None:
    """A function whose hold is refused is run again when there is budget, and nothing is bought before."""

    async def main() -> None:
        organism, events = make(kind(spend, "2"))
        async with organism:
            thread = await organism.open_thread("go")
            await anyio.sleep(10)
            assert organism.thread(thread).status == "blocked"
            assert not events
            await organism.set_limits(thread, Limits(usd=3))
            result = await organism.wait(thread)
        assert result.budget.spent.cost_nanousd == 200 * CENT
        assert organism.budgets.statistics().open_holds == 0

    run(main)


@pytest.mark.parametrize("kind", [handler, tool_user])
@pytest.mark.parametrize("spend", [hold, hold_plainly])
def test_where_it_is_to_fail_the_function_gets_the_refusal(kind: Callable[[Spend, str], Agent], spend: Spend) -> None:
    """With `on_exhausted: fail` the refusal is raised where the block is entered."""
    refused: list[BudgetExhaustedError] = []

    async def note(ctx: Context, usd: str) -> None:
        try:
            await hold(ctx, usd)
        except BudgetExhaustedError as error:
            refused.append(error)

    def note_plainly(ctx: Context, usd: str) -> None:
        try:
            hold_plainly(ctx, usd)
        except BudgetExhaustedError as error:
            refused.append(error)

    async def main() -> None:
        plain = spend is hold_plainly
        PLAIN.append(note_plainly)
        organism, _ = make(kind(note_plainly if plain else note, "2"), on_exhausted="fail")
        PLAIN.remove(note_plainly)
        async with organism:
            result = await organism.run("go")
        assert result.budget.spent.cost_nanousd == 0

    run(main)
    assert [error.refusal.dimension for error in refused] == ["usd"]


def test_a_name_and_an_amount_are_enough_or_one_of_them() -> None:
    """What is paid for is the agent's work unless it is named; tokens alone may be spent too."""

    async def work(_message: Text, ctx: Context) -> None:
        ctx.charge(usd="0.01")
        async with ctx.hold(usd="0.02"):
            pass
        async with ctx.hold(tokens=5, what="index"):
            pass

    async def main() -> None:
        organism, events = make(agent("worker")(work))
        async with organism:
            result = await organism.run("go")
        assert (result.budget.spent.cost_nanousd, result.budget.spent.tokens) == (3 * CENT, 5)
        assert [event.tool for event in events] == ["worker", "worker", "index"]

    run(main)


def test_a_coroutine_that_writes_with_is_told_to_write_async_with() -> None:
    """`with` in a coroutine would have the event loop wait for itself; it is refused by name, and nothing is held."""

    async def work(_message: Text, ctx: Context) -> None:
        with pytest.raises(ConfigError, match="async with"):
            ctx.hold(usd="0.1").__enter__()

    async def main() -> None:
        organism, _ = make(agent("worker")(work))
        async with organism:
            result = await organism.run("go")
        assert result.budget.spent.cost_nanousd == 0

    run(main)


@pytest.mark.parametrize("kind", [handler, tool_user])
def test_a_process_that_dies_in_the_block_of_a_plain_function_has_charged_what_was_held(
    kind: Callable[[Spend, str], Agent],
) -> None:
    """What may have been bought is paid for: the next process charges it, and the function buys again."""

    async def main() -> None:
        began = anyio.Event()
        goes_on = anyio.Event()

        async def sleep_in_loop() -> None:
            began.set()
            await goes_on.wait()

        def slow(ctx: Context, usd: str) -> None:
            with ctx.hold(usd=usd, what="render") as block:
                anyio.from_thread.run(sleep_in_loop)
                block.settle(usd="0.01")

        journal = CrashingJournal()
        PLAIN.append(slow)
        organism, _ = make(kind(slow, "0.3"), journal=journal)
        async with organism:
            await organism.open_thread("go", thread_id="t")
            await began.wait()
            await organism.journal.commit()
            kept = journal.kept
            journal.kept = type(kept)(capacity=1)
            goes_on.set()
        again, _ = make(kind(slow, "0.3"), journal=CrashingJournal(kept))
        PLAIN.remove(slow)
        async with again:
            result = await again.wait("t")
        assert result.budget.spent.cost_nanousd == 31 * CENT

    run(main)
