"""Writes answers of Google's ``generateContent``: whole, and as a stream of responses. Pure."""

import msgspec

from organism.amounts import TokenUsage
from organism.formats.errors.faults import Fault, FaultKind
from organism.formats.google_content.server_request import THOUGHTS
from organism.formats.json_reading import part as at
from organism.formats.server_format import EVENT_STREAM, Asked, Json, Meta, event
from organism.formats.tool_calls import arguments_object
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, ReasoningDelta, RefusalDelta
from organism.llm.requests import ToolCall

_REASONS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_STATUSES: dict[FaultKind, str] = {
    "request": "INVALID_ARGUMENT",
    "key": "UNAUTHENTICATED",
    "permission": "PERMISSION_DENIED",
    "not_found": "NOT_FOUND",
    "too_large": "INVALID_ARGUMENT",
    "budget": "RESOURCE_EXHAUSTED",
    "rate": "RESOURCE_EXHAUSTED",
    "upstream": "INTERNAL",
    "unavailable": "UNAVAILABLE",
}


def answered(asked: Asked, meta: Meta, answer: Completion) -> Json:
    """Write a whole answer."""
    candidates = [_candidate(place, each, asked) for place, each in enumerate((answer, *answer.alternatives))]
    return {"candidates": candidates, **_beside(meta, answer.model, answer.usage)}


class GenerateWriter:
    """Writes an answer as responses with a piece each; calls come whole at the end, as the format wants."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._asked = asked
        self._meta = meta
        self._between = b"["

    def begin(self) -> bytes:
        """Write nothing: the first piece needs no head."""
        return b""

    def _response(self, body: Json, *, last: bool = False) -> bytes:
        """Write a response as an event, or as the next element of an array."""
        if self._asked.stream_type == EVENT_STREAM:
            return event(body)
        between, self._between = self._between, b",\n"
        return between + msgspec.json.encode(body) + (b"]" if last else b"")

    def delta(self, delta: Delta) -> bytes:
        """Write a piece."""
        match delta:
            case RefusalDelta() | str():
                return self._said({"text": str(delta)})
            case ReasoningDelta(text=text) if text and THOUGHTS in self._asked.dialect:
                return self._said({"text": text, "thought": True})
            case _:
                return b""

    def alive(self) -> bytes:
        """Write an empty piece: the vendor's own client takes a comment for a broken answer."""
        return self._said({"text": ""})

    def end(self, answer: Completion) -> bytes:
        """Write the calls, the finish reason and usage."""
        last = _candidate(0, answer, self._asked)
        last["content"]["parts"] = [_call(call) for call in answer.tool_calls] or [{"text": ""}]
        others = [_candidate(place, each, self._asked) for place, each in enumerate(answer.alternatives, 1)]
        body = {"candidates": [last, *others], **_beside(self._meta, answer.model, answer.usage)}
        return self._response(body, last=True)

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more."""
        return self._response(error_body(fault), last=True)

    def _said(self, part: Json) -> bytes:
        content = {"role": "model", "parts": [part]}
        model = self._asked.request.model
        return self._response({"candidates": [{"content": content, "index": 0}], **_beside(self._meta, model, None)})


def error_body(fault: Fault) -> Json:
    """Write an error; fields of organism's own are among its details."""
    organism: Json = {"@type": "organism", "code": fault.code}
    if fault.param is not None:
        organism["param"] = fault.param
    if fault.refusal is not None:
        organism |= msgspec.to_builtins(fault.refusal)
    status = _STATUSES[fault.kind]
    return {"error": {"code": fault.status, "message": fault.message, "status": status, "details": [organism]}}


def _candidate(place: int, answer: Completion, asked: Asked) -> Json:
    parts: list[Json] = []
    if THOUGHTS in asked.dialect:
        parts += [_thought(thought.text, thought.signature) for thought in answer.reasoning if thought.text]
    if words := answer.text or answer.refusal:
        parts.append({"text": words})
    parts += [_call(call) for call in answer.tool_calls]
    reason = _REASONS.get(answer.finish_reason, "OTHER")
    return {"content": {"role": "model", "parts": parts or [{"text": ""}]}, "finishReason": reason, "index": place}


def _thought(text: str, signature: str) -> Json:
    return {"text": text, "thought": True} | ({"thoughtSignature": signature} if signature else {})


def _call(call: ToolCall) -> Json:
    seal = at(call.extra, "extra_content", "google", "thought_signature")
    written = {"functionCall": {"id": call.id, "name": call.name, "args": arguments_object(call.arguments or "{}")}}
    return written | ({"thoughtSignature": seal} if isinstance(seal, str) else {})


def _beside(meta: Meta, model: str, usage: TokenUsage | None) -> Json:
    told: Json = {"modelVersion": model, "responseId": meta.id}
    if usage is not None:
        told["usageMetadata"] = {
            "promptTokenCount": usage.input_total,
            "candidatesTokenCount": usage.output,
            "thoughtsTokenCount": usage.reasoning,
            "cachedContentTokenCount": usage.cached_input,
            "totalTokenCount": usage.total,
        }
    return told
