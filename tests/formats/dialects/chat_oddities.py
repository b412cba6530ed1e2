"""What servers of chat completions write otherwise than the reference has it."""

# ruff: noqa: E501 - an oddity on a line each is a table

import json
from collections.abc import Iterator
from typing import Any

from tests.formats.dialects.chat_reference import chunk, whole
from tests.formats.dialects.truth import Draft, Json, Oddity


def _choices(draft: Draft) -> Iterator[Json]:
    for event in draft.events:
        yield from event.get("choices") or ()


def _deltas(draft: Draft) -> Iterator[Json]:
    for choice in _choices(draft):
        if isinstance(message := choice.get("delta") or choice.get("message"), dict):
            yield message


def _pieces(draft: Draft) -> Iterator[Json]:
    for delta in _deltas(draft):
        yield from delta.get("tool_calls") or ()


def _nulls(draft: Draft) -> None:
    for delta in _deltas(draft):
        for name in ("content", "refusal", "tool_calls", "function_call", "reasoning_content", "audio"):
            if draft.chance.random() < 0.5:
                delta.setdefault(name, None)


def _null_fields(draft: Draft) -> None:
    for event in draft.events:
        if "end" in event:
            continue
        event.setdefault("usage", None)
        event |= {"error": None, "system_fingerprint": None, "service_tier": None}


def _odd_choice_index(draft: Draft) -> None:
    for choice in _choices(draft):
        choice["index"] = draft.chance.choice((None, "0", 0.0))
        if draft.chance.random() < 0.3:
            del choice["index"]


def _empty_chunks(draft: Draft) -> None:
    odd: tuple[Any, ...] = ([], None, [{"index": 0, "delta": {}, "finish_reason": None}], [{"index": 0, "delta": None}])
    last = len(draft.events) - 1
    for place in sorted((draft.chance.randrange(1, last) for _ in range(3)) if last > 1 else (), reverse=True):
        draft.events.insert(place, {"id": "c", "model": draft.chance.choice(("m", "", None)), "choices": draft.chance.choice(odd)})  # fmt: skip


def _message_for_delta(draft: Draft) -> None:
    for choice in _choices(draft):
        choice["message"] = choice.pop("delta")


def _whole_at_the_end(draft: Draft) -> None:
    message = whole(draft)["choices"][0]["message"]
    for choice in reversed(list(_choices(draft))):
        choice["message"] = message
        return


def _usage_in(event: Json) -> Json | None:
    """Return the usage in an event, where Groq and Moonshot write it too."""
    places = event, event.get("x_groq") or {}, *(event.get("choices") or ())
    return next(filter(None, (place.get("usage") for place in places)), None)


def _as_one_event(draft: Draft) -> None:
    usage = next(filter(None, map(_usage_in, reversed(draft.events))), None)
    draft.events = [{**whole(draft), "usage": usage}]
    draft.done = "done" in draft.ends
    draft.ends.discard("counts")


def _text_for_delta(draft: Draft) -> None:
    for choice in _choices(draft):
        if (text := (choice.get("delta") or {}).get("content")) is not None:
            del choice["delta"]
            choice["text"] = text


def _parts_for_content(draft: Draft) -> None:
    for delta in _deltas(draft):
        if isinstance(text := delta.get("content"), str):
            delta["content"] = [{"type": "text", "text": text}]


def _empty_reasons(draft: Draft) -> None:
    for choice in _choices(draft):
        choice["finish_reason"] = choice.get("finish_reason") or draft.chance.choice(("", "null", None))


def _no_reason(draft: Draft) -> None:
    draft.ends.discard("reason")
    for choice in _choices(draft):
        choice["finish_reason"] = draft.chance.choice((None, ""))


def _native_reason(draft: Draft) -> None:
    for choice in _choices(draft):
        choice["native_finish_reason"] = choice.pop("finish_reason", None)


def _no_done(draft: Draft) -> None:
    draft.ends.discard("done")
    draft.done = False
    draft.events = [event for event in draft.events if event != {"end": "[DONE]"}]


def _last_with_reason(draft: Draft) -> None:
    ends = [
        at for at, event in enumerate(draft.events) if any(c.get("finish_reason") for c in event.get("choices") or ())
    ]
    if not ends or ends[0] == 0 or not draft.events[ends[0] - 1].get("choices") or _usage_in(draft.events[ends[0]]):
        return
    draft.events[ends[0] - 1]["choices"][0]["finish_reason"] = draft.events.pop(ends[0])["choices"][0]["finish_reason"]


