"""OpenAI's responses, as their servers and relays of them write them."""

# ruff: noqa: E501 - an oddity on a line each is a table

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from tests.formats.dialects.counts import with_nothing, written
from tests.formats.dialects.truth import Draft, Json, Oddity, Truth, crossed, split

REASONS = {
    "length": ("max_output_tokens", "max_tokens"),
    "content_filter": ("content_filter",),
    "error": ("cancelled", "nobody_knows"),
    "pause_turn": ("pause",),
}


def drafted(truth: Truth, chance: random.Random, *, streamed: bool, known: bool) -> Draft:
    """Write an answer by OpenAI's reference, then as somebody's server would.

    Args:
        truth: What it says.
        chance: Decides.
        streamed: Whether it is a stream.
        known: Whether the vendor's way to count is documented.
    """
    draft = Draft(truth=truth, chance=chance, streamed=streamed, ends={"last"})
    result = with_nothing(draft) if chance.random() < 0.06 else written(draft, "responses", known=known)
    draft.is_counted, draft.is_plain = result.is_counted, result.is_plain
    response = _response(draft) | {"usage": result.usage}
    if not streamed:
        draft.events = [response]
        crossed(draft, WHOLE)
        return draft
    draft.names = chance.choice(("both", "both", "none", "alone"))
    draft.events = list(_events(draft, response))
    crossed(draft, STREAM)
    return draft


