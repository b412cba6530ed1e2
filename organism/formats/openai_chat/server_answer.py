"""Answers of chat completions, written: whole, and as a stream of chunks. Pure."""

from organism.amounts import TokenUsage
from organism.formats.faults import Fault
from organism.formats.openai_errors import error_body
from organism.formats.server_format import COMMENT, Asked, Json, Meta, event
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, ReasoningDelta, ToolCallDelta
from organism.llm.requests import ToolCall

_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
_DONE = b"data: [DONE]\n\n"


def answered(meta: Meta, answer: Completion) -> Json:
    """Write a whole answer."""
    message: Json = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.tool_calls:
        message["tool_calls"] = [_call(call) for call in answer.tool_calls]
    else:
        message["content"] = answer.text
    if thoughts := "".join(thought.text for thought in answer.reasoning):
        message["reasoning_content"] = thoughts
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(answer)}
    return {
        "id": f"chatcmpl-{meta.id}",
        "object": "chat.completion",
        "created": meta.created_s,
        "model": answer.model,
        "choices": [choice],
        "usage": _usage(answer.usage),
    }


class ChatWriter:
    """Writes chunks: text, reasoning and the arguments of calls as they come."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._usage = asked.usage
        self._places: dict[int, int] = {}
        self._head: Json = {
            "id": f"chatcmpl-{meta.id}",
            "object": "chat.completion.chunk",
            "created": meta.created_s,
            "model": asked.request.model,
        }

    def begin(self) -> bytes:
        """Write whose turn it is."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def delta(self, delta: Delta) -> bytes:
        """Write a piece; the first of a call says which tool it is for."""
        match delta:
            case str():
                return self._chunk({"content": delta})
            case ReasoningDelta(text=text):
                return self._chunk({"reasoning_content": text}) if text else b""
            case ToolCallDelta():
                return self._chunk({"tool_calls": [self._call(delta)]})

    def alive(self) -> bytes:
        """Write a comment."""
        return COMMENT

    def end(self, answer: Completion) -> bytes:
        """Write why it ended, and usage."""
        data = self._chunk({}, _reason(answer))
        if self._usage:
            data += event(self._head | {"choices": [], "usage": _usage(answer.usage)})
        return data + _DONE

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more."""
        return event(error_body(fault))

    def _chunk(self, delta: Json, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        last = {"usage": None} if self._usage else {}
        return event(self._head | {"choices": [choice]} | last)

    def _call(self, delta: ToolCallDelta) -> Json:
        if (index := self._places.get(delta.place)) is not None:
            return {"index": index, "function": {"arguments": delta.arguments}}
        index = self._places[delta.place] = len(self._places)
        return {"index": index, **_call(ToolCall(delta.id, delta.name, delta.arguments))}


def _call(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _reason(answer: Completion) -> str:
    return answer.finish_reason if answer.finish_reason in _REASONS else "stop"


def _usage(usage: TokenUsage | None) -> Json | None:
    """Write usage; ``None`` where the provider gave none, which is not zero."""
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output_total,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
