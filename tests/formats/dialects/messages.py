"""Anthropic's messages, as their servers and relays of them write them."""

# ruff: noqa: E501 - an oddity on a line each is a table

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.formats.dialects.counts import Written, with_nothing
from tests.formats.dialects.truth import Draft, Json, Oddity, Truth, crossed, split

WORDS = {
    "stop": ("end_turn", "end_turn", "stop_sequence", "stop"),
    "tool_calls": ("tool_use", "tool_use", "end_turn", "tool_calls"),
    "length": ("max_tokens", "model_context_window_exceeded", "length"),
    "content_filter": ("refusal", "content_filter"),
    "error": ("error", "aborted", "nobody_knows"),
    "pause_turn": ("pause_turn",),
}


def drafted(truth: Truth, chance: random.Random, *, streamed: bool, known: bool) -> Draft:
    """Write an answer by Anthropic's reference, then as somebody's server would.

    Args:
        truth: What it says.
        chance: Decides.
        streamed: Whether it is a stream.
        known: Not looked at: the format has one way to count.
    """
    if truth.is_refusal:  # the format has no refusal's text
        truth = _replaced(truth, is_refusal=False)
    draft = Draft(truth=truth, chance=chance, streamed=streamed, ends={"reason", "stop"})
    word = chance.choice(WORDS[truth.ended])
    if not streamed:
        draft.events = [_message(draft, word)]
        draft.events[0]["usage"] = _counted(draft, _usage(draft))
        crossed(draft, WHOLE)
        return draft
    draft.names = chance.choice(("both", "both", "none", "alone"))
    draft.events = list(_events(draft, word))
    _count(draft)
    crossed(draft, STREAM)
    return draft


def _replaced(truth: Truth, **fields: Any) -> Truth:
    import msgspec

    return msgspec.structs.replace(truth, **fields)


