"""A replay knows what a loop of tools leaves for its last word, and that no round comes after it."""

from typing import Any

import pytest

from organism import BudgetPlan, Limits, Organism, llm_agent
from organism.agents.llm_agent import LLMSettings
from organism.amounts import TokenUsage
from organism.clock import utc
from organism.ledger.entries import AnyEntry, Reserved, stored_entries
from organism.llm.requests import CompletionRequest, ToolCall, ToolResult
from organism.pricing.book import PriceBook, ProviderPrices
from organism.stores.memory import MemoryJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, SequentialIds, VirtualClock, run
from organism.whatif.changes import Baseline, Changes
from organism.whatif.replay import replay


def read(page: int) -> str:
    """Read a page of a long book."""
    return f"page {page}: " + "lorem ipsum dolor sit amet " * 20


def pages(request: CompletionRequest) -> ScriptedAnswer:
    """Want ten pages, or as many as tools may be asked for."""
    found = sum(isinstance(part, ToolResult) for turn in request.messages for part in turn.parts)
    usage = TokenUsage(input=sum(len(text) for text in request.texts()) // 4, output=20)
    if request.tool_choice == "none" or found == 10:
        return ScriptedAnswer(text=f"read {found}", usage=usage)
    return ScriptedAnswer(tool_calls=(ToolCall(f"c{found}", "read", f'{{"page": {found}}}'),), usage=usage)


def lived(limits: Limits) -> tuple[list[AnyEntry], Any]:
    async def main() -> tuple[list[AnyEntry], Any]:
        journal = MemoryJournal()
        organism = Organism(
            [llm_agent("reader", tools=[read], settings=LLMSettings(tool_rounds=40, max_output_tokens=400))],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider(pages)},
            provider_kinds={"scripted": "local"},
            limits=BudgetPlan(thread=limits),
            clock=VirtualClock(),
            ids=SequentialIds(),
            journal=journal,
        )
        async with organism:
            result = await organism.run("read the book")
            return [entry async for entry in stored_entries(journal)], result

    return run(main)


@pytest.mark.parametrize("tokens", [1_500, 2_500, 4_000, 6_000])
def test_a_replay_ends_a_loop_where_it_really_ends(tokens: int) -> None:
    """Under a lower limit the same rounds are made as when it is run with it, and the last one is its last word."""
    recorded, long = lived(Limits(tokens=100_000))
    really, result = lived(Limits(tokens=tokens))
    rounds = sum(isinstance(entry, Reserved) for entry in really)

    prices = ProviderPrices(PriceBook(now=lambda: utc(VirtualClock())), {})
    again = replay(
        recorded, long.thread_id, Changes(mode="enforce", limits={"tokens": tokens}), Baseline(prices=prices)
    )

    made = [call for call in again.calls if call.fate != "not_made"]
    assert result.outcome == "completed"
    assert 1 < rounds < len(again.calls)
    assert len(made) == rounds
    assert [call.fate for call in made] == ["made"] * (rounds - 1) + ["last_call"]
    assert again.stop is None
    assert again.spent.tokens <= tokens


def test_a_replay_under_the_same_limits_is_what_was_recorded() -> None:
    """Where nothing is changed nothing of a loop is otherwise, its last word included."""
    recorded, result = lived(Limits(tokens=4_000))

    prices = ProviderPrices(PriceBook(now=lambda: utc(VirtualClock())), {})
    again = replay(recorded, result.thread_id, Changes(mode="enforce"), Baseline(prices=prices))

    assert again.spent == result.budget.spent
    assert all(call.replayed == call.recorded for call in again.calls)
