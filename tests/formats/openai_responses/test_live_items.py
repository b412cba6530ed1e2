"""What a server of responses writes is handed on while it comes, whatever it is, in the order of the answer."""

from typing import Any

import pytest

from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.vendors import VENDORS
from organism.llm.deltas import Delta, DeltaRecord, ReasoningDelta, RefusalDelta, ServerToolUse, ToolCallDelta, Unshown
from organism.llm.requests import ChatMessage, CompletionRequest, Tool, ToolCall, VendorItem

THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "seal"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f"}
LONG = '{"a": "' + "x" * 600 + '"}'
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}


def begun(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def piece(kind: str, text: str, index: int = 0) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": text}


CASES: dict[str, tuple[list[dict[str, Any]], list[Delta]]] = {
    "thoughts": (
        [begun({**THOUGHT, "encrypted_content": ""}), piece("reasoning_summary_text", "I "),
         piece("reasoning_summary_text", "think"), done({**THOUGHT, "summary": [{"text": "I think"}]})],
        [ReasoningDelta("I ", 0, "", "rs_1"), ReasoningDelta("think", 0, "", "rs_1"),
         ReasoningDelta("", 0, "seal", "rs_1")],
    ),
    "sealed thoughts": ([begun(THOUGHT), done(THOUGHT)], [ReasoningDelta("", 0, "seal", "rs_1")]),
    "a long call": (
        [begun(CALL), piece("function_call_arguments", LONG[:300]), piece("function_call_arguments", LONG[300:]),
         done({**CALL, "arguments": LONG})],
        [ToolCallDelta("call_1", "f", LONG[:300]), ToolCallDelta("call_1", "f", LONG[300:])],
    ),
    "a short call": (
        [begun(CALL), piece("function_call_arguments", '{"a"'), piece("function_call_arguments", ":1}"),
         done({**CALL, "arguments": '{"a":1}'})],
        [ToolCallDelta("call_1", "f", '{"a":1}')],
    ),
    "a refusal": (
        [begun({"type": "message", "id": "m"}), piece("refusal", "I will "), piece("refusal", "not.")],
        [RefusalDelta("I will "), RefusalDelta("not.")],
    ),
    "a search": ([begun(SEARCH), done(SEARCH)], [VendorItem(SEARCH)]),
    "one after the other": (
        [done(THOUGHT), done(SEARCH, 1), done({**THOUGHT, "id": "rs_2"}, 2), done({**CALL, "arguments": '{"a":1}'}, 3),
         piece("output_text", "hi", 4)],
        [ReasoningDelta("", 0, "seal", "rs_1"), VendorItem(SEARCH), ReasoningDelta("", 1, "seal", "rs_2"),
         ToolCallDelta("call_1", "f", '{"a":1}'), "hi"],
    ),
    "a call out of turn": (
        [begun(CALL), begun({**CALL, "id": "fc_2", "call_id": "call_2"}, 1),
         done({**CALL, "call_id": "call_2", "arguments": LONG}, 1)],
        [],
    ),
    "a piece that comes once more": (
        [begun(CALL), piece("function_call_arguments", LONG), piece("function_call_arguments", LONG[:40])],
        [ToolCallDelta("call_1", "f", LONG)],
    ),
    "arguments that are no object": ([done({**CALL, "arguments": '"{\\"a\\":1}"'})], []),
    "an id that was used": ([done({**CALL, "call_id": "used", "arguments": '{"a":1}'})], []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_comes_is_shown_at_once_and_begins_the_answer(name: str) -> None:
    """Thoughts, long arguments, refusals and items of the vendor's show as they come; what may change waits."""
    events, shown = CASES[name]
    request = CompletionRequest(
        model="m", messages=(ChatMessage("assistant", (ToolCall("used", "f", "{}"),)),), max_output_tokens=9,
        tools=(Tool("f", "", {}),), vendor_tools=(VendorItem({"type": "web_search"}),),
    )  # fmt: skip
    pieces: list[Any] = []
    reader = ResponsesReader(request, VENDORS["openai"], pieces.append)
    for event in events:
        reader.event(event)
    pieces = [each for each in pieces if not isinstance(each, Unshown | ServerToolUse)]
    so_far = [each for each in pieces if each != ""]
    assert so_far == shown
    assert [type(each) for each in so_far] == [type(each) for each in shown]
    reader.event({"type": "response.completed", "response": {"status": "completed", "output": []}})
    answer = reader.completion()

    record = DeltaRecord()
    for each in pieces:
        record.add(each)
    assert record.rest_of(answer) is not None