def _another_choice(draft: Draft) -> None:
    for place in sorted(draft.chance.randrange(1, len(draft.events) + 1) for _ in range(2)):
        choice = {
            "index": 1,
            "delta": {"content": "NOT ASKED FOR"},
            "finish_reason": draft.chance.choice((None, "stop")),
        }
        draft.events.insert(min(place, max(1, len(draft.events) - 2)), {"id": "c", "choices": [choice]})


def _no_index(draft: Draft) -> None:
    for piece in _pieces(draft):
        piece["index"] = None
        if draft.chance.random() < 0.5:
            del piece["index"]


def _index_zero(draft: Draft) -> None:
    for piece in _pieces(draft):
        piece["index"] = 0


def _index_as_text(draft: Draft) -> None:
    for piece in _pieces(draft):
        if "index" in piece:
            piece["index"] = draft.chance.choice((str(piece["index"]), float(piece["index"])))


def _no_ids(draft: Draft) -> None:
    for piece in _pieces(draft):
        if "id" in piece:
            piece["id"] = draft.chance.choice(("", None))


def _one_id(draft: Draft) -> None:
    for piece in _pieces(draft):
        if "id" in piece:
            piece["id"] = "call_0"


def _repeated_marks(draft: Draft) -> None:
    begun: dict[int, Json] = {}
    for piece in _pieces(draft):
        first = begun.setdefault(piece["index"], piece)
        if first is not piece:
            piece["id"] = first["id"]
            piece["function"]["name"] = first["function"]["name"] if draft.chance.random() < 0.7 else ""


def _null_in_pieces(draft: Draft) -> None:
    for piece in _pieces(draft):
        function = piece["function"]
        piece.setdefault("id", None)
        piece.setdefault("type", None)
        function.setdefault("name", None)
        if function.get("arguments", "") == "":
            function["arguments"] = None


def _calls_whole(draft: Draft) -> None:
    """Each call in one piece, as Gemini's, Ollama's and Groq's servers have it; its arguments perhaps no text."""
    kept, number = [], 0
    as_object = draft.chance.random() < 0.4
    for event in draft.events:
        pieces = [piece for choice in event.get("choices") or () for piece in (choice.get("delta") or choice.get("message") or {}).get("tool_calls") or ()]  # fmt: skip
        if pieces and not pieces[0]["function"].get("name"):
            continue
        if pieces:
            arguments = draft.truth.calls[number].arguments
            pieces[0]["function"]["arguments"] = arguments if as_object else json.dumps(arguments)
            number += 1
        kept.append(event)
    draft.events = kept


def _calls_in_one_chunk(draft: Draft) -> None:
    _calls_whole(draft)
    found = list(_pieces(draft))
    first = True
    for delta in _deltas(draft):
        if delta.get("tool_calls"):
            delta["tool_calls"] = found if first else None
            first = False


def _empty_object_first(draft: Draft) -> None:
    for piece in _pieces(draft):
        if piece["function"].get("name") and piece["function"].get("arguments") == "":
            piece["function"]["arguments"] = "{}"


def _text_of_text(draft: Draft) -> None:
    _calls_whole(draft)
    for piece, call in zip(_pieces(draft), draft.truth.calls, strict=True):
        piece["function"]["arguments"] = json.dumps(json.dumps(call.arguments))


def _no_function(draft: Draft) -> None:
    for piece in _pieces(draft):
        piece.update(piece.pop("function"))


def _name_in_pieces(draft: Draft) -> None:
    for event in list(draft.events):
        for choice in event.get("choices") or ():
            for piece in (choice.get("delta") or {}).get("tool_calls") or ():
                name = piece["function"].get("name")
                if name and len(name) > 2 and not piece["function"].get("arguments"):
                    piece["function"]["name"] = name[:3]
                    rest = {"index": piece.get("index"), "function": {"name": name[3:]}}
                    draft.events.insert(draft.events.index(event) + 1, chunk({"tool_calls": [rest]}))


