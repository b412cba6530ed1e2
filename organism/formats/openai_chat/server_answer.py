"""Writes answers of chat completions: whole, and as a stream of chunks. Pure."""

from organism.amounts import TokenUsage
from organism.formats.answers.annotations import chat_annotations_of
from organism.formats.errors.faults import Fault
from organism.formats.errors.openai_errors import error_body
from organism.formats.native_tools import CallNames, text_of_arguments
from organism.formats.openai_chat.legacy_functions import LEGACY, function_call
from organism.formats.openai_chat.reasoning_details import FIELD, KEPT_FIELDS, write_details
from organism.formats.openai_chat.thinking_words import NO_REASONING, REASONING
from organism.formats.server_format import COMMENT, Asked, Json, Meta, event
from organism.llm.answers import Completion
from organism.llm.deltas import CitationDelta, Delta, ReasoningDelta, TextBreak, ToolCallDelta
from organism.llm.requests import ToolCall, VendorItem

_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
_NOT_WHOLE = "length"
"""The finish reason of an answer that was paused or broke, of those that clients of this format know."""
_LEGACY_REASON = {"tool_calls": LEGACY}
_DONE = b"data: [DONE]\n\n"


def answered(asked: Asked, meta: Meta, answer: Completion) -> Json:
    """Write a whole answer with all its choices."""
    names, dialect = CallNames(asked.request.tools), asked.dialect
    choices = (answer, *answer.alternatives)
    return {
        "id": f"chatcmpl-{meta.id}",
        "object": "chat.completion",
        "created": meta.created_s,
        "model": answer.model,
        "choices": [_choice(place, choice, names, dialect) for place, choice in enumerate(choices)],
        "usage": _usage(answer.usage),
        **_tier(answer),
    }


def _choice(place: int, answer: Completion, names: CallNames, dialect: frozenset[str]) -> Json:
    message: Json = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal or None}
    if answer.tool_calls and LEGACY in dialect:
        message |= function_call(answer.tool_calls[0])
    elif answer.tool_calls:
        message["tool_calls"] = [_call(call, names) for call in answer.tool_calls]
    else:
        message["content"] = answer.text
    message |= _thought("".join(thought.text for thought in answer.reasoning), dialect)
    if annotations := chat_annotations_of(answer.parts):
        message["annotations"] = annotations
    message |= _kept(answer, dialect)
    return {"index": place, "message": message, "logprobs": _logprobs(answer), **_reason(answer, dialect)}


def _thought(text: str, dialect: frozenset[str]) -> Json:
    """Write reasoning in the fields in which the client looks for it."""
    if not text or NO_REASONING in dialect:
        return {}
    return {"reasoning_content": text} | ({"reasoning": text} if REASONING in dialect else {})


def _logprobs(answer: Completion) -> Json | None:
    return {"content": list(answer.logprobs), "refusal": None} if answer.logprobs else None


def _tier(answer: Completion) -> Json:
    return {"service_tier": answer.service_tier} if answer.service_tier else {}


