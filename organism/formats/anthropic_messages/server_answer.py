"""Answers of Anthropic's messages, written: whole, and as a stream of events. Pure."""

from collections.abc import Iterator
from typing import cast

import msgspec

from organism.amounts import TokenUsage
from organism.formats.anthropic_messages.server_errors import error_body
from organism.formats.faults import Fault
from organism.formats.server_format import Asked, Json, Meta, event
from organism.llm.answers import Completion

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def answered(meta: Meta, answer: Completion) -> Json:
    """Write a whole answer."""
    words: list[Json] = [{"type": "text", "text": answer.text}] if answer.text or not answer.tool_calls else []
    return _message(meta, answer.model) | {
        "content": [*_thoughts(answer), *words, *_calls(answer)],
        "stop_reason": _reason(answer),
        "usage": _usage(answer.usage),
    }


class MessagesWriter:
    """Writes the events of a message: words as they come, then what was thought and the calls of tools, whole."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._message = _message(meta, asked.request.model)
        self._blocks = 0
        self._in_words = False

    def begin(self) -> bytes:
        """Begin the message."""
        message = self._message | {"content": [], "stop_reason": None, "usage": _usage(None)}
        return _event({"type": "message_start", "message": message}) + _event({"type": "ping"})

    def text(self, piece: str) -> bytes:
        """Write a piece of the text."""
        begin = b"" if self._in_words else self._start({"type": "text", "text": ""})
        self._in_words = True
        return begin + self._delta({"type": "text_delta", "text": piece})

    def end(self, answer: Completion) -> bytes:
        """Write thoughts, calls of tools, why it ended, and usage."""
        data = self._stop() if self._in_words else b""
        data += b"".join(self._whole(block) for block in (*_thoughts(answer), *_calls(answer)))
        delta = {"stop_reason": _reason(answer), "stop_sequence": None}
        data += _event({"type": "message_delta", "delta": delta, "usage": _usage(answer.usage)})
        return data + _event({"type": "message_stop"})

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more."""
        return _event(error_body(fault))

    def _whole(self, block: Json) -> bytes:
        """Write a block that is there already as the events that bring it."""
        deltas: list[Json] = []
        match block:
            case {"type": "thinking", "thinking": words, "signature": signature}:
                deltas.append({"type": "thinking_delta", "thinking": words})
                deltas.append({"type": "signature_delta", "signature": signature})
                block = block | {"thinking": "", "signature": ""}
            case {"type": "tool_use", "input": given}:
                deltas.append({"type": "input_json_delta", "partial_json": msgspec.json.encode(given).decode()})
                block = block | {"input": {}}
        return self._start(block) + b"".join(map(self._delta, deltas)) + self._stop()

    def _start(self, block: Json) -> bytes:
        return _event({"type": "content_block_start", "index": self._blocks, "content_block": block})

    def _delta(self, delta: Json) -> bytes:
        return _event({"type": "content_block_delta", "index": self._blocks, "delta": delta})

    def _stop(self) -> bytes:
        data = _event({"type": "content_block_stop", "index": self._blocks})
        self._blocks += 1
        return data


def _event(data: Json) -> bytes:
    """Write an event, whose name stands in it as well in this format."""
    return event(data, str(data["type"]))


def _message(meta: Meta, model: str) -> Json:
    return {"id": f"msg_{meta.id}", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}


def _reason(answer: Completion) -> str:
    return _REASONS.get(answer.finish_reason, "end_turn")


def _thoughts(answer: Completion) -> Iterator[Json]:
    for thought in answer.reasoning:
        if thought.redacted:
            yield {"type": "redacted_thinking", "data": thought.signature}
        else:
            yield {"type": "thinking", "thinking": thought.text, "signature": thought.signature}


def _calls(answer: Completion) -> Iterator[Json]:
    for call in answer.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": _object(call.arguments)}


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