def _interleaved(draft: Draft) -> None:
    of_calls = [event for event in draft.events if any((c.get("delta") or {}).get("tool_calls") for c in event.get("choices") or ())]  # fmt: skip
    by_call: dict[int, list[Json]] = {}
    for event in of_calls:
        by_call.setdefault(event["choices"][0]["delta"]["tool_calls"][0]["index"], []).append(event)
    mixed = [lane.pop(0) for lane in by_call.values()]
    while any(by_call.values()):
        mixed.append(draft.chance.choice([lane for lane in by_call.values() if lane]).pop(0))
    place = next((at for at, event in enumerate(draft.events) if event in of_calls), 0)
    rest = [event for event in draft.events if event not in of_calls]
    draft.events = [*rest[:place], *mixed, *rest[place:]]


def _old_call(draft: Draft) -> None:
    for delta in _deltas(draft):
        if pieces := delta.pop("tool_calls", None):
            delta["function_call"] = pieces[0]["function"]


def _other_thoughts(draft: Draft) -> None:
    names = draft.chance.choice((("reasoning",), ("thinking",), ("reasoning", "reasoning_content"), ("details",)))
    for delta in _deltas(draft):
        if words := delta.pop("reasoning_content", None):
            for name in names:
                delta[name] = words
            if names == ("details",):
                delta["reasoning_details"] = [{"type": "reasoning.text", "text": delta.pop("details"), "index": 0}]
                delta["reasoning"] = words


def _signed(draft: Draft) -> None:
    for piece in _pieces(draft):
        if piece.get("function", {}).get("name"):
            piece["extra_content"] = {"google": {"thought_signature": "c2VhbGVk"}}


def _other_heads(draft: Draft) -> None:
    for event in draft.events:
        if "choices" in event:
            event |= {"id": draft.chance.choice(("", None, 7)), "created": draft.chance.choice((None, "1", 1.5))}
            event["object"] = draft.chance.choice(("", None, "chat.completion"))


def _calls(draft: Draft) -> bool:
    return bool(draft.truth.calls)


def _many(draft: Draft) -> bool:
    return len(draft.truth.calls) > 1


def _pieces_are_plain(draft: Draft) -> bool:
    """Whether no piece of the text could be the whole so far, which other servers send under the same name."""
    texts = [text for delta in _deltas(draft) if isinstance(text := delta.get("content"), str) and text]
    return len(texts) < 2 or not texts[1].startswith(texts[0])


def _told_apart(draft: Draft) -> bool:
    """Whether nothing but a call's own text may tell it from the one before, which a repetition would undo."""
    calls = [(call.name, json.dumps(call.arguments)) for call in draft.truth.calls]
    return bool(calls) and all(one != other for one, other in zip(calls[1:], calls, strict=False))


def _one_call(draft: Draft) -> bool:
    return len(draft.truth.calls) == 1


def _ends_otherwise(way: str) -> Any:
    return lambda draft: way in draft.ends and len(draft.ends) > 1


