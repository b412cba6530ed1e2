"""Answers with very many items take as much work for each as for the first, whoever names them and however."""

import json
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from organism.formats import server_formats
from organism.formats.answers.decoder import AnswerDecoder
from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.server_format import Meta, ServerFormat
from organism.formats.vendors import COMPATIBLE
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, DeltaRecord, ProviderPiece, ReasoningDelta, ToolCallDelta
from organism.llm.requests import VendorItem

FORMAT = server_formats.RESPONSES
ASKED = FORMAT.read({"model": "m", "input": "hi", "stream": True, "tools": [{"type": "function", "name": "f"}]}, 100)
KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "message": lambda n: {"type": "message", "content": [{"type": "output_text", "text": f"words {n} "}]},
    "function_call": lambda n: {"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": f'{{"a": {n}}}'},
    "custom_tool_call": lambda n: {"type": "custom_tool_call", "call_id": f"c{n}", "name": "g", "input": f"text {n}"},
    "reasoning": lambda n: {"type": "reasoning", "summary": [{"type": "summary_text", "text": f"thought {n}"}]},
    "web_search_call": lambda n: {"type": "web_search_call", "action": {"type": "search", "query": f"{n}"}},
}
PIECES = {
    "message": ("response.output_text.delta", "words "),
    "function_call": ("response.function_call_arguments.delta", "{"),
    "custom_tool_call": ("response.custom_tool_call_input.delta", "text "),
    "reasoning": ("response.reasoning_summary_text.delta", "thought "),
}
NAMES = {
    "by index and id": ("output_index", "id"),
    "by id": ("id",),
    "by index": ("output_index",),
    "all by one id": ("output_index", "one id"),
    "by nothing": (),
}


def executed(call: Callable[[], object]) -> int:
    """Return how many instructions of Python a call executes, whatever else the machine does meanwhile."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def events_of(kinds: list[str], names: tuple[str, ...], count: int) -> bytes:
    """Return a stream in which all items begin, then are written a piece each, then end, and stand in the whole."""
    items, placed = [], []
    for number in range(count):
        name = {"id": f"i{number}"} if "id" in names else {"id": "same"} if "one id" in names else {}
        items.append({**KINDS[kinds[number % len(kinds)]](number), **name})
        at: dict[str, Any] = {"output_index": number} if "output_index" in names else {}
        placed.append((at, {**at, "item_id": name["id"]} if name else at))
    begun = [{**item, "content": [], "arguments": "", "input": "", "summary": []} for item in items]
    events: list[dict[str, Any]] = [
        {"type": "response.output_item.added", **at, "item": item} for (at, _), item in zip(placed, begun, strict=True)
    ]
    for (_, at), item in zip(placed, items, strict=True):
        if (piece := PIECES.get(item["type"])) is not None:
            events.append({"type": piece[0], **at, "delta": piece[1]})
    events += [
        {"type": "response.output_item.done", **at, "item": item} for (at, _), item in zip(placed, items, strict=True)
    ]
    usage = {"input_tokens": 5, "output_tokens": count, "total_tokens": count + 5}
    events.append({"type": "response.completed", "response": {"status": "completed", "output": items, "usage": usage}})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()


def read(raw: bytes) -> tuple[Completion, list[ProviderPiece]]:
    told: list[ProviderPiece] = []
    decoder = AnswerDecoder("p", ResponsesReader(ASKED.request, COMPATIBLE, told.append), told.append)
    decoder.feed(raw)
    return decoder.finish(), told


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), list(KINDS)], ids=lambda kinds: "+".join(kinds)[:30])
def test_twice_as_many_items_are_twice_the_work_to_read(kinds: list[str], names: str) -> None:
    """An answer of tens of thousands of items is read in seconds: nothing is looked for among all that came before."""
    small, large = (events_of(kinds, NAMES[names], count) for count in (60, 120))
    read(small)  # what is made once for all answers

    assert executed(lambda: read(large)) < 2.2 * executed(lambda: read(small))


FORMATS: dict[str, tuple[ServerFormat, dict[str, Any]]] = {
    "responses": (FORMAT, {"input": "hi"}),
    "chat": (server_formats.CHAT, {"messages": [{"role": "user", "content": "hi"}]}),
    "messages": (server_formats.MESSAGES, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}),
    "google": (server_formats.GOOGLE, {"contents": [{"parts": [{"text": "hi"}]}]}),
}
SHOWN = (str, ReasoningDelta, ToolCallDelta, VendorItem)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("kind", ["message", "function_call", "reasoning"])
def test_twice_as_many_items_are_twice_the_work_to_write(kind: str, to: str) -> None:
    """Likewise where an answer is written to a client of any format, while it comes and as a whole."""
    format_, body = FORMATS[to]
    asked = format_.read({"model": "m", "stream": True, **body}, 100)

    def write(told: list[Delta], answer: Completion) -> None:
        record, writer = DeltaRecord(), format_.writer(asked, Meta(id="i", created_s=1))
        writer.begin()
        for delta in told:
            record.add(delta)
            writer.delta(delta)
        for delta in record.rest_of(answer) or ():
            writer.delta(delta)
        writer.end(answer)
        format_.whole(asked, Meta(id="i", created_s=1), answer)

    work = []
    for count in (60, 120):
        answer, told = read(events_of([kind], ("output_index", "id"), count))
        shown: list[Delta] = [piece for piece in told if piece != "" and isinstance(piece, SHOWN)]
        assert shown
        write(shown, answer)
        work.append(executed(partial(write, shown, answer)))
    assert work[1] < 2.2 * work[0]