class ChatWriter:
    """Writes an answer as chunks."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._usage = asked.usage
        self._dialect = asked.dialect
        self._names = CallNames(asked.request.tools)
        self._places: dict[int, int] = {}
        self._sealed: set[int] = set()
        self._head: Json = {
            "id": f"chatcmpl-{meta.id}",
            "object": "chat.completion.chunk",
            "created": meta.created_s,
            "model": asked.request.model,
        }

    def begin(self) -> bytes:
        """Write the chunk with the role."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def delta(self, delta: Delta) -> bytes:
        """Write a piece; the first of a call names its tool."""
        match delta:
            case str():
                return self._chunk({"content": str(delta)})
            case ReasoningDelta(text=text):
                return self._chunk(shown) if (shown := _thought(text, self._dialect)) else b""
            case ToolCallDelta():
                return self._call(delta)
            case VendorItem() | TextBreak() | CitationDelta():  # citations are sent at the end
                return b""

    def alive(self) -> bytes:
        """Write a comment."""
        return COMMENT

    def end(self, answer: Completion) -> bytes:
        """Write what a client must send back, other choices, the finish reason and usage."""
        beside = _kept(answer, self._dialect) | ({"refusal": answer.refusal} if answer.refusal else {})
        late = [
            {"index": index, **call.extra}
            for index, call in enumerate(answer.tool_calls)
            if call.extra and index not in self._sealed and LEGACY not in self._dialect
        ]
        beside |= {"tool_calls": late} if late else {}
        if annotations := chat_annotations_of(answer.parts):
            beside["annotations"] = annotations
        data = self._custom_calls(answer)
        if beside or answer.logprobs:
            data += self._chunk(beside, logprobs=_logprobs(answer))
        data += self._chunk({}, **_reason(answer, self._dialect))
        for place, each in enumerate(answer.alternatives, 1):
            data += self._whole(place, each)
        if self._usage:
            data += event(self._head | {"choices": [], "usage": _usage(answer.usage)} | _tier(answer))
        return data + _DONE

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more."""
        return event(error_body(fault))

    def _whole(self, place: int, answer: Completion) -> bytes:
        """Write another choice as a whole: only the first is streamed."""
        choice = _choice(place, answer, self._names, self._dialect)
        message = choice.pop("message")
        for at, call in enumerate(message.get("tool_calls", ())):
            call["index"] = at
        delta = {name: value for name, value in message.items() if value is not None}
        return self._chunk(delta, **choice | {"finish_reason": None}) + self._chunk(
            {}, index=place, **_reason(answer, self._dialect)
        )

    def _custom_calls(self, answer: Completion) -> bytes:
        """Write calls of custom tools, whose text is known only when their arguments are complete."""
        data = b""
        for call in answer.tool_calls:
            if self._names.is_custom(call.name):
                index = len(self._places)
                self._places[-1 - index] = index
                data += self._chunk({"tool_calls": [{"index": index, **_call(call, self._names)}]})
        return data

    def _chunk(self, delta: Json, **ends: object) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **ends}
        last = {"usage": None} if self._usage else {}
        return event(self._head | {"choices": [choice]} | last)

    def _call(self, delta: ToolCallDelta) -> bytes:
        if self._names.is_custom(delta.name):
            return b""
        if LEGACY in self._dialect:
            return self._function_call(delta)
        if (index := self._places.get(delta.place)) is not None:
            return self._chunk({"tool_calls": [{"index": index, "function": {"arguments": delta.arguments}}]})
        index = self._places[delta.place] = len(self._places)
        if delta.extra:
            self._sealed.add(index)
        call = ToolCall(delta.id, delta.name, delta.arguments, delta.extra)
        return self._chunk({"tool_calls": [{"index": index, **_call(call, self._names)}]})

    def _function_call(self, delta: ToolCallDelta) -> bytes:
        """Write a piece of the first call in the old form; it has no place for others."""
        if not self._places:
            self._places[delta.place] = 0
            return self._chunk(function_call(ToolCall(delta.id, delta.name, delta.arguments)))
        return self._chunk({LEGACY: {"arguments": delta.arguments}}) if delta.place in self._places else b""


def _call(call: ToolCall, names: CallNames) -> Json:
    if names.is_custom(call.name):
        custom = {"name": names.own_name(call.name), "input": text_of_arguments(call.arguments)}
        return {**call.extra, "id": call.id, "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.arguments}
    return {**call.extra, "id": call.id, "type": "function", "function": function}


def _kept(answer: Completion, dialect: frozenset[str]) -> Json:
    """Write what a client must send back of the reasoning: its seals, and a vendor's own fields."""
    kept: Json = {}
    if NO_REASONING in dialect:
        return kept
    for thought in answer.reasoning:
        kept |= {name: thought.extra[name] for name in KEPT_FIELDS & thought.extra.keys()}
    details = write_details(thought for thought in answer.reasoning if KEPT_FIELDS.isdisjoint(thought.extra))
    return kept | ({FIELD: details} if details else {})


def _reason(answer: Completion, dialect: frozenset[str]) -> dict[str, str]:
    """Write the finish reason, and for an answer that is not whole the provider's own word beside it."""
    reason: str = answer.finish_reason if answer.finish_reason in _REASONS else _NOT_WHOLE
    reason = _LEGACY_REASON.get(reason, reason) if LEGACY in dialect else reason
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
