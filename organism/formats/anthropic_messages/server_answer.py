"""Writes answers of Anthropic's messages: whole, and as a stream of events. Pure."""

import msgspec

from organism.amounts import TokenUsage
from organism.formats.anthropic_messages.server_errors import error_body
from organism.formats.call_ids import id_with_extra
from organism.formats.errors.faults import Fault
from organism.formats.server_format import Asked, Json, Meta, event
from organism.formats.tool_calls import arguments_object
from organism.llm.answers import Completion
from organism.llm.citations import Citation
from organism.llm.deltas import CitationDelta, Delta, ReasoningDelta, TextBreak, ToolCallDelta
from organism.llm.requests import Part, Reasoning, TextPart, ToolCall, VendorItem

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause_turn": "pause_turn",
    "error": "max_tokens",  # of the reasons that clients know, the one that they continue from
}
_TIERS = frozenset({"standard", "priority", "batch"})
_OWN = frozenset({"model_context_window_exceeded"})
"""Anthropic's own reasons that say more than those above."""


def answered(asked: Asked, meta: Meta, answer: Completion) -> Json:
    """Write a whole answer."""
    del asked
    content = [block for part in answer.turn.parts if (block := _block(part)) is not None]
    if not content or not (answer.text or answer.tool_calls or answer.vendor_items):
        content.append({"type": "text", "text": ""})
    return _message(meta, answer.model) | {
        "content": content,
        "usage": _usage(answer),
        **_ends(answer),
        **_beside(answer),
    }


class MessagesWriter:
    """Writes an answer as the events of a message, block by block."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._message = _message(meta, asked.request.model)
        self._blocks = 0
        self._open: _Block | None = None
        self._calls: dict[int, int] = {}
        self._texts = 0

    def begin(self) -> bytes:
        """Begin the message."""
        message = self._message | {"content": [], "stop_reason": None, "usage": _usage_of(None)}
        return _event({"type": "message_start", "message": message}) + self.alive()

    def delta(self, delta: Delta) -> bytes:
        """Write a piece, preceded by the beginning of its block if it is the first."""
        match delta:
            case str():
                begun = {"type": "text", "text": ""}
                return self._in(("text", self._texts), begun) + self._more({"type": "text_delta", "text": str(delta)})
            case ReasoningDelta():
                return self._thought(delta)
            case ToolCallDelta():
                return self._call(delta)
            case VendorItem():
                return self._native(delta)
            case CitationDelta(citation=citation):
                return self._cite(citation)
            case TextBreak():
                self._texts += 1
        return b""

    def alive(self) -> bytes:
        """Write a ping."""
        return _event({"type": "ping"})

    def end(self, answer: Completion) -> bytes:
        """Write the stop reason and usage."""
        beside = _beside(answer)
        delta = _ends(answer) | {name: beside.pop(name) for name in ("container",) if name in beside}
        data = self._stop() + _event({"type": "message_delta", "delta": delta, "usage": _usage(answer), **beside})
        return data + _event({"type": "message_stop"})

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more."""
        return _event(error_body(fault))

    def _native(self, item: VendorItem) -> bytes:
        """Write a block of this format's own; items of other formats cannot be shown here."""
        if item.format != "messages":
            return b""
        given = item.value.get("input")
        begun = {**item.value, "input": {}} if isinstance(given, dict) else item.value
        data = self._in(("native", self._blocks), begun)
        if given and begun is not item.value:
            written = msgspec.json.encode(given).decode()
            data += self._more({"type": "input_json_delta", "partial_json": written})
        return data + self._stop()

    def _cite(self, citation: Citation) -> bytes:
        """Write a citation of the open text block."""
        cited = citation_in_words(citation)
        if cited is None or self._open != ("text", self._texts):
            return b""
        return self._more({"type": "citations_delta", "citation": cited})

    def _thought(self, delta: ReasoningDelta) -> bytes:
        if delta.redacted:
            return self._in(("redacted", delta.place), {"type": "redacted_thinking", "data": delta.signature})
        data = self._in(("thinking", delta.place), {"type": "thinking", "thinking": "", "signature": ""})
        if delta.text:
            data += self._more({"type": "thinking_delta", "thinking": delta.text})
        if delta.signature:
            data += self._more({"type": "signature_delta", "signature": delta.signature})
        return data

    def _call(self, delta: ToolCallDelta) -> bytes:
        more: Json = {"type": "input_json_delta", "partial_json": delta.arguments}
        if (index := self._calls.get(delta.place)) is not None:
            # Some providers go back to a call whose block has ended; clients match pieces by index.
            return self._more(more, index)
        told = id_with_extra(ToolCall(delta.id, delta.name, "", delta.extra))
        data = self._in(("call", delta.place), {"type": "tool_use", "id": told, "name": delta.name, "input": {}})
        self._calls[delta.place] = self._blocks - 1
        return data + (self._more(more) if delta.arguments else b"")

    def _in(self, block: "_Block", begun: Json) -> bytes:
        """Make a block the open one: end the open block and begin this one, unless it is open already."""
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
"""The kind of a block's content, and its place among those of its kind."""


