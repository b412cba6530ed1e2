"""Answers written as the event stream of OpenAI's responses. Pure.

Items are written in the order of their first pieces; an item ends when another begins.
"""

from collections import Counter

import msgspec

from organism.formats.answers.annotations import annotation_of
from organism.formats.errors.faults import Fault, FaultKind
from organism.formats.errors.openai_errors import error_body
from organism.formats.native_tools import CallNames, text_of_arguments
from organism.formats.openai_responses.server_answer import (
    call_item,
    finished,
    message_item,
    message_name,
    output_text,
    refusal_part,
    response,
    thought_item,
    thought_name,
)
from organism.formats.server_format import COMMENT, Asked, Json, Meta, event
from organism.llm.answers import Completion
from organism.llm.citations import Citation
from organism.llm.deltas import CitationDelta, Delta, ReasoningDelta, RefusalDelta, TextBreak, ToolCallDelta
from organism.llm.requests import Reasoning, ToolCall, VendorItem

_END_CODES: dict[FaultKind, str] = {
    "rate": "rate_limit_exceeded",
    "upstream": "server_error",
    "unavailable": "server_error",
}


class _Item(msgspec.Struct, kw_only=True):
    """An output item while it is written.

    Attributes:
        index: Its place in the output.
        name: Its id.
        first: Its first piece.
        text: Pieces of its text, reasoning or arguments so far.
        length: Characters of :attr:`text`.
        signature: The seal of a thought so far.
        citations: Its annotations, as written.
        logprobs: Log probabilities of its tokens.
        block: The offset at which its last block of text begins.
    """

    index: int
    name: str
    first: Delta
    text: list[str] = []
    length: int = 0
    signature: str = ""
    citations: list[Json] = []
    logprobs: list[Json] = []
    block: int = 0


