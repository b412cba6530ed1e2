"""Answers written whole in OpenAI's responses format. Pure."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import cast

from organism.amounts import TokenUsage
from organism.formats.answers.annotations import annotations_of
from organism.formats.answers.finish_reasons import is_whole, reason_of
from organism.formats.call_ids import id_with_extra
from organism.formats.native_tools import CallNames
from organism.formats.server_format import Asked, Json, Meta
from organism.llm.answers import Completion
from organism.llm.requests import Part, Reasoning, TextPart, ToolCall, VendorItem

_INCOMPLETE = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "pause_turn": "max_output_tokens",
    "error": "max_output_tokens",  # the format has two reasons; of these, the one that clients continue from
}

REDACTED = "rs_redacted_"
"""Prefix of the ids of redacted reasoning, which the format cannot mark in any other way."""


def answered(asked: Asked, meta: Meta, answer: Completion) -> Json:
    """Write a whole answer: its items in order, with the ids that a stream would give them."""
    names = CallNames(asked.request.tools)
    output: list[Json] = []
    texts = thoughts = calls = 0
    for kind, group in groupby(_told(answer), key=type):
        parts = list(group)
        if kind is TextPart:
            output.append(message_item(message_name(meta, texts), _content(answer, cast("list[TextPart]", parts))))
            texts += 1
            continue
        for part in parts:
            match part:
                case Reasoning():
                    name = thought_name(meta, thoughts, part.id, redacted=part.redacted)
                    output.append(thought_item(name, part))
                    thoughts += 1
                case ToolCall():
                    output.append(call_item(f"fc_{meta.id}_{calls}", part, names))
                    calls += 1
                case VendorItem(value=value):
                    output.append(value)
    return finished(asked, meta, answer, output or [message_item(message_name(meta, 0), output_text(answer.text))])


def _told(answer: Completion) -> Iterator[Part]:
    """Yield the parts of an answer that have content in this format."""
    for part in answer.turn.parts:
        match part:
            case TextPart(text="") | Reasoning(text="", signature="") | VendorItem(format="messages" | "chat"):
                pass
            case _:
                yield part


def _content(answer: Completion, parts: list[TextPart]) -> Json:
    text = "".join(part.text for part in parts)
    if text == answer.refusal:
        return refusal_part(text)
    logprobs = answer.logprobs if text == answer.text else ()
    return output_text(text, annotations_of(parts), logprobs)


def response(asked: Asked, meta: Meta, status: str) -> Json:
    """Write a response that has no output yet."""
    plain: Json = {
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "reasoning": {"effort": None, "summary": None},
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "user": None,
    }
    return {
        "id": f"resp_{meta.id}",
        "object": "response",
        "created_at": meta.created_s,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": asked.request.model,
        "output": [],
        "previous_response_id": None,
        "store": asked.keeps,
        "truncation": "disabled",
        "usage": None,
        **plain,
        **asked.echo,
    }


def finished(asked: Asked, meta: Meta, answer: Completion, output: list[Json]) -> Json:
    """Write a response that has ended, with its output."""
    reason = None if _is_whole_refusal(answer) else _INCOMPLETE.get(answer.finish_reason)
    return response(asked, meta, "completed" if reason is None else "incomplete") | {
        "incomplete_details": None if reason is None else {"reason": reason},
        "model": answer.model,
        "output": output,
        "usage": _usage(answer.usage),
        **({"service_tier": answer.service_tier} if answer.service_tier else {}),
    }


def _is_whole_refusal(answer: Completion) -> bool:
    """Whether an answer is a complete refusal, which this format counts as ``completed``."""
    return (
        bool(answer.refusal) and answer.refusal == answer.text and is_whole(reason_of(answer.provider_reason) or "stop")
    )


def message_name(meta: Meta, place: int) -> str:
    """Return the id of a message; an answer has several when there are calls between."""
    return f"msg_{meta.id}" + (f"_{place}" if place else "")


def message_item(name: str, content: Json) -> Json:
    """Write a message item with its one content part."""
    return {"id": name, "type": "message", "status": "completed", "role": "assistant", "content": [content]}


def output_text(text: str, annotations: Sequence[Json] = (), logprobs: Sequence[Json] = ()) -> Json:
    """Write a text part with its citations and log probabilities."""
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": list(logprobs)}


def refusal_part(text: str) -> Json:
    """Write a refusal part."""
    return {"type": "refusal", "refusal": text}


def thought_name(meta: Meta, place: int, own: str, *, redacted: bool) -> str:
    """Return the id of a reasoning item: the provider's own, or one that marks redacted reasoning."""
    return own or f"{REDACTED if redacted else 'rs_'}{meta.id}_{place}"


def thought_item(name: str, thought: Reasoning) -> Json:
    """Write a reasoning item."""
    summary = [{"type": "summary_text", "text": thought.text}] if thought.text else []
    sealed = {"encrypted_content": thought.signature} if thought.signature else {}
    return {"id": name, "type": "reasoning", "summary": summary, **sealed}


def call_item(name: str, call: ToolCall, names: CallNames) -> Json:
    """Write a tool call as an item of the tool's own type."""
    return {"id": name, "status": "completed", **names.write(call, id_with_extra(call))}


def _usage(usage: TokenUsage | None) -> Json | None:
    """Write usage; ``None`` where the provider gave none, which is not zero."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_total,
        "input_tokens_details": {"cached_tokens": usage.cached_input},
        "output_tokens": usage.output_total,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }
