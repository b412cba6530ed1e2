"""An answer that comes in very many pieces is read in time that grows with it, and no faster."""

from typing import Any

import pytest

from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.openai_responses.written_text import WrittenText
from organism.formats.vendors import VENDORS
from organism.llm.deltas import ReasoningDelta, RefusalDelta, ToolCallDelta, Unshown
from organism.llm.requests import ChatMessage, CompletionRequest, Tool

REQUEST = CompletionRequest(
    model="m", messages=(ChatMessage("user", "hi"),), max_output_tokens=100, tools=(Tool("f", "", {"type": "object"}),)
)
KINDS = {
    "output_text": ("message", "words and words"),
    "refusal": ("message", "never"),
    "reasoning_text": ("reasoning", "a thought"),
    "function_call_arguments": ("function_call", '{"a": "' + "x" * 2000 + '"}'),
    "custom_tool_call_input": ("custom_tool_call", "free text"),
}


def read(kind: str, pieces: list[str], *, indices: tuple[int, ...] = (0,)) -> tuple[Any, list[Any]]:
    """Read an item, or several of them side by side, in these pieces; return the answer and what was shown of it."""
    shown: list[Any] = []
    reader = ResponsesReader(REQUEST, VENDORS["openai"], shown.append)
    for index in indices:
        item = {"type": KINDS[kind][0], "id": f"i{index}", "call_id": f"c{index}", "name": "f"}
        reader.event({"type": "response.output_item.added", "output_index": index, "item": item})
    for piece in pieces:
        for index in indices:
            at = {"output_index": index, "item_id": f"i{index}", "content_index": 0}
            reader.event({"type": f"response.{kind}.delta", "delta": piece, **at})
    reader.event({"type": "response.completed", "response": {"status": "completed", "output": []}})
    return reader.completion(), shown


def text_of(shown: list[Any]) -> str:
    texts = (
        each.arguments if isinstance(each, ToolCallDelta) else each.text if hasattr(each, "text") else each
        for each in shown
        if isinstance(each, str | RefusalDelta | ReasoningDelta | ToolCallDelta)
    )
    return "".join(texts)


@pytest.mark.parametrize("indices", [(0,), (0, 1)], ids=["alone", "side by side"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_is_joined_as_often_for_many_pieces_as_for_few(
    kind: str, indices: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two megabytes, a character at a time, do not hold the process for minutes: no piece has all before it joined."""
    joins = 0
    joined = WrittenText.__str__

    def counted(text: WrittenText) -> str:
        nonlocal joins
        joins += 1
        return joined(text)

    monkeypatch.setattr(WrittenText, "__str__", counted)
    needed = []
    for count in (1500, 3000):
        joins = 0
        read(kind, ["{", *("x" * count)], indices=indices)
        needed.append(joins)

    assert needed[0] == needed[1] < 100


@pytest.mark.parametrize("size", [1, 7, 5000])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shown_and_answered_does_not_depend_on_the_pieces(kind: str, size: int) -> None:
    """However an answer is cut, it is the same answer, and what was shown of it is its beginning."""
    whole = KINDS[kind][1]

    answer, shown = read(kind, [whole[at : at + size] for at in range(0, len(whole), size)])

    assert answer == read(kind, [whole])[0]
    if kind == "custom_tool_call_input":  # free text is shown when it is whole, and no JSON before
        assert "".join(each.text for each in shown if isinstance(each, Unshown)) == whole
    else:
        assert text_of(shown) == whole


def test_text_of_parts_is_joined_in_their_order_however_it_came() -> None:
    """Parts that come out of order, are added to and replaced, read as one text at any time."""
    text = WrittenText()

    assert text.add("b", 1)
    assert not text.add("a", 0)
    assert (str(text), text.length, text.first) == ("ab", 2, "a")
    assert text.add("c", 1)
    text.replace("xyz", 0)
    assert (str(text), text.length, text.first, text.part(1), text.part(7)) == ("xyzbc", 5, "x", "bc", "")