class ResponsesWriter:
    """Writes an answer as numbered events."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._asked = asked
        self._meta = meta
        self._number = 0
        self._items: dict[tuple[type, int], _Item] = {}
        self._open: _Item | None = None
        self._names = CallNames(asked.request.tools)
        self._begun: Counter[type] = Counter()
        self._natives = 0
        self._texts = 0

    def begin(self) -> bytes:
        """Begin the response."""
        whole = response(self._asked, self._meta, "in_progress")
        return self._event("response.created", response=whole) + self._event("response.in_progress", response=whole)

    def delta(self, delta: Delta) -> bytes:
        """Write a piece, preceded by the beginning of its item if it is the first."""
        match delta:
            case VendorItem():
                return self._native(delta)
            case CitationDelta(citation=citation):
                return self._cite(citation)
            case TextBreak():
                if self._open is not None:
                    self._open.block = self._open.length
                return b""
        data, item = self._item(delta)
        match delta:
            case RefusalDelta():
                data += self._more(item, str(delta), "response.refusal.delta", content_index=0)
            case str():
                data += self._more(item, delta, "response.output_text.delta", content_index=0, logprobs=[])
            case ToolCallDelta(name=name, arguments=text) if self._names.is_custom(name):
                item.text.append(text)  # sent when complete: the client wants the text inside the JSON
            case ToolCallDelta(arguments=arguments):
                data += self._more(item, arguments, "response.function_call_arguments.delta")
            case ReasoningDelta(text=text):
                item.signature += delta.signature
                if text:
                    data += b"" if item.text else self._part(item, "added", "")
                    data += self._more(item, text, "response.reasoning_summary_text.delta", summary_index=0)
        return data

    def alive(self) -> bytes:
        """Write a comment."""
        return COMMENT

    def end(self, answer: Completion) -> bytes:
        """Write the end of the last item, and the whole response."""
        data = b""
        if not answer.text and not answer.tool_calls and not self._natives:
            data, _ = self._item("")
        if self._open is not None and "".join(self._open.text) == answer.text and _is_said(self._open):
            self._open.logprobs = list(answer.logprobs)
        data += self._stop()
        whole = finished(self._asked, self._meta, answer, [self._written(item) for item in self._items.values()])
        return data + self._event(f"response.{whole['status']}", response=whole)

    def fail(self, fault: Fault) -> bytes:
        """Write a failure twice: as an event that SDKs raise, and as the end of the response that Codex waits for.

        The end uses one of the vendor's own error codes; for ``invalid_prompt`` Codex shows the message and stops.
        """
        error = error_body(fault)["error"]
        flat = {"code": fault.code, "message": fault.message, "param": fault.param}
        code = "invalid_prompt" if fault.retry is False else _END_CODES.get(fault.kind, "invalid_prompt")
        failed = response(self._asked, self._meta, "failed") | {"error": {"code": code, "message": fault.message}}
        return self._event("error", **flat, error=error) + self._event("response.failed", response=failed)

    def _native(self, item: VendorItem) -> bytes:
        """Write an item of this format's own; items of other formats cannot be shown here."""
        if item.format != "responses":
            return b""
        data = self._stop()
        place = len(self._items)
        self._items[VendorItem, self._natives] = _Item(index=place, name=str(item.value.get("id")), first=item)
        self._natives += 1
        data += self._event("response.output_item.added", output_index=place, item=item.value)
        return data + self._event("response.output_item.done", output_index=place, item=item.value)

    def _cite(self, citation: Citation) -> bytes:
        """Write a citation of the last block of text, while its item is open."""
        item = self._open
        if item is None or not _is_said(item):
            return b""
        start, end = citation.start, citation.end or item.length - item.block
        annotation = annotation_of(citation, item.block + start, item.block + end)
        if annotation is None:
            return b""
        place = len(item.citations)
        item.citations.append(annotation)
        at = {**_at(item), "content_index": 0, "annotation_index": place}
        return self._event("response.output_text.annotation.added", **at, annotation=annotation)

    def _place(self, delta: "_Followed") -> int:
        """Return the place of a piece's item among those of its kind; text after another item begins a new one."""
        if not isinstance(delta, str):
            return delta.place
        if (self._texts and self._open is None) or (self._open is not None and not _is_said(self._open)):
            return self._texts
        return max(0, self._texts - 1)

    def _item(self, delta: "_Followed") -> tuple[bytes, _Item]:
        """Return the item of a piece, with the events that begin it if it is new."""
        place = self._place(delta)
        if (item := self._items.get((type(delta), place))) is not None:
            return b"", item
        data = self._stop()
        item = _Item(index=len(self._items), name=self._name(delta), first=delta)
        self._items[type(delta), place] = self._open = item
        begun = self._written(item) | {"status": "in_progress"}
        if _is_said(item):
            self._texts += 1
            begun["content"] = []
        data += self._event("response.output_item.added", output_index=item.index, item=begun)
        if _is_said(item):
            part = refusal_part("") if isinstance(delta, RefusalDelta) else output_text("")
            data += self._event("response.content_part.added", **_at(item), content_index=0, part=part)
        return data, item

    def _name(self, delta: "_Followed") -> str:
        """Return the id of an item: the same that it has in the answer written whole, which is the one kept."""
        place = self._begun[type(delta)]
        self._begun[type(delta)] += 1
        match delta:
            case str():
                return message_name(self._meta, self._texts)
            case ReasoningDelta():
                return thought_name(self._meta, place, delta.id, redacted=delta.redacted)
            case ToolCallDelta():
                return f"fc_{self._meta.id}_{place}"

    def _written(self, item: _Item) -> Json:
        """Return an item as it is so far."""
        text = "".join(item.text)
        match item.first:
            case RefusalDelta():
                return message_item(item.name, refusal_part(text))
            case str():
                return message_item(item.name, output_text(text, item.citations, item.logprobs))
            case ReasoningDelta():
                return thought_item(item.name, Reasoning(text, item.signature))
            case ToolCallDelta(id=call_id, name=name, extra=extra):
                return call_item(item.name, ToolCall(call_id, name, text, extra), self._names)
            case VendorItem(value=value):
                return value
            case _:
                raise TypeError(item)

    def _more(self, item: _Item, piece: str, name: str, **fields: object) -> bytes:
        item.text.append(piece)
        item.length += len(piece)
        return self._event(name, **_at(item), delta=piece, **fields) if piece else b""

    def _part(self, item: _Item, what: str, text: str) -> bytes:
        part = {"type": "summary_text", "text": text}
        return self._event(f"response.reasoning_summary_part.{what}", **_at(item), summary_index=0, part=part)

    def _stop(self) -> bytes:
        """End the open item."""
        item, self._open = self._open, None
        if item is None:
            return b""
        text, at, data = "".join(item.text), _at(item), b""
        match item.first:
            case RefusalDelta():
                where = {**at, "content_index": 0}
                data = self._event("response.refusal.done", **where, refusal=text)
                data += self._event("response.content_part.done", **where, part=refusal_part(text))
            case str():
                part = output_text(text, item.citations, item.logprobs)
                where = {**at, "content_index": 0}
                data = self._event("response.output_text.done", **where, text=text, logprobs=item.logprobs)
                data += self._event("response.content_part.done", **where, part=part)
            case ReasoningDelta() if text:
                done = self._event("response.reasoning_summary_text.done", **at, summary_index=0, text=text)
                data = done + self._part(item, "done", text)
            case ToolCallDelta(name=name) if self._names.is_custom(name):
                given = text_of_arguments(text)
                data = self._event("response.custom_tool_call_input.delta", **at, delta=given)
                data += self._event("response.custom_tool_call_input.done", **at, input=given)
            case ToolCallDelta():
                data = self._event("response.function_call_arguments.done", **at, arguments=text)
            case _:
                pass
        return data + self._event("response.output_item.done", output_index=item.index, item=self._written(item))

    def _event(self, name: str, **fields: object) -> bytes:
        number, self._number = self._number, self._number + 1
        return event({"type": name, "sequence_number": number, **fields}, name)


_Followed = str | ReasoningDelta | ToolCallDelta
"""Pieces that build up items."""


def _is_said(item: _Item) -> bool:
    """Whether an item is a message."""
    return isinstance(item.first, str)


def _at(item: _Item) -> Json:
    return {"item_id": item.name, "output_index": item.index}