_WHOLE_CALLS = ("calls whole", "calls in one chunk", "arguments as text of text")
# fmt: off
BOTH: tuple[Oddity, ...] = (
    Oddity(name="nulls beside content", seen_with="vLLM, Mistral, OpenRouter", change=_nulls),
    Oddity(name="nulls beside choices", seen_with="OpenAI, relays", change=_null_fields),
    Oddity(name="index of choice", seen_with="Azure's relays, Cohere", change=_odd_choice_index),
    Oddity(name="heads", seen_with="Gemini, Ollama", change=_other_heads),
    Oddity(name="content as parts", seen_with="Mistral, Databricks", change=_parts_for_content),
    Oddity(name="native reason", seen_with="OpenRouter", change=_native_reason),
    Oddity(name="thoughts by another name", seen_with="vLLM, Ollama, OpenRouter", change=_other_thoughts),
    Oddity(name="signed calls", seen_with="Gemini", change=_signed, when=_calls),
    Oddity(name="no ids", seen_with="Gemini, Ollama", change=_no_ids, when=_told_apart),
    Oddity(name="one id for all", seen_with="vLLM's older parsers", change=_one_id, when=_told_apart),
)
STREAM: tuple[Oddity, ...] = (
    Oddity(name="whole as one event", seen_with="relays without streams", change=_as_one_event, when=lambda d: d.chance.random() < 0.3),
    Oddity(name="calls whole", seen_with="Gemini, Ollama, Groq", change=_calls_whole, when=_calls, not_with=("whole as one event",)),
    Oddity(name="calls in one chunk", seen_with="Gemini, Mistral", change=_calls_in_one_chunk, when=_many, not_with=("whole as one event",)),
    Oddity(name="arguments as text of text", seen_with="relays", change=_text_of_text, when=_calls, not_with=("whole as one event", *_WHOLE_CALLS)),
    Oddity(name="interleaved", seen_with="OpenAI's reference allows it", change=_interleaved, when=lambda d: _many(d) and not d.events[1].get("usage"), not_with=("whole as one event", *_WHOLE_CALLS)),
    Oddity(name="empty object first", seen_with="LiteLLM's of Anthropic", change=_empty_object_first, when=_calls, not_with=("whole as one event", "interleaved")),
    Oddity(name="name in pieces", seen_with="llama.cpp's older servers", change=_name_in_pieces, when=_calls, not_with=("whole as one event", "interleaved", "empty object first", *_WHOLE_CALLS)),
    Oddity(name="marks repeated", seen_with="Kimi, Qwen's servers", change=_repeated_marks, when=_told_apart, not_with=("whole as one event", "name in pieces", "empty object first")),
    Oddity(name="nulls in pieces", seen_with="vLLM, SGLang", change=_null_in_pieces, when=_calls, not_with=("whole as one event", "arguments as text of text")),
    Oddity(name="no index", seen_with="Gemini", change=_no_index, when=_told_apart, not_with=("interleaved", "name in pieces", "empty object first", "whole as one event")),
    Oddity(name="index 0 for all", seen_with="Ollama", change=_index_zero, when=_told_apart, not_with=("interleaved", "name in pieces", "empty object first", "no index", "whole as one event")),
    Oddity(name="index as text", seen_with="relays", change=_index_as_text, when=_calls, not_with=("no index", "whole as one event")),
    *BOTH[:-2],
    *(Oddity(name=each.name, seen_with=each.seen_with, change=each.change, when=each.when, not_with=("no ids",)) for each in BOTH[-2:]),
    Oddity(name="function_call", seen_with="old servers", change=_old_call, when=_one_call, not_with=("whole as one event", "name in pieces", "signed calls")),
    Oddity(name="no function", seen_with="relays of Ollama", change=_no_function, when=_calls, not_with=("function_call", "signed calls")),
    Oddity(name="message for delta", seen_with="relays", change=_message_for_delta, when=_pieces_are_plain, not_with=("whole as one event", "content as parts")),
    Oddity(name="message at the end", seen_with="Azure's relays, Moonshot", change=_whole_at_the_end, not_with=("message for delta", "whole as one event", "no function", "function_call", "one id for all", "no ids")),
    Oddity(name="text for delta", seen_with="old completions", change=_text_for_delta, when=lambda d: not d.truth.calls, not_with=("message for delta", "message at the end", "content as parts", "whole as one event")),
    Oddity(name="reason with the last piece", seen_with="Gemini, Mistral", change=_last_with_reason, not_with=("native reason",)),
    Oddity(name="another choice", seen_with="servers with n as a default", change=_another_choice, not_with=("whole as one event", "index of choice")),
    Oddity(name="empty chunks", seen_with="Azure, vLLM", change=_empty_chunks),
    Oddity(name="empty reasons", seen_with="llama.cpp, DashScope", change=_empty_reasons, not_with=("native reason",)),
    Oddity(name="no reason", seen_with="relays", change=_no_reason, when=lambda d: d.truth.ended in {"stop", "tool_calls"} and _ends_otherwise("reason")(d), not_with=("native reason", "message at the end")),
    Oddity(name="no [DONE]", seen_with="Gemini, Cloudflare", change=_no_done, when=_ends_otherwise("done")),
)
WHOLE: tuple[Oddity, ...] = (
    *BOTH,
    Oddity(name="no reason", seen_with="relays", change=_no_reason, when=lambda d: d.truth.ended in {"stop", "tool_calls"}, not_with=("native reason",)),
    Oddity(name="function_call", seen_with="old servers", change=_old_call, when=_one_call, not_with=("signed calls",)),
    Oddity(name="no function", seen_with="relays of Ollama", change=_no_function, when=_calls, not_with=("function_call", "signed calls")),
)
# fmt: on
