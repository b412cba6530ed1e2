"""A loop of tools gets its last word under a limit of any scope, and none of them is passed for it."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from organism import BudgetExhaustedError, BudgetPlan, Limits, Organism, Text, agent, llm_agent
from organism.agents.context import Context
from organism.agents.llm_agent import LLMSettings
from organism.agents.tools.function_tool import tool
from organism.budget.scopes import LabelLimits, Per, PoolLimits, ScopedLimits
from organism.llm.requests import CompletionRequest
from organism.router.planning.plan import ModelPlan, Route
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run
from tests.agents.tools.test_last_word import pages, read

SWEEP = range(3_000, 18_250, 250)
"""Limits in tokens: from one that has room for little more than a last call to one of fifteen rounds."""


def per(period: Per) -> Callable[[Limits], ScopedLimits]:
    return lambda limits: ScopedLimits(limits, period)


def windowed(window: Per) -> Callable[[Limits], BudgetPlan]:
    return lambda limits: BudgetPlan(thread=Limits(), windows={window: limits})


def labelled(limits: Limits) -> BudgetPlan:
    return BudgetPlan(thread=Limits(), labels={"tenant": LabelLimits(each=ScopedLimits(limits, "day"))})


def pooled(limits: Limits) -> BudgetPlan:
    pool = PoolLimits(frozenset({"acme"}), ScopedLimits(limits, "month"))
    return BudgetPlan(thread=Limits(), labels={"tenant": LabelLimits(each=ScopedLimits(Limits()), pools={"all": pool})})


SCOPES: dict[str, Callable[[Limits], BudgetPlan]] = {
    "thread": lambda limits: BudgetPlan(thread=limits),
    "day": windowed("day"),
    "hour": windowed("hour"),
    "rolling": windowed("5h"),
    "label": labelled,
    "pool": pooled,
    "agent": lambda limits: BudgetPlan(thread=Limits(), agents={"reader": ScopedLimits(limits, "day")}),
    "agent in a thread": lambda limits: BudgetPlan(thread=Limits(), agents={"reader": ScopedLimits(limits)}),
    "model": lambda limits: BudgetPlan(thread=Limits(), models={"main": ScopedLimits(limits, "day")}),
    "provider": lambda limits: BudgetPlan(thread=Limits(), providers={"openai": ScopedLimits(limits, "day")}),
}


def organism_of(plan: BudgetPlan, *others: Any, **options: Any) -> Organism:
    reader = llm_agent("reader", tools=[read], settings=LLMSettings(tool_rounds=40, max_output_tokens=400))
    return Organism(
        [*others, reader],
        models={"main": "openai/gpt-4o"},
        providers={"openai": ScriptedProvider(pages, name="openai")},
        limits=plan,
        clock=VirtualClock(),
        on_exhausted="fail",
        **options,
    )


def landed(plan: BudgetPlan, *others: Any) -> bool:
    """Whether the reader has its last word from all that it has read, and no limit is passed."""

    async def main() -> bool:
        async with organism_of(plan, *others) as organism:
            result = await organism.run("read the book", labels={"tenant": "acme"})
            states = (result.budget, *organism.budgets.states())
        for state in states:
            assert state.limits.tokens is None or state.spent.tokens <= state.limits.tokens
            assert state.limits.cost_nanousd is None or state.spent.cost_nanousd <= state.limits.cost_nanousd
        return result.outcome == "completed" and [type(each) for each in result.outputs] == [Text]

    return run(main)


@pytest.mark.parametrize("scope", SCOPES)
def test_last_word_lands_under_a_limit_of_any_scope(scope: str) -> None:
    """However much a limit leaves, no loop under it is cut off: it leaves room for its last call with each round."""
    cut_off = [size for size in SWEEP if not landed(SCOPES[scope](Limits(tokens=size)))]

    assert cut_off == []


@pytest.mark.parametrize("scope", ["thread", "day", "label"])
def test_last_word_lands_under_a_limit_of_money(scope: str) -> None:
    """So it is in dollars."""
    cut_off = [size for size in SWEEP[::3] if not landed(SCOPES[scope](Limits(usd=str(size / 400_000))))]

    assert cut_off == []


@pytest.mark.parametrize("calls", [1, 2, 4])
@pytest.mark.parametrize("scope", SCOPES)
def test_last_word_lands_under_a_limit_of_calls(scope: str, calls: int) -> None:
    """A limit of one call has room for the last one alone; where there is one more, a page is read before it."""
    assert landed(SCOPES[scope](Limits(calls=calls)))


@pytest.mark.parametrize("percent", [5, 20, 50])
@pytest.mark.parametrize("apart", [-3_000, -1_000, -300, -100, 0, 100, 300, 1_000, 3_000])
def test_last_word_lands_where_two_limits_end_together(percent: int, apart: int) -> None:
    """The one that is named is not the only one that is near its end: what the thread keeps is opened as well."""
    cut_off = [
        size
        for size in range(6_000, 18_000, 900)
        if not landed(
            BudgetPlan(
                thread=Limits(tokens=size),
                windows={"day": Limits(tokens=max(3_000, size + apart))},
                final_reserve_percent=percent,
            )
        )
    ]

    assert cut_off == []


def test_loop_goes_to_another_provider_before_its_last_word() -> None:
    """A provider's own limit ends no loop while the model's next provider has room."""

    async def main() -> tuple[int, int]:
        first, second = ScriptedProvider(pages, name="openai"), ScriptedProvider(pages, name="azure")
        reader = llm_agent("reader", tools=[read], settings=LLMSettings(tool_rounds=12, max_output_tokens=400))
        plan = BudgetPlan(thread=Limits(), providers={"openai": ScopedLimits(Limits(tokens=9_000), "day")})
        organism = Organism(
            [reader],
            models={"main": ModelPlan(name="main", routes=(Route("openai", "gpt-4o"), Route("azure", "gpt-4o")))},
            providers={"openai": first, "azure": second},
            limits=plan,
            clock=VirtualClock(),
        )
        async with organism:
            result = await organism.run("read the book")
        assert result.outputs == (Text("read 11"),)
        return len(first.requests), len(second.requests)

    at_first, at_second = run(main)
    assert at_first > 1
    assert at_first + at_second == 12


def test_carved_child_has_its_last_word() -> None:
    """What was carved for a child is a limit like any other: its loop ends with an answer, and its parent has it."""

    def parent_of(tokens: int) -> Any:
        @agent(peers=["reader"])
        async def parent(message: Text, ctx: Context) -> Text:
            result = await ctx.spawn("reader", message, limits=Limits(tokens=tokens), budget="carved")
            return Text(str(len(result.outputs)))

        return parent

    plan = BudgetPlan(thread=Limits(tokens=100_000), windows={"day": Limits(tokens=100_000)})
    cut_off = [size for size in SWEEP if not landed(plan, parent_of(size))]

    assert cut_off == []


def test_agent_without_tools_uses_the_whole_day() -> None:
    """Nothing of a day's limit is kept from what has no last call: its calls go on as long as the answer fits."""

    async def main() -> int:
        provider = ScriptedProvider(lambda request: "word " * request.max_output_tokens)
        writer = llm_agent("writer", settings=LLMSettings(max_output_tokens=50, memory_tokens=0))
        organism = Organism(
            [writer],
            models={"main": "scripted/m"},
            providers={"scripted": provider},
            provider_kinds={"scripted": "local"},
            limits=BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=1_000)}),
            clock=VirtualClock(),
            on_exhausted="fail",
        )
        async with organism:
            for _ in range(40):
                await organism.run("more")
            (day,) = [state for state in organism.budgets.states() if state.account.startswith("organism@")]
            return day.spent.tokens

    assert run(main) > 1_000 - 130  # which is what a call takes