def _event(data: Json) -> bytes:
    """Write an event; its name is also its ``type`` in this format."""
    return event(data, str(data["type"]))


def _message(meta: Meta, model: str) -> Json:
    return {"id": f"msg_{meta.id}", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}


def _reason(answer: Completion) -> str:
    if not answer.is_complete and answer.provider_reason in _OWN:
        return answer.provider_reason
    return _REASONS.get(answer.finish_reason, "max_tokens")


def _ends(answer: Completion) -> Json:
    """Write the stop reason, and the stop sequence if one has ended the answer."""
    fields = answer.vendor_fields
    said = fields.value.get("stop_sequence") if fields is not None and fields.format == "messages" else None
    if isinstance(said, str) and answer.is_complete:
        return {"stop_reason": "stop_sequence", "stop_sequence": said}
    return {"stop_reason": _reason(answer), "stop_sequence": None}


def _beside(answer: Completion) -> Json:
    """Return the fields that the provider has set beside the answer in this format."""
    fields = answer.vendor_fields
    if fields is None or fields.format != "messages":
        return {}
    return {name: value for name, value in fields.value.items() if name != "stop_sequence"}


def _block(part: Part) -> Json | None:
    match part:
        case TextPart(text=text, citations=citations):
            cited = [words for each in citations if (words := citation_in_words(each)) is not None]
            return {"type": "text", "text": text} | ({"citations": cited} if cited else {}) if text else None
        case Reasoning(redacted=True, signature=data):
            return {"type": "redacted_thinking", "data": data}
        case Reasoning(text=text, signature=signature):
            return {"type": "thinking", "thinking": text, "signature": signature} if text or signature else None
        case ToolCall():
            given = arguments_object(part.arguments)
            return {"type": "tool_use", "id": id_with_extra(part), "name": part.name, "input": given}
        case VendorItem(value=value, format="messages"):
            return value
        case _:
            return None


def citation_in_words(citation: Citation) -> Json | None:
    """Write a citation: unchanged if it came in this format, else as a web page; ``None`` if it has no URL."""
    if citation.format == "messages":
        return citation.native
    if not citation.url:
        return None
    return {
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title or None,
        "cited_text": citation.quoted,
        "encrypted_index": "",
    }


def _usage(answer: Completion) -> Json:
    """Write usage, with the uses of the vendor's tools."""
    used = {
        f"{tool.removeprefix('messages:')}_requests": count
        for tool, count in answer.tool_uses.items()
        if tool in {"messages:web_search", "messages:web_fetch"}
    }
    told = {"server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0, **used}} if used else {}
    tier = {"service_tier": answer.service_tier} if answer.service_tier in _TIERS else {}
    return _usage_of(answer.usage) | told | tier


def _usage_of(usage: TokenUsage | None) -> Json:
    """Write token usage; zeros where the provider sent none, which the format cannot express."""
    counted = usage or TokenUsage()
    return {
        "input_tokens": counted.input,
        "cache_creation_input_tokens": counted.cache_write,
        "cache_read_input_tokens": counted.cached_input,
        "output_tokens": counted.output_total,
        "output_tokens_details": {"thinking_tokens": counted.reasoning},
    }
