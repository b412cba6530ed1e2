"""The last call of an agent with tools keeps what it has paid for, and lands."""

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from organism import BudgetExhaustedError, BudgetPlan, Limits, Organism, Text, llm_agent
from organism.agents.llm_agent import LLMSettings
from organism.agents.tools.last_word import NOTE, last_word
from organism.amounts import TokenUsage
from organism.llm.requests import ChatMessage, CompletionRequest, ImagePart, TextPart, ToolCall, ToolResult
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.usage.events import ThresholdCrossed

ran: list[int] = []


def read(page: int) -> str:
    """Read a page of a long book."""
    ran.append(page)
    return f"page {page}: " + "lorem ipsum dolor sit amet " * 40


def pages(request: CompletionRequest) -> ScriptedAnswer:
    """Want the next page as long as tools may be asked for, then answer with how many were read."""
    read_so_far = sum(isinstance(part, ToolResult) for turn in request.messages for part in turn.parts)
    usage = TokenUsage(input=sum(len(text) for text in request.texts()) // 4, output=20)
    if request.tool_choice == "none":
        return ScriptedAnswer(text=f"read {read_so_far}", usage=usage)
    call = ToolCall(f"c{read_so_far}", "read", f'{{"page": {read_so_far}}}')
    return ScriptedAnswer(tool_calls=(call,), usage=usage)


def played(
    limits: Limits | BudgetPlan,
    script: Callable[[CompletionRequest], ScriptedAnswer] = pages,
    rounds: int = 40,
    **options: Any,
) -> tuple[Any, ScriptedProvider, list[str]]:
    async def main() -> tuple[Any, ScriptedProvider, list[str]]:
        ran.clear()
        provider = ScriptedProvider(script, name="openai")
        reader = llm_agent("reader", tools=[read], settings=LLMSettings(tool_rounds=rounds, max_output_tokens=400))
        levels: list[str] = []
        organism = Organism(
            [reader],
            models={"main": "openai/gpt-4o"},
            providers={"openai": provider},
            limits=limits,
            clock=VirtualClock(),
            **options,
        )
        organism.usage.subscribe(lambda event: levels.append(event.level), ThresholdCrossed)  # type: ignore[attr-defined]
        async with organism:
            return await organism.run("read the book"), provider, levels

    return run(main)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(tokens=6_000),
        Limits(tokens=12_000),
        Limits(tokens=20_000),
        Limits(usd="0.03"),
        Limits(calls=4),
        Limits(tokens=9_000, usd="0.05", calls=20),
        # With a reserve of 0 nothing is kept back: it lands where what is left has room for it.
        BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=9_500)}, final_reserve_percent=0),
    ],
    ids=str,
)
@pytest.mark.parametrize("on_exhausted", ["park", "fail"])
def test_last_call_keeps_the_paid_results_and_lands(limits: Limits | BudgetPlan, on_exhausted: Any) -> None:
    """However tight the limit, the model answers from all pages it has read: none is read twice, no call paid twice."""
    result, provider, levels = played(limits, on_exhausted=on_exhausted)

    assert result.outcome == "completed"
    assert result.outputs == (Text(f"read {len(ran)}"),)
    assert ran == list(range(len(ran)))
    assert len(ran) > 1
    assert len(provider.requests) == len(ran) + 1
    last = provider.requests[-1]
    assert last.tool_choice == "none"
    assert last.messages[-1].text.endswith(NOTE)
    assert sum(NOTE in turn.text for request in provider.requests for turn in request.messages) == 1
    assert levels[-1] == "final"
    assert len(levels) == len(set(levels))
    spent, limit = result.budget.spent, result.budget.limits
    assert limit.tokens is None or spent.tokens <= limit.tokens
    assert limit.cost_nanousd is None or spent.cost_nanousd <= limit.cost_nanousd
    assert limit.calls is None or spent.calls <= limit.calls


def test_loop_that_ends_by_itself_is_not_hurried() -> None:
    """With room for another call nothing is said, and tools may be asked for to the last round."""
    _, provider, levels = played(Limits(tokens=10_000_000))

    assert levels == []
    assert all(NOTE not in turn.text for request in provider.requests for turn in request.messages)