def _items(truth: Truth) -> Iterator[Json]:
    if truth.thoughts:
        summary = [{"type": "summary_text", "text": truth.thoughts}]
        yield {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "c2VhbGVk"}
    if truth.text:
        kind, field = ("refusal", "refusal") if truth.is_refusal else ("output_text", "text")
        content = [{"type": kind, field: truth.text}]
        yield {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    for number, call in enumerate(truth.calls):
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        yield {"type": "function_call", "id": f"fc_{number}", "call_id": call.id, "name": call.name, "arguments": arguments}  # fmt: skip


def _response(draft: Draft) -> Json:
    truth = draft.truth
    response: Json = {"id": "r", "object": "response", "status": "completed", "model": "m", "error": None}
    if truth.ended in REASONS:
        reason = draft.chance.choice(REASONS[truth.ended])
        response |= {"status": "incomplete", "incomplete_details": {"reason": reason}}
    return response | {"output": list(_items(truth))}


def _events(draft: Draft, response: Json) -> Iterator[Json]:
    head: dict[str, Any] = {"id": "r", "status": "in_progress", "model": "m", "output": [], "usage": None}
    yield {"type": "response.created", "response": head}
    yield {"type": "response.in_progress", "response": head}
    for index, item in enumerate(_items(draft.truth)):
        tie = {"output_index": index, "item_id": item["id"]}
        empty = {"message": {"content": []}, "reasoning": {"summary": []}, "function_call": {"arguments": ""}}
        start = copy.deepcopy(item) | empty[item["type"]]
        start.pop("encrypted_content", None)
        yield {"type": "response.output_item.added", "output_index": index, "item": start}
        kind, text = _written(item, draft.truth)
        for piece in split(text, draft.chance):
            yield {"type": f"response.{kind}.delta", **tie, "delta": piece}
        field = {"function_call": "arguments", "message": "refusal" if draft.truth.is_refusal else "text"}
        yield {"type": f"response.{kind}.done", **tie, field.get(item["type"], "text"): text}
        yield {"type": "response.output_item.done", "output_index": index, "item": copy.deepcopy(item)}
    last = "response.completed" if response["status"] == "completed" else "response.incomplete"
    yield {"type": last, "response": response}


def _written(item: Json, truth: Truth) -> tuple[str, str]:
    match item["type"]:
        case "reasoning":
            return "reasoning_summary_text", truth.thoughts
        case "message":
            return ("refusal" if truth.is_refusal else "output_text"), truth.text
        case _:
            return "function_call_arguments", item["arguments"]


# -- oddities ---------------------------------------------------------------------------------------------------------


def _without(draft: Draft, *ends: str) -> None:
    draft.events = [event for event in draft.events if not event["type"].endswith(ends)]


def _only_done(draft: Draft) -> None:
    _without(draft, ".delta", "output_item.added", "text.done", "arguments.done", "refusal.done")


def _only_last(draft: Draft) -> None:
    draft.events = [*draft.events[: draft.chance.choice((0, 1, 2))], draft.events[-1]]


def _only_deltas(draft: Draft) -> None:
    """Items begin and are written, and are said whole nowhere else; what seals a thought is lost with that."""
    _without(draft, ".done")
    draft.events[-1]["response"]["output"] = draft.chance.choice(([], None))


def _no_output_last(draft: Draft) -> None:
    draft.events[-1]["response"]["output"] = draft.chance.choice(([], None))


def _no_index(draft: Draft) -> None:
    for event in draft.events:
        event.pop("output_index", None)


def _no_item_ids(draft: Draft) -> None:
    for event in draft.events:
        event.pop("item_id", None)


def _other_item_ids(draft: Draft) -> None:
    """Another id in each event, as a relay of Copilot's writes them."""
    for event in draft.events:
        if "item_id" in event:
            event["item_id"] = f"x{draft.chance.randrange(10**9)}"
        if isinstance(event.get("item"), dict):
            event["item"]["id"] = f"x{draft.chance.randrange(10**9)}"
    for item in draft.events[-1]["response"]["output"] or ():
        item["id"] = f"x{draft.chance.randrange(10**9)}"


def _no_heads(draft: Draft) -> None:
    _without(draft, ".created", ".in_progress")


def _index_as_text(draft: Draft) -> None:
    for event in draft.events:
        if "output_index" in event:
            event["output_index"] = draft.chance.choice((str(event["output_index"]), float(event["output_index"])))


def _arguments_as_object(draft: Draft) -> None:
    for items in (
        [event["item"] for event in draft.events if event.get("type") == "response.output_item.done"],
        _last(draft),
    ):
        for item in items:
            if item["type"] == "function_call":
                item["arguments"] = json.loads(item["arguments"])


def _last(draft: Draft) -> list[Json]:
    last = draft.events[-1]
    output: list[Json] | None = last.get("response", last).get("output")
    return output or []


def _call_ids_from_ids(draft: Draft) -> None:
    for items in ([event["item"] for event in draft.events if "item" in event], _last(draft)):
        for item in items:
            if item["type"] == "function_call":
                item["id"] = item.pop("call_id")
    for event in draft.events:
        event.pop("item_id", None)


def _usage_beside(draft: Draft) -> None:
    draft.events[-1]["usage"] = draft.events[-1]["response"].pop("usage")


def _no_status(draft: Draft) -> None:
    draft.events[-1].get("response", draft.events[-1])["status"] = None


def _done(draft: Draft) -> None:
    draft.done = True


def _strangers(draft: Draft) -> None:
    for _ in range(3):
        event = draft.chance.choice(({"type": "keepalive"}, {"type": "response.web_search_call.searching", "output_index": 99}, {"type": "response.output_text.annotation.added"}))  # fmt: skip
        draft.events.insert(draft.chance.randrange(len(draft.events)), dict(event))


def _server_items(draft: Draft) -> None:
    draft.events[-1].get("response", draft.events[-1])["output"].insert(0, {"type": "web_search_call", "id": "ws", "status": "completed"})  # fmt: skip


def _whole_as_one_event(draft: Draft) -> None:
    draft.events = [draft.events[-1]["response"]]


def _content_as_text(draft: Draft) -> None:
    for item in _last(draft):
        if item["type"] == "message":
            item["content"] = draft.truth.text


def _calls(draft: Draft) -> bool:
    return bool(draft.truth.calls)


_NOT_ONE = ("only item.done", "only the last event", "only deltas")
# fmt: off
STREAM: tuple[Oddity, ...] = (
    Oddity(name="arguments as an object", seen_with="relays", change=_arguments_as_object, when=_calls),
    Oddity(name="no call_id", seen_with="relays of Ollama", change=_call_ids_from_ids, when=_calls),
    Oddity(name="only item.done", seen_with="LiteLLM, Azure", change=_only_done),
    Oddity(name="only the last event", seen_with="relays without streams", change=_only_last, not_with=_NOT_ONE),
    Oddity(name="only deltas", seen_with="vLLM", change=_only_deltas, not_with=_NOT_ONE),
    Oddity(name="no output at the end", seen_with="Azure, relays", change=_no_output_last, not_with=_NOT_ONE[1:]),
    Oddity(name="no output_index", seen_with="relays", change=_no_index, not_with=("no output at the end", "only deltas", "no call_id")),
    Oddity(name="no item_id", seen_with="relays", change=_no_item_ids, not_with=("no output_index",)),
    Oddity(name="other ids each time", seen_with="Copilot", change=_other_item_ids, not_with=("no output_index", "no item_id", "no call_id")),
    Oddity(name="index as text", seen_with="relays", change=_index_as_text),
    Oddity(name="no heads", seen_with="relays", change=_no_heads),
    Oddity(name="usage beside the response", seen_with="relays", change=_usage_beside),
    Oddity(name="no status", seen_with="relays", change=_no_status, when=lambda d: d.truth.ended in {"stop", "tool_calls"}),
    Oddity(name="events nobody knows", seen_with="OpenAI", change=_strangers),
    Oddity(name="[DONE]", seen_with="relays", change=_done),
)
WHOLE: tuple[Oddity, ...] = (
    Oddity(name="arguments as an object", seen_with="relays", change=_arguments_as_object, when=_calls),
    Oddity(name="no call_id", seen_with="relays of Ollama", change=_call_ids_from_ids, when=_calls),
    Oddity(name="content as text", seen_with="relays", change=_content_as_text, when=lambda d: not d.truth.is_refusal),
    Oddity(name="items of the server's tools", seen_with="OpenAI", change=_server_items),
    Oddity(name="no status", seen_with="relays", change=_no_status, when=lambda d: d.truth.ended in {"stop", "tool_calls"}),
)
# fmt: on
