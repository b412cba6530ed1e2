"""What an organism does when money runs short: the last word of an agent, and what waits for a day to pass."""

from datetime import timedelta
from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, BudgetPlan, BudgetWarning, Context, Limits, Organism, Text, agent, llm_agent
from organism.agents.agent import Agent
from organism.agents.llm_agent import LLMSettings
from organism.errors import Refusal
from organism.runtime.bounds import Bounds
from organism.testing import ScriptedAnswer, ScriptedProvider, SequentialIds, VirtualClock, run
from organism.usage.events import BudgetExceeded, DeadLetterEvent, ThreadBlocked, ThreadResumed, ThresholdCrossed


def make(*agents: Agent, provider: ScriptedProvider, **options: Any) -> Organism:
    return Organism(
        agents,
        models={"main": "scripted/m"},
        providers={"scripted": provider},
        clock=VirtualClock(),
        ids=SequentialIds(),
        provider_kinds={"scripted": "local"},
        wait_s=1,
        **options,
    )


def test_llm_agent_reads_the_final_warning_and_wraps_up_from_the_slice() -> None:
    """What is kept back pays for one last call, whose prompt says that the budget is at its end; then all waits."""

    async def main() -> None:
        provider = ScriptedProvider(lambda _request: ScriptedAnswer(text="word " * 100))
        writer = llm_agent("writer", settings=LLMSettings(max_output_tokens=100, memory_tokens=0))
        organism = make(
            writer, provider=provider, limits=BudgetPlan(thread=Limits(tokens=1000), final_reserve_percent=30)
        )
        told: list[ThresholdCrossed] = []
        organism.usage.subscribe(told.append, ThresholdCrossed)  # type: ignore[arg-type]
        async with organism:
            thread = await organism.open_thread("go " * 10)
            for _ in range(20):
                await organism.send(thread, "more")
            with pytest.raises(BudgetExhaustedError) as refused:
                await organism.wait(thread)
            budget = organism.budgets.budget(thread)

        prompts = [str(request.messages[-1].content) for request in provider.requests]
        assert "Give your final answer now" in prompts[-1]
        assert not any("final answer" in prompt for prompt in prompts[:-1])
        assert [event.level for event in told][-1] == "final"
        assert sum(event.level == "final" for event in told) == 1
        assert 700 < budget.spent.tokens <= 1000
        assert refused.value.shortfall.final_reserve == 300

    run(main)


def test_handler_that_is_told_of_the_refusal_may_make_its_last_call() -> None:
    """With ``on_exhausted: fail`` the handler catches the refusal and has one call left to sum up with."""

    async def main() -> None:
        provider = ScriptedProvider(lambda request: "word " * request.max_output_tokens)
        seen: list[str] = []

        @agent()
        async def worker(message: Text | BudgetWarning, ctx: Context) -> Text | None:
            if isinstance(message, BudgetWarning):
                return None
            for number in range(100):
                try:
                    await ctx.llm.complete(f"work {number}", max_output_tokens=50)
                except BudgetExhaustedError:
                    break
            seen.append((await ctx.llm.complete("sum up", max_output_tokens=20)).text)
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await ctx.llm.complete("and one more", max_output_tokens=20)
            return Text("done")

        plan = BudgetPlan(thread=Limits(tokens=1000), final_reserve_percent=10)
        organism = make(worker, provider=provider, limits=plan, on_exhausted="fail")
        async with organism:
            result = await organism.run("go")

        assert len(seen) == 1
        assert result.outputs == (Text("done"),)
        assert result.budget.spent.tokens <= 1000

    run(main)