def test_message_after_the_last_word_waits_and_a_raise_lets_it_go_on() -> None:
    """The thread says its last word once; the next message waits for budget, and pays nothing twice after the raise."""

    async def main() -> tuple[list[Any], int]:
        ran.clear()
        provider = ScriptedProvider(pages, name="openai")
        reader = llm_agent("reader", tools=[read], settings=LLMSettings(tool_rounds=3, memory_tokens=0))
        organism = Organism(
            [reader], models={"main": "openai/gpt-4o"}, providers={"openai": provider}, clock=VirtualClock(),
            limits=Limits(calls=3),
        )  # fmt: skip
        async with organism:
            thread = await organism.open_thread("one")
            await organism.send(thread, "two")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await organism.wait(thread)
            await anyio.sleep(60)
            await organism.set_limits(thread, Limits(calls=10))
            result = await organism.wait(thread)
            return list(result.outputs), len(provider.bill)

    outputs, paid = run(main)
    assert outputs == [Text("read 2"), Text("read 2")]
    assert paid == 6


def conversation(*sizes: int) -> CompletionRequest:
    turns: list[ChatMessage] = [ChatMessage("user", "go")]
    for number, size in enumerate(sizes):
        turns.append(ChatMessage("assistant", (ToolCall(f"c{number}", "read", "{}"),)))
        turns.append(ChatMessage("user", (ToolResult(f"c{number}", f"{number}" * size),)))
    return CompletionRequest(model="m", messages=tuple(turns), max_output_tokens=100)


def kept(request: CompletionRequest) -> list[str]:
    return [str(part.content) for turn in request.messages for part in turn.parts if isinstance(part, ToolResult)]


def characters(request: CompletionRequest) -> int:
    return sum(len(text) for text in request.texts())


@pytest.mark.parametrize(
    ("room", "trimmed"), [(20_000, []), (8_000, [1]), (4_300, [0, 1]), (2_000, [0, 1, 2]), (10, [0, 1, 2])]
)
def test_results_are_trimmed_oldest_and_largest_first_and_marked(room: int, trimmed: list[int]) -> None:
    """Those of earlier rounds go first, of these the largest; each says how much of it is left out."""
    request = conversation(2_000, 5_000, 3_000)

    last = last_word(request, lambda each: characters(each) <= room)

    assert [place for place, text in enumerate(kept(last)) if "[... trimmed: " in text] == trimmed
    assert [len(text) for place, text in enumerate(kept(last)) if place not in trimmed] == [
        size for place, size in enumerate((2_000, 5_000, 3_000)) if place not in trimmed
    ]
    assert room == 10 or characters(last) <= room
    assert room == 10 or not trimmed or characters(last) > room - 200
    assert [turn.role for turn in last.messages] == [turn.role for turn in request.messages]
    assert last.messages[-1].parts[-1] == TextPart(NOTE)


def test_model_that_asks_for_tools_in_its_last_word_is_not_waited_for() -> None:
    """Tools it may not ask for are not run, the message does not wait for budget, and what it said is the answer."""

    def disobeys(request: CompletionRequest) -> ScriptedAnswer:
        asked = pages(replace(request, tool_choice="auto"))
        return replace(asked, text="3 pages so far") if request.tool_choice == "none" else asked

    result, provider, _ = played(Limits(calls=4), script=disobeys)

    assert result.outcome == "completed"
    assert result.outputs == (Text("3 pages so far", "length"),)
    assert (len(ran), len(provider.requests)) == (3, 4)


def test_words_of_the_last_round_are_the_answer_though_it_asks_for_tools() -> None:
    """All rounds are paid for: what the model has said beside a tool it may not ask for is not thrown away."""

    def disobeys(request: CompletionRequest) -> ScriptedAnswer:
        return replace(pages(replace(request, tool_choice="auto")), text="this much")

    result, _, _ = played(Limits(tokens=10_000_000), script=disobeys, rounds=3)

    assert result.outputs == (Text("this much", "length"),)
    assert len(ran) == 2


def test_pictures_of_results_are_left_out_before_words_and_marked() -> None:
    """A screenshot is the largest part of a result: it goes first, and the model reads that it was there."""
    request = conversation(2_000, 3_000)
    picture = ToolResult("c0", (TextPart("a page"), ImagePart("image/png", b"x" * 50_000)))
    turns = list(request.messages)
    turns[2] = ChatMessage("user", (picture,))
    request = replace(request, messages=tuple(turns))

    last = last_word(request, lambda each: len(msgspec.json.encode(each)) <= 10_000)

    assert kept(last) == ["a page [... trimmed: 1 part that is no text left out]", "1" * 3_000]
