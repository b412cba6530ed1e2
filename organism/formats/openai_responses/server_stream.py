"""Answers of OpenAI's responses, written as the events that build them up. Pure.

Items are written in the order in which their first pieces come; each ends when another begins.
"""

import msgspec

from organism.formats.errors.faults import Fault
from organism.formats.errors.openai_errors import error_body
from organism.formats.openai_responses.native_tools import CallNames, text_of_arguments
from organism.formats.openai_responses.server_answer import (
    call_item,
    finished,
    message_item,
    output_text,
    response,
    thought_item,
    thought_name,
)
from organism.formats.server_format import COMMENT, Asked, Json, Meta, event
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, ReasoningDelta, ToolCallDelta
from organism.llm.requests import Reasoning, ToolCall, VendorItem


class _Item(msgspec.Struct, kw_only=True):
    """An item of the output while it is written.

    Attributes:
        index: Where it stands in the output.
        name: Its id.
        first: Its first piece.
        text: What it says, thinks or asks for so far.
        signature: The seal of a thought, likewise.
    """

    index: int
    name: str
    first: Delta
    text: list[str] = []
    signature: str = ""


class ResponsesWriter:
    """Writes an answer as events, each with its number."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._asked = asked
        self._meta = meta
        self._number = 0
        self._items: dict[tuple[type, int], _Item] = {}
        self._open: _Item | None = None
        self._names = CallNames(asked.request.tools)
        self._natives = 0

    def begin(self) -> bytes:
        """Begin the response."""
        whole = response(self._asked, self._meta, "in_progress")
        return self._event("response.created", response=whole) + self._event("response.in_progress", response=whole)

    def delta(self, delta: Delta) -> bytes:
        """Write a piece, after the beginning of its item where it is the first of it."""
        if isinstance(delta, VendorItem):
            return self._native(delta)
        data, item = self._item(delta)
        match delta:
            case str():
                return data + self._more(item, delta, "response.output_text.delta", content_index=0, logprobs=[])
            case ToolCallDelta(name=name, arguments=text) if self._names.is_custom(name):
                item.text.append(text)  # told when it is whole: it is the text within that counts
                return data
            case ToolCallDelta(arguments=arguments):
                return data + self._more(item, arguments, "response.function_call_arguments.delta")
            case ReasoningDelta(text=text):
                item.signature += delta.signature
                if not text:
                    return data
                begin = b"" if item.text else self._part(item, "added", "")
                return data + begin + self._more(item, text, "response.reasoning_summary_text.delta", summary_index=0)

    def alive(self) -> bytes:
        """Write a comment."""
        return COMMENT

    def end(self, answer: Completion) -> bytes:
        """Write the end of the last item, and the whole response once more."""
        data = b""
        if not answer.text and not answer.tool_calls and not answer.vendor_items:
            data, _ = self._item("")
        data += self._stop()
        whole = finished(self._asked, self._meta, answer, [self._written(item) for item in self._items.values()])
        return data + self._event(f"response.{whole['status']}", response=whole)

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more: in the fields of the event, and where the official client looks."""
        error = error_body(fault)["error"]
        flat = {"code": fault.code, "message": fault.message, "param": fault.param}
        return self._event("error", **flat, error=error)

    def _native(self, item: VendorItem) -> bytes:
        """Write an item that only servers of this format understand."""
        data = self._stop()
        place = len(self._items)
        self._items[VendorItem, self._natives] = _Item(index=place, name=str(item.value.get("id")), first=item)
        self._natives += 1
        data += self._event("response.output_item.added", output_index=place, item=item.value)
        return data + self._event("response.output_item.done", output_index=place, item=item.value)

    def _item(self, delta: str | ReasoningDelta | ToolCallDelta) -> tuple[bytes, _Item]:
        """Return the item that a piece belongs to, and what begins it if it is new."""
        place = 0 if isinstance(delta, str) else delta.place
        if (item := self._items.get((type(delta), place))) is not None:
            return b"", item
        data = self._stop()
        item = _Item(index=len(self._items), name=self._name(delta), first=delta)
        self._items[type(delta), place] = self._open = item
        begun = self._written(item) | {"status": "in_progress"}
        if isinstance(delta, str):
            begun["content"] = []
        data += self._event("response.output_item.added", output_index=item.index, item=begun)
        if isinstance(delta, str):
            part = output_text("")
            data += self._event("response.content_part.added", **_at(item), content_index=0, part=part)
        return data, item

    def _name(self, delta: str | ReasoningDelta | ToolCallDelta) -> str:
        """Return the id of an item: the same as in the answer written whole, under which it is kept."""
        place = sum(kind is type(delta) for kind, _ in self._items)
        match delta:
            case str():
                return f"msg_{self._meta.id}"
            case ReasoningDelta():
                return thought_name(self._meta, place, delta.id, redacted=delta.redacted)
            case ToolCallDelta():
                return f"fc_{self._meta.id}_{place}"

    def _written(self, item: _Item) -> Json:
        """Return an item as it is so far."""
        text = "".join(item.text)
        match item.first:
            case str():
                return message_item(item.name, text)
            case ReasoningDelta():
                return thought_item(item.name, Reasoning(text, item.signature))
            case ToolCallDelta(id=call_id, name=name, extra=extra):
                return call_item(item.name, ToolCall(call_id, name, text, extra), self._names)
            case VendorItem(value=value):
                return value

    def _more(self, item: _Item, piece: str, name: str, **fields: object) -> bytes:
        item.text.append(piece)
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
            case str():
                done = self._event("response.output_text.done", **at, content_index=0, text=text, logprobs=[])
                data = done + self._event("response.content_part.done", **at, content_index=0, part=output_text(text))
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


def _at(item: _Item) -> Json:
    return {"item_id": item.name, "output_index": item.index}
