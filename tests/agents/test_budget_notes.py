"""``budget: show``: a model reads in every round what is left, and a second run asks just what the first one asked."""

import pytest

from organism import BudgetExhaustedError, Limits, LLMSettings, Organism, llm_agent
from organism.agents.budget_notes import budget_left
from organism.amounts import Amounts, BudgetState
from organism.llm.requests import CompletionRequest, ToolCall, ToolResult
from organism.providers import ScriptedProvider
from organism.testing import ScriptedAnswer, VirtualClock, run


def look_up() -> str:
    """Look something up."""
    return "found"


class Asked:
    """A provider that wants a tool first, and what it was asked."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.provider = ScriptedProvider(self._answer)

    def _answer(self, request: CompletionRequest) -> str | ScriptedAnswer:
        self.prompts.append(request.messages[-1].text)
        if not any(isinstance(part, ToolResult) for part in request.messages[-1].parts):
            return ScriptedAnswer(tool_calls=(ToolCall("c1", "look_up", "{}"),))
        return "done"


def organism_of(asked: Asked, limits: Limits, *, show: bool) -> Organism:
    settings = LLMSettings(tools=(), max_output_tokens=20, budget="show" if show else None)
    return Organism(
        [llm_agent("writer", tools=[look_up], settings=settings)],
        models={"main": "scripted/m"},
        providers={"scripted": asked.provider},
        provider_kinds={"scripted": "local"},
        limits=limits,
        clock=VirtualClock(),
        warn_ahead=0,
    )


@pytest.mark.parametrize("show", [True, False])
def test_model_reads_what_is_left_in_every_round(show: bool) -> None:
    """With the first question and with the results of each round, in each unit that is limited; else nothing."""
    asked = Asked()

    async def main() -> None:
        async with organism_of(asked, Limits(tokens=10_000, calls=9), show=show) as organism:
            await organism.run("go")

    run(main)
    assert len(asked.prompts) == 2
    if show:
        assert asked.prompts[0] == "go\n\n[Budget left: 10,000 tokens, 9 calls.]"
        assert asked.prompts[1].startswith("[Budget left: 9,9")
        assert asked.prompts[1].endswith("tokens, 8 calls.]")
    else:
        assert asked.prompts == ["go", ""]


def test_second_run_pays_nothing_twice() -> None:
    """After a refusal and a raise more is left, but what is paid is asked as before and costs nothing again."""
    asked = Asked()

    async def main() -> None:
        async with organism_of(asked, Limits(calls=1), show=True) as organism:
            thread = await organism.open_thread("go", thread_id="th")
            with pytest.raises(BudgetExhaustedError, match="calls"):
                await organism.wait(thread)
            await organism.set_limits(thread, Limits(calls=5))
            result = await organism.wait(thread)
            assert result.budget.spent.calls == 2

    run(main)
    assert len(asked.prompts) == 2


def test_memory_does_not_keep_what_was_left_once() -> None:
    """The next message's prompt shows what is left now, and nothing of what was left before."""
    asked = Asked()

    async def main() -> None:
        async with organism_of(asked, Limits(calls=9), show=True) as organism:
            thread = await organism.open_thread("one", thread_id="th")
            await organism.send(thread, "two")
            await organism.wait(thread)

    run(main)
    assert asked.prompts[2] == "two\n\n[Budget left: 7 calls.]"
    remembered = [text for request in asked.provider.requests[2:] for _, text in request.turns if "one" in text]
    assert all("Budget" not in text for text in remembered)


def test_the_least_of_all_limits_is_what_is_left() -> None:
    """Of several limits the tightest counts, without what open calls hold; no limit says nothing."""
    day = BudgetState("organism@day:2026-01-01", Limits(tokens=100, calls=7), Amounts(tokens=40), Amounts(tokens=10))
    thread = BudgetState("thread:th", Limits(tokens=60), Amounts(tokens=5), Amounts())

    assert budget_left((day, thread)) == "[Budget left: 50 tokens, 7 calls.]"
    assert budget_left((BudgetState("thread:th", Limits(), Amounts(), Amounts()),)) == ""
