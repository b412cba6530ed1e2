"""Answers of Anthropic's messages, written: whole, and as a stream of events. Pure."""

from collections.abc import Iterator
from typing import cast

import msgspec

from organism.amounts import TokenUsage
from organism.formats.anthropic_messages.server_errors import error_body
from organism.formats.call_ids import id_with_extra
from organism.formats.errors.faults import Fault
from organism.formats.server_format import Asked, Json, Meta, event
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, ReasoningDelta, ToolCallDelta
from organism.llm.requests import ToolCall, VendorItem

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause_turn": "pause_turn",
    "error": "max_tokens",  # of the words that clients of this format know, the one for what goes on
}
_OWN = frozenset({"model_context_window_exceeded"})
"""Words of the vendor's own that say more than those above."""


def answered(meta: Meta, answer: Completion) -> Json:
    """Write a whole answer."""
    words: list[Json] = [{"type": "text", "text": answer.text}] if answer.text or not answer.tool_calls else []
    return _message(meta, answer.model) | {
        "content": [*_thoughts(answer), *words, *_calls(answer)],
        "stop_reason": _reason(answer),
        "usage": _usage(answer.usage),
    }


class MessagesWriter:
    """Writes the events of a message: thoughts, words and the arguments of calls as they come, each in its block."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._message = _message(meta, asked.request.model)
        self._blocks = 0
        self._open: _Block | None = None
        self._calls: dict[int, int] = {}

    def begin(self) -> bytes:
        """Begin the message."""
        message = self._message | {"content": [], "stop_reason": None, "usage": _usage(None)}
        return _event({"type": "message_start", "message": message}) + self.alive()

    def delta(self, delta: Delta) -> bytes:
        """Write a piece, after the beginning of its block where it is the first of it."""
        match delta:
            case str():
                return self._in(("text", 0), {"type": "text", "text": ""}) + self._more(
                    {"type": "text_delta", "text": delta}
                )
            case ReasoningDelta(redacted=True):
                return self._in(("redacted", delta.place), {"type": "redacted_thinking", "data": delta.signature})
            case ReasoningDelta():
                return self._thought(delta)
            case ToolCallDelta():
                return self._call(delta)
            case VendorItem():  # of another format; nobody can have asked for one in this
                return b""

    def alive(self) -> bytes:
        """Write a ping."""
        return _event({"type": "ping"})

    def end(self, answer: Completion) -> bytes:
        """Write why it ended, and usage."""
        delta = {"stop_reason": _reason(answer), "stop_sequence": None}
        data = self._stop() + _event({"type": "message_delta", "delta": delta, "usage": _usage(answer.usage)})
        return data + _event({"type": "message_stop"})

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more."""
        return _event(error_body(fault))

    def _thought(self, delta: ReasoningDelta) -> bytes:
        data = self._in(("thinking", delta.place), {"type": "thinking", "thinking": "", "signature": ""})
        if delta.text:
            data += self._more({"type": "thinking_delta", "thinking": delta.text})
        if delta.signature:
            data += self._more({"type": "signature_delta", "signature": delta.signature})
        return data

    def _call(self, delta: ToolCallDelta) -> bytes:
        more: Json = {"type": "input_json_delta", "partial_json": delta.arguments}
        if (index := self._calls.get(delta.place)) is not None:
            # Of a call whose block has ended, where a provider goes back to it: readers go by the index.
            return self._more(more, index)
        told = id_with_extra(ToolCall(delta.id, delta.name, "", delta.extra))
        data = self._in(("call", delta.place), {"type": "tool_use", "id": told, "name": delta.name, "input": {}})
        self._calls[delta.place] = self._blocks - 1
        return data + (self._more(more) if delta.arguments else b"")

    def _in(self, block: "_Block", begun: Json) -> bytes:
        """End the open block and begin another, unless it is the open one."""
        if block == self._open:
            return b""
        data = self._stop()
        self._open, self._blocks = block, self._blocks + 1
        return data + _event({"type": "content_block_start", "index": self._blocks - 1, "content_block": begun})

    def _more(self, delta: Json, index: int | None = None) -> bytes:
        place = self._blocks - 1 if index is None else index
        return _event({"type": "content_block_delta", "index": place, "delta": delta})

    def _stop(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _event({"type": "content_block_stop", "index": self._blocks - 1})


_Block = tuple[str, int]
"""What is in a block, and the place of it in the answer."""


def _event(data: Json) -> bytes:
    """Write an event, whose name stands in it as well in this format."""
    return event(data, str(data["type"]))


def _message(meta: Meta, model: str) -> Json:
    return {"id": f"msg_{meta.id}", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}


def _reason(answer: Completion) -> str:
    if not answer.is_complete and answer.provider_reason in _OWN:
        return answer.provider_reason
    return _REASONS.get(answer.finish_reason, "max_tokens")


def _thoughts(answer: Completion) -> Iterator[Json]:
    for thought in answer.reasoning:
        if thought.redacted:
            yield {"type": "redacted_thinking", "data": thought.signature}
        elif thought.text or thought.signature:
            yield {"type": "thinking", "thinking": thought.text, "signature": thought.signature}


def _calls(answer: Completion) -> Iterator[Json]:
    for call in answer.tool_calls:
        yield {"type": "tool_use", "id": id_with_extra(call), "name": call.name, "input": _object(call.arguments)}


def _object(arguments: str) -> Json:
    """Write arguments as the object this format wants; what a model has garbled is kept as text."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, RecursionError):
        value = None
    return cast("Json", value) if isinstance(value, dict) else {"arguments": arguments}


def _usage(usage: TokenUsage | None) -> Json:
    """Write usage. The format has no word for a provider that has counted nothing: that shows as zeros."""
    counted = usage or TokenUsage()
    return {
        "input_tokens": counted.input,
        "cache_creation_input_tokens": counted.cache_write,
        "cache_read_input_tokens": counted.cached_input,
        "output_tokens": counted.output_total,
        "output_tokens_details": {"thinking_tokens": counted.reasoning},
    }