def _blocks(truth: Truth) -> Iterator[Json]:
    if truth.thoughts:
        yield {"type": "thinking", "thinking": truth.thoughts, "signature": "c2VhbGVk"}
    if truth.text:
        yield {"type": "text", "text": truth.text}
    for call in truth.calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _message(draft: Draft, word: str) -> Json:
    content = list(_blocks(draft.truth))
    return {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": word}


def _events(draft: Draft, word: str) -> Iterator[Json]:
    head: dict[str, Any] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    yield {"type": "message_start", "message": head}
    for index, block in enumerate(_blocks(draft.truth)):
        field, kind = {"thinking": ("thinking", "thinking_delta"), "text": ("text", "text_delta")}.get(block["type"], ("partial_json", "input_json_delta"))  # fmt: skip
        start = {**block, field: ""} if block["type"] != "tool_use" else {**block, "input": {}}
        start.pop("signature", None)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        text = block[field] if field in block else json.dumps(block["input"], ensure_ascii=False)
        for piece in split("" if block.get("input") == {} and draft.chance.random() < 0.5 else text, draft.chance):
            yield {"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}}
        if "signature" in block:
            yield {"type": "content_block_delta", "index": index, "delta": {"type": "signature_delta", "signature": "c2VhbGVk"}}  # fmt: skip
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": word, "stop_sequence": None}}
    yield {"type": "message_stop"}


# -- counts -----------------------------------------------------------------------------------------------------------


def _usage(draft: Draft) -> Json:
    bill = draft.truth.bill
    usage: Json = {"input_tokens": bill.input, "output_tokens": bill.output_total}
    if bill.cached_input or draft.chance.random() < 0.4:
        usage["cache_read_input_tokens"] = bill.cached_input
    if bill.cache_write or draft.chance.random() < 0.4:
        usage["cache_creation_input_tokens"] = bill.cache_write
    return usage


def _odd(usage: Json, chance: random.Random) -> Json:
    """Write counts with a point or as text, and what is nothing as null: relays in languages without whole numbers."""
    odd: Json = {}
    for name, value in usage.items():
        odd[name] = chance.choice((value, value, float(value), str(value))) if value else chance.choice((0, None))
    return odd | chance.choice(({}, {"server_tool_use": None, "service_tier": "standard"}, {"cache_creation": {}}))


def _counted(draft: Draft, usage: Json) -> Json | None:
    if draft.chance.random() < 0.06:
        result: Written = with_nothing(draft)
        draft.is_counted = draft.is_plain = False
        return result.usage
    return _odd(usage, draft.chance)


def _count(draft: Draft) -> None:
    """Put usage at the start and, cumulative, at the end, or wherever relays put it."""
    chance, usage = draft.chance, _usage(draft)
    start, end = draft.events[0]["message"], draft.events[-2]
    first = {**usage, "output_tokens": chance.choice((0, 1, 1, 3)) if usage["output_tokens"] > 3 else 1}
    match chance.choice(
        ("usual", "usual", "twice", "zeros", "only at the end", "split at the end", "with the stop", "none")
    ):
        case "usual":
            start["usage"], end["usage"] = _odd(first, chance), {"output_tokens": usage["output_tokens"]}
        case "twice":
            start["usage"], end["usage"] = _odd(first, chance), _odd(usage, chance)
        case "zeros":  # LiteLLM, Bedrock's relays: nothing is taken back by a zero or a null
            start["usage"] = _odd(first, chance)
            end["usage"] = {"input_tokens": chance.choice((0, None)), "output_tokens": usage["output_tokens"]}
        case "only at the end":  # vLLM, z.ai, MiniMax
            start["usage"] = chance.choice((None, {"input_tokens": 0, "output_tokens": 0}))
            end["usage"] = _odd(usage, chance)
        case "split at the end":  # a guess of the whole prompt first, its parts later: Kimi, DeepSeek
            start["usage"] = {"input_tokens": draft.truth.bill.input_total, "output_tokens": 1}
            end["usage"] = {**usage, "cache_read_input_tokens": draft.truth.bill.cached_input, "cache_creation_input_tokens": draft.truth.bill.cache_write}  # fmt: skip
            draft.is_plain = False
        case "with the stop":
            draft.events[-1]["usage"] = _odd(usage, chance)
        case _:
            start["usage"] = chance.choice((None, {}))
            draft.is_counted = draft.is_plain = False


# -- oddities ---------------------------------------------------------------------------------------------------------


def _of(draft: Draft, *kinds: str) -> list[Json]:
    return [event for event in draft.events if event["type"] in kinds]


_BLOCK = ("content_block_start", "content_block_delta", "content_block_stop")


def _no_index(draft: Draft) -> None:
    for event in _of(draft, *_BLOCK):
        event["index"] = None
        if draft.chance.random() < 0.5:
            del event["index"]


def _index_zero(draft: Draft) -> None:
    for event in _of(draft, *_BLOCK):
        event["index"] = 0


def _index_as_text(draft: Draft) -> None:
    for event in _of(draft, *_BLOCK):
        event["index"] = draft.chance.choice((str(event["index"]), float(event["index"])))


def _index_from(draft: Draft) -> None:
    for event in _of(draft, *_BLOCK):
        event["index"] += 3


def _in_the_start(draft: Draft) -> None:
    """Blocks that are whole with their first event: Bedrock's relays, Ollama."""
    blocks = iter(list(_blocks(draft.truth)))
    for event in _of(draft, "content_block_start"):
        event["content_block"] = next(blocks)
    draft.events = [event for event in draft.events if event["type"] != "content_block_delta"]


def _arguments_in_the_start(draft: Draft) -> None:
    calls = [event for event in _of(draft, "content_block_start") if event["content_block"]["type"] == "tool_use"]
    for event, call in zip(calls, draft.truth.calls, strict=True):
        event["content_block"]["input"] = draft.chance.choice((call.arguments, json.dumps(call.arguments)))
    draft.events = [event for event in draft.events if event.get("delta", {}).get("type") != "input_json_delta"]


def _arguments_twice(draft: Draft) -> None:
    calls = [event for event in _of(draft, "content_block_start") if event["content_block"]["type"] == "tool_use"]
    for event, call in zip(calls, draft.truth.calls, strict=True):
        event["content_block"]["input"] = call.arguments


def _null_input(draft: Draft) -> None:
    for event in _of(draft, "content_block_start"):
        if event["content_block"]["type"] == "tool_use":
            event["content_block"]["input"] = draft.chance.choice((None, "", {}))
            if draft.chance.random() < 0.4:
                del event["content_block"]["input"]


def _no_start(draft: Draft) -> None:
    usage = draft.events.pop(0)["message"].get("usage")
    if usage and not draft.events[-1].get("usage") and not (draft.events[-2].get("usage") or {}).get("input_tokens"):
        draft.is_counted = draft.is_plain = False


def _no_stops(draft: Draft) -> None:
    draft.events = [event for event in draft.events if event["type"] != "content_block_stop"]


def _no_delta_types(draft: Draft) -> None:
    for event in _of(draft, "content_block_delta"):
        if event["delta"]["type"] in {"text_delta", "input_json_delta"}:
            del event["delta"]["type"]


def _no_reason(draft: Draft) -> None:
    draft.ends.discard("reason")
    for event in draft.events:
        for place in (event, event.get("delta"), event.get("message")):
            if isinstance(place, dict) and "stop_reason" in place:
                place["stop_reason"] = None


def _no_message_stop(draft: Draft) -> None:
    draft.ends.discard("stop")
    last = draft.events.pop()
    if last.get("usage"):
        draft.events[-1]["usage"] = last["usage"]


def _done(draft: Draft) -> None:
    draft.done = True


def _pings(draft: Draft) -> None:
    for _ in range(3):
        event = draft.chance.choice(({"type": "ping"}, {"type": "vendor_event", "x": 1}))
        draft.events.insert(draft.chance.randrange(1, len(draft.events)), event)


def _empty_deltas(draft: Draft) -> None:
    for event in _of(draft, "content_block_start"):
        kind = "input_json_delta" if event["content_block"]["type"] == "tool_use" else "text_delta"
        delta = {"type": kind, "partial_json" if kind == "input_json_delta" else "text": ""}
        if event["content_block"]["type"] in {"tool_use", "text"}:
            draft.events.insert(draft.events.index(event) + 1, {"type": "content_block_delta", "index": event["index"], "delta": delta})  # fmt: skip


def _foreign_blocks(draft: Draft) -> None:
    """Blocks of tools that the server runs itself, which are no calls: web search, code execution."""
    most = len(_of(draft, "content_block_start"))
    block = {
        "type": "web_search_tool_result",
        "tool_use_id": "srv",
        "content": [{"type": "web_search_result", "title": "t"}],
    }
    used = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}}
    more = [
        {"type": "content_block_start", "index": most + 7, "content_block": used},
        {"type": "content_block_delta", "index": most + 7, "delta": {"type": "input_json_delta", "partial_json": '{"query": "q"}'}},
        {"type": "content_block_stop", "index": most + 7},
        {"type": "content_block_start", "index": most + 8, "content_block": block},
        {"type": "content_block_stop", "index": most + 8},
    ]  # fmt: skip
    draft.events[1:1] = more


def _no_ids(draft: Draft) -> None:
    for event in draft.events:
        for block in (event.get("content_block"), *(event.get("content") or ())):
            if isinstance(block, dict) and block["type"] == "tool_use":
                block["id"] = draft.chance.choice(("", None, "toolu_0"))


def _as_one_event(draft: Draft) -> None:
    word = next((e["delta"]["stop_reason"] for e in draft.events if e["type"] == "message_delta"), None)
    whole = _message(draft, word) | {"usage": _usage(draft)}
    draft.events = [
        whole if draft.names == "alone" or draft.chance.random() < 0.5 else {"type": "message_start", "message": whole}
    ]
    if draft.events[0]["type"] == "message_start":
        draft.events.append({"type": "message_stop"})
    draft.is_counted = draft.is_plain = True


def _as_text(draft: Draft) -> None:
    draft.events[0]["content"] = draft.truth.text


def _no_type(draft: Draft) -> None:
    del draft.events[0]["type"]


def _calls(draft: Draft) -> bool:
    return bool(draft.truth.calls)


def _in_order(draft: Draft) -> bool:
    return draft.truth.ended in {"stop", "tool_calls"}


# fmt: off
STREAM: tuple[Oddity, ...] = (
    Oddity(name="whole in the start", seen_with="relays of Bedrock", change=_in_the_start),
    Oddity(name="arguments in the start", seen_with="Ollama, LiteLLM", change=_arguments_in_the_start, when=_calls, not_with=("whole in the start",)),
    Oddity(name="arguments twice", seen_with="LiteLLM", change=_arguments_twice, when=_calls, not_with=("whole in the start", "arguments in the start")),
    Oddity(name="null input", seen_with="vLLM", change=_null_input, when=_calls, not_with=("whole in the start", "arguments in the start", "arguments twice")),
    Oddity(name="empty deltas", seen_with="Anthropic", change=_empty_deltas),
    Oddity(name="blocks of the server's tools", seen_with="Anthropic", change=_foreign_blocks),
    Oddity(name="index from 3", seen_with="relays that leave blocks out", change=_index_from),
    Oddity(name="no index", seen_with="relays", change=_no_index, not_with=("index from 3",)),
    Oddity(name="index 0 for all", seen_with="LiteLLM", change=_index_zero, not_with=("no index", "index from 3")),
    Oddity(name="index as text", seen_with="relays", change=_index_as_text, not_with=("no index", "index 0 for all")),
    Oddity(name="no block stops", seen_with="relays", change=_no_stops),
    Oddity(name="deltas without a type", seen_with="relays", change=_no_delta_types),
    Oddity(name="no ids", seen_with="relays of Gemini", change=_no_ids, when=_calls),
    Oddity(name="no reason", seen_with="vLLM", change=_no_reason, when=_in_order),
    Oddity(name="no message_start", seen_with="relays", change=_no_start),
    Oddity(name="no message_stop", seen_with="LiteLLM", change=_no_message_stop, not_with=("no reason",)),
    Oddity(name="pings", seen_with="Anthropic", change=_pings),
    Oddity(name="[DONE]", seen_with="relays", change=_done),
    Oddity(name="whole as one event", seen_with="relays without streams", change=_as_one_event, when=lambda d: d.chance.random() < 0.3, not_with=("no ids", "no message_stop", "pings", "no message_start")),
)
WHOLE: tuple[Oddity, ...] = (
    Oddity(name="no ids", seen_with="relays of Gemini", change=_no_ids, when=_calls),
    Oddity(name="no reason", seen_with="vLLM", change=_no_reason, when=_in_order),
    Oddity(name="content as text", seen_with="relays", change=_as_text, when=lambda d: not d.truth.calls and not d.truth.thoughts),
    Oddity(name="no type", seen_with="relays", change=_no_type),
)
# fmt: on