def test_children_cannot_take_their_parent_s_last_word() -> None:
    """However greedy its children are, a thread keeps enough to sum up."""

    async def main() -> None:
        provider = ScriptedProvider(lambda request: "word " * request.max_output_tokens)

        @agent()
        async def greedy(message: Text, ctx: Context) -> Text:
            for number in range(100):
                try:
                    await ctx.llm.complete(f"more {number}", max_output_tokens=50)
                except BudgetExhaustedError:
                    break
            return Text("had enough")

        @agent(peers=["greedy"])
        async def parent(message: Text | BudgetWarning, ctx: Context) -> Text | None:
            if isinstance(message, BudgetWarning):
                return None
            await ctx.spawn("greedy", Text("eat"))
            try:
                answer = await ctx.llm.complete("sum up", max_output_tokens=20)
            except BudgetExhaustedError:
                answer = await ctx.llm.complete("sum up", max_output_tokens=20)
            return Text(answer.text)

        plan = BudgetPlan(thread=Limits(tokens=1000), final_reserve_percent=10)
        organism = make(parent, greedy, provider=provider, limits=plan, on_exhausted="fail")
        async with organism:
            result = await organism.run("go")

        assert result.outcome == "completed"
        assert result.outputs != ()
        assert 800 < result.budget.spent.tokens <= 1000

    run(main)


def test_message_that_waits_for_the_day_goes_on_with_the_next_one() -> None:
    """A day's limit parks what it refuses, and the new day lets it go on by itself, charged to the new day."""

    async def main() -> None:
        provider = ScriptedProvider(["a b c"])
        writer = llm_agent("writer", settings=LLMSettings(max_output_tokens=20))
        organism = make(
            writer, provider=provider, limits=BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=68)})
        )
        told: list[object] = []
        organism.usage.subscribe(told.append, ThreadBlocked, ThreadResumed)
        async with organism:
            await organism.run("go")
            thread = await organism.open_thread("go")
            with pytest.raises(BudgetExhaustedError, match="organism@day:2026-01-01"):
                await organism.wait(thread)
            await anyio.sleep(timedelta(days=1).total_seconds() + 60)
            result = await organism.wait(thread)
            days = [state.account for state in organism.budgets.states() if state.account.startswith("organism@")]

        assert result.outputs == (Text("a b c"),)
        assert [type(event) for event in told] == [ThreadBlocked, ThreadResumed]
        assert days == ["organism@day:2026-01-01", "organism@day:2026-01-02"]

    run(main)


@pytest.mark.parametrize("attempts", [2, 3, 5])
def test_handler_that_lets_the_refusal_pass_is_run_again_with_the_warning(attempts: int) -> None:
    """With ``on_exhausted: fail`` a refusal is told, then comes the warning, then the last call: no dead letter."""

    async def main() -> None:
        provider = ScriptedProvider(lambda request: "word " * request.max_output_tokens)
        order: list[str] = []

        @agent()
        async def worker(message: Text | BudgetWarning, ctx: Context) -> Text | None:
            if isinstance(message, BudgetWarning):
                order.append(message.level)
                return None
            order.append(message.text)
            for number in range(100):
                if order[-2:] == ["final", "go"]:
                    return Text((await ctx.llm.complete("sum up", max_output_tokens=20)).text)
                await ctx.llm.complete(f"work {number}", max_output_tokens=50)
            return None

        plan = BudgetPlan(thread=Limits(tokens=1000), final_reserve_percent=10)
        organism = make(worker, provider=provider, limits=plan, on_exhausted="fail", bounds=Bounds(attempts=attempts))
        told: list[Any] = []
        organism.usage.subscribe(told.append, BudgetExceeded, DeadLetterEvent)
        async with organism:
            result = await organism.run("go")

        assert order[0] == "go"
        assert order[-2:] == ["final", "go"]
        assert result.outputs
        assert [type(event) for event in told] == [BudgetExceeded]
        assert told[0].shortfall.final_reserve == 100

    run(main)


def test_forged_last_call_is_not_run_for_ever() -> None:
    """A handler that raises the refusal itself, again and again, is given up on like any other."""

    async def main() -> None:
        runs: list[int] = []

        @agent()
        async def forger(message: Text, ctx: Context) -> None:
            runs.append(1)
            raise BudgetExhaustedError(Refusal("thread:x", "tokens", 1, 1, 0, 1, 1, final_reserve_open=True), "x")

        async with make(forger, provider=ScriptedProvider(), bounds=Bounds(attempts=3)) as organism:
            result = await organism.run("go")

        assert len(runs) == 3
        assert result.outputs == ()

    run(main)