def crowd(tokens: int, loops: int, **options: Any) -> tuple[list[bool], int]:
    """Have many threads read at once under one limit per day; return who has an answer, and what is left of the day."""

    @tool(name="read")
    async def read_slowly(page: int) -> str:
        """Read a page of a long book."""
        await anyio.sleep(0.7)
        return read(page)

    def slowly(request: CompletionRequest) -> ScriptedAnswer:
        return replace(pages(request), latency_s=0.5)

    async def main() -> tuple[list[bool], int]:
        settings = LLMSettings(tool_rounds=40, max_output_tokens=400)
        reader = llm_agent("reader", tools=[read_slowly], settings=settings)
        organism = Organism(
            [reader],
            models={"main": "openai/gpt-4o"},
            providers={"openai": ScriptedProvider(slowly, name="openai")},
            limits=windowed("day")(Limits(tokens=tokens)),
            clock=VirtualClock(),
            **options,
        )
        async with organism:
            threads = [await organism.open_thread("read the book") for _ in range(loops)]
            answered: list[bool] = []
            for thread in threads:
                try:
                    result = await organism.wait(thread)
                    answered.append([type(each) for each in result.outputs] == [Text])
                except BudgetExhaustedError:
                    answered.append(False)
            await anyio.sleep(60)
            (day,) = [state for state in organism.budgets.states() if state.account.startswith("organism@")]
        return answered, tokens - day.spent.tokens

    return run(main)


@pytest.mark.parametrize("loops", [2, 5, 12])
@pytest.mark.parametrize("tokens", [15_000, 40_000])
def test_loops_side_by_side_leave_each_other_their_last_words(tokens: int, loops: int) -> None:
    """What one has left for its last call no other takes, between its rounds neither."""
    answered, left = crowd(tokens, loops)

    assert all(answered)
    assert left >= 0


def test_who_comes_late_has_what_the_others_leave() -> None:
    """A loop that finds all that is left kept for others waits until they end, and goes on by itself with the rest."""
    answered, left = crowd(6_000, 40)

    assert answered.count(True) >= 33
    assert 0 <= left < 371  # what a first call with its note takes


def test_paid_tools_leave_the_last_word() -> None:
    """Their prices are held on the same limits: none takes what the last call of its loop needs."""

    def landed_with(dollars: float) -> bool:
        @tool(name="read", price="0.01")
        def priced(page: int) -> str:
            """Read a page of a long book."""
            return read(page)

        async def main() -> bool:
            reader = llm_agent("reader", tools=[priced], settings=LLMSettings(tool_rounds=40, max_output_tokens=400))
            organism = Organism(
                [reader],
                models={"main": "openai/gpt-4o"},
                providers={"openai": ScriptedProvider(pages, name="openai")},
                limits=windowed("day")(Limits(usd=str(dollars))),
                clock=VirtualClock(),
                on_exhausted="fail",
            )
            async with organism:
                result = await organism.run("read the book")
            return [type(each) for each in result.outputs] == [Text]

        return run(main)

    assert [mils for mils in range(150, 500, 7) if not landed_with(mils / 10_000)] == []
