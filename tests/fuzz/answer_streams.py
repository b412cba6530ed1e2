"""Answers of providers in no order: those of the dialects, with events lost, said twice, crossed, broken and cut."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from tests.formats.dialects import chat, messages, refusals, responses
from tests.formats.dialects.truth import Draft, Json, Truth, some_truth
from tests.fuzz.junk import broken, damaged, some_junk, written

DRAFTED: dict[str, Callable[..., Draft]] = {
    "chat": chat.drafted,
    "responses": responses.drafted,
    "messages": messages.drafted,
}
MORE: dict[str, tuple[Json, ...]] = {
    "chat": (
        {"choices": [{"index": 1, "delta": {"content": "second"}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [
            {"index": 0, "id": "x", "type": "custom", "custom": {"name": "f", "input": "free text"}}]}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_details": [
            {"type": "reasoning.encrypted", "data": "sealed", "id": "r", "index": 0}]}}]},
        {"choices": [{"index": 0, "delta": {"annotations": [
            {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 2}}]}}]},
        {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [{"token": "a", "logprob": -0.1}]}}]},
        {"choices": [{"index": 0, "delta": {"function_call": {"name": "f", "arguments": "{}"}}}]},
        {"choices": [{"index": 0, "delta": {"refusal": "I will not"}}]},
        {"choices": [{"index": 0, "delta": {"content": [{"type": "thinking", "thinking": [{"text": "h"}]}]}}]},
        {"choices": [{"index": 0, "delta": {"extra_content": {"google": {"thought_signature": "s"}}}}]},
        {"choices": [{"index": 0, "error": {"code": 502, "message": "broke"}, "finish_reason": "error"}]},
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}},
        {"x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}},
    ),
    "responses": (
        {"type": "response.created", "response": {"id": "r", "status": "in_progress", "model": "m"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "web_search_call", "id": "w"}},
        {"type": "response.output_item.done", "output_index": 1, "item": {
            "type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}}},
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "item_id": "c", "delta": "free"},
        {"type": "response.output_item.done", "output_index": 0, "item": {
            "type": "custom_tool_call", "id": "c", "call_id": "cc", "name": "f", "input": "free"}},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 1, "delta": "hm"},
        {"type": "response.code_interpreter_call_code.delta", "output_index": 3, "delta": "print()"},
        {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": {
            "type": "output_text", "text": "words", "annotations": [{"type": "url_citation", "url": "u"}]}},
        {"type": "response.refusal.done", "output_index": 0, "refusal": "no"},
        {"type": "response.incomplete", "response": {"status": "incomplete", "output": [],
            "incomplete_details": {"reason": "max_output_tokens"}}},
        {"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error"}}},
        {"type": "keepalive", "sequence_number": 3},
    ),
    "messages": (
        {"type": "message_start", "message": {"id": "m", "model": "m", "content": [], "usage": {"input_tokens": 7}}},
        {"type": "content_block_start", "index": 0, "content_block": {
            "type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"q": 1}'}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "web_search_tool_result", "content": []}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {
            "type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c"}}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "redacted_thinking", "data": "sealed"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 9}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "container": {"id": "c"}},
            "usage": {"input_tokens": 9, "output_tokens": 4, "server_tool_use": {"web_search_requests": 1}}},
        {"type": "ping"},
        {"type": "message_stop"},
    ),
}  # fmt: skip
"""Events of each format that only some answers have."""


class Answer(msgspec.Struct):
    """What a provider sends.

    Attributes:
        name: Of the format.
        truth: What it was to say, before anything was wrong with it.
        known: Whether its vendor is known.
        raw: The bytes.
        is_stream: Whether it was written as one.
    """

    name: str
    truth: Truth
    known: bool
    raw: bytes
    is_stream: bool


def some_answer(name: str, chance: random.Random) -> Answer:
    """Return an answer in a format that something is wrong with."""
    drawn = random.Random(chance.randrange(2**32))
    known = drawn.random() < 0.3
    truth, streamed = some_truth(drawn), drawn.random() < 0.8
    draft = DRAFTED[name](truth, drawn, streamed=streamed, known=known)
    events: list[Any] = list(draft.events)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 6))):
        _edit(events, name, chance)
    raw = _stream(draft, events, chance) if streamed else _whole(events, chance)
    if chance.randrange(6) == 0:
        raw = damaged(raw, chance)
    return Answer(name, truth, known, raw, streamed)


def _edit(events: list[Any], name: str, chance: random.Random) -> None:
    """Lose, repeat, cross, break, put in or cut."""
    place = chance.randrange(len(events) + 1)
    there = events[place] if place < len(events) else None
    match chance.randrange(10):
        case 0 if there is not None:
            del events[place]
        case 1 if there is not None:
            events.insert(chance.randrange(len(events) + 1), there)
        case 2 if len(events) > 1:
            events.insert(chance.randrange(len(events)), events.pop(chance.randrange(len(events))))
        case 3:
            events.insert(place, chance.choice(MORE[name]))
        case 4:
            events.insert(place, broken(chance.choice(MORE[name]), chance))
        case 5 if chance.randrange(3) == 0:
            events.insert(place, chance.choice(MORE[chance.choice(list(MORE))]))
        case 6 if chance.randrange(3) == 0:
            events.insert(place, chance.choice((*refusals.REFUSALS, *refusals.OF_RESPONSES)))
        case 7 if chance.randrange(6) == 0:
            events[place:] = [some_junk(chance)]
        case _ if there is not None:
            events[place] = broken(there, chance)
        case _:
            events.append(some_junk(chance))


def _whole(events: list[Any], chance: random.Random) -> bytes:
    value = events[0] if len(events) == 1 or (events and chance.randrange(3)) else events
    return written(value, chance).encode("utf-8", "surrogatepass")


def _stream(draft: Draft, events: list[Any], chance: random.Random) -> bytes:
    end = chance.choice(("\n", "\n", "\n", "\r\n", "\r"))
    lines: list[str] = []
    for event in events:
        if event == {"end": "[DONE]"}:
            lines += ["data: [DONE]", ""]
            continue
        kind = event.get("type") if isinstance(event, dict) else None
        if (draft.names != "none" and isinstance(kind, str)) or chance.randrange(40) == 0:
            shown = kind if isinstance(kind, str) and kind.isascii() else chance.choice(("error", "x", "ping", ""))
            lines.append("event: " + shown.replace("\r", "").replace("\n", ""))
            if draft.names == "alone" and isinstance(event, dict):
                event = {name: value for name, value in event.items() if name != "type"}  # noqa: PLW2901
        lines += [f"data: {written(event, chance)}", *([""] if chance.randrange(30) else [])]
        if chance.randrange(25) == 0:
            lines += [
                chance.choice((": ping", "data: [DONE]", "data:", "id: 3", "data: [PING]", "retry: x", "\x00")),
                "",
            ]
    if draft.done or chance.randrange(10) == 0:
        lines += ["data: [DONE]", ""]
    return end.join([*lines, ""]).encode("utf-8", "surrogatepass")


def pieces(raw: bytes, chance: random.Random) -> list[bytes]:
    """Cut bytes anywhere."""
    size = chance.choice((1, 2, 7, 40, 500, 10**6))
    if size < 10**6:
        return [raw[start : start + size] for start in range(0, len(raw), size)]
    cuts = sorted(chance.randrange(len(raw) + 1) for _ in range(chance.randrange(6)))
    return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
