"""Answers of chat completions, written: whole, and as a stream of chunks. Pure."""

from organism.amounts import TokenUsage
from organism.formats.errors.faults import Fault
from organism.formats.errors.openai_errors import error_body
from organism.formats.openai_chat.reasoning_details import FIELD, KEPT_FIELDS, write_details
from organism.formats.server_format import COMMENT, Asked, Json, Meta, event
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, ReasoningDelta, ToolCallDelta
from organism.llm.requests import ToolCall, VendorItem

_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
_NOT_WHOLE = "length"
"""The word, among those that clients of this format know, for an answer that was paused or broke: it goes on."""
_DONE = b"data: [DONE]\n\n"


def answered(meta: Meta, answer: Completion) -> Json:
    """Write a whole answer."""
    message: Json = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal or None}
    if answer.tool_calls:
        message["tool_calls"] = [_call(call) for call in answer.tool_calls]
    else:
        message["content"] = answer.text
    if thoughts := "".join(thought.text for thought in answer.reasoning):
        message["reasoning_content"] = thoughts
    message |= _kept(answer)
    choice = {"index": 0, "message": message, "logprobs": None, **_reason(answer)}
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
        self._sealed: set[int] = set()
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
            case VendorItem():  # of another format; nobody can have asked for one in this
                return b""

    def alive(self) -> bytes:
        """Write a comment."""
        return COMMENT

    def end(self, answer: Completion) -> bytes:
        """Write what a client must give back of it, why it ended, and usage."""
        beside = _kept(answer) | ({"refusal": answer.refusal} if answer.refusal else {})
        late = [
            {"index": index, **call.extra}
            for index, call in enumerate(answer.tool_calls)
            if call.extra and index not in self._sealed
        ]
        beside |= {"tool_calls": late} if late else {}
        data = self._chunk(beside) if beside else b""
        data += self._chunk({}, **_reason(answer))
        if self._usage:
            data += event(self._head | {"choices": [], "usage": _usage(answer.usage)})
        return data + _DONE

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more."""
        return event(error_body(fault))

    def _chunk(self, delta: Json, **ends: str) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **ends}
        last = {"usage": None} if self._usage else {}
        return event(self._head | {"choices": [choice]} | last)

    def _call(self, delta: ToolCallDelta) -> Json:
        if (index := self._places.get(delta.place)) is not None:
            return {"index": index, "function": {"arguments": delta.arguments}}
        index = self._places[delta.place] = len(self._places)
        if delta.extra:
            self._sealed.add(index)
        return {"index": index, **_call(ToolCall(delta.id, delta.name, delta.arguments, delta.extra))}


def _call(call: ToolCall) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {**call.extra, "id": call.id, "type": "function", "function": function}


def _kept(answer: Completion) -> Json:
    """Write what a client must give back of what was thought: its seals, and a vendor's own fields."""
    kept: Json = {}
    for thought in answer.reasoning:
        kept |= {name: thought.extra[name] for name in KEPT_FIELDS & thought.extra.keys()}
    details = write_details(thought for thought in answer.reasoning if KEPT_FIELDS.isdisjoint(thought.extra))
    return kept | ({FIELD: details} if details else {})


def _reason(answer: Completion) -> dict[str, str]:
    """Say why it ended, in the vendor's words and, for what is not whole, in the provider's own beside them."""
    reason = answer.finish_reason if answer.finish_reason in _REASONS else _NOT_WHOLE
    own = {} if answer.is_complete or not answer.provider_reason else {"native_finish_reason": answer.provider_reason}
    return {"finish_reason": reason, **own}


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
