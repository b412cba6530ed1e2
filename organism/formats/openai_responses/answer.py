"""Answers of OpenAI's responses, read: whole, and as a stream of events. Pure.

By the reference the last event repeats the whole answer. Servers other than OpenAI's leave items out of it, or all of
them, or send no such event; so items are kept as they come, and the last event only completes them.
"""

import json

from organism.formats.answers.collector import AnswerCollector
from organism.formats.answers.single_answer import OneAnswerReader
from organism.formats.counts import counting_of, reported_cost
from organism.formats.json_reading import JsonObject, part, text_of, whole_number
from organism.formats.native_tools import CallNames, arguments_of_text
from organism.formats.openai_responses.annotations import annotations_in, logprobs_in
from organism.formats.openai_responses.items import (
    GIVEN,
    ResponseItems,
    call_arguments,
    is_refusal,
    thought_text,
)
from organism.formats.openai_responses.known_items import message_text, written_of
from organism.formats.openai_responses.live_items import LiveItems, as_heard, in_shown_order, without_marks
from organism.formats.openai_responses.tool_uses import tool_uses
from organism.formats.tool_calls import ToolCallPiece
from organism.formats.vendors import Vendor
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderPiece, ProviderSink, Unshown
from organism.llm.requests import CompletionRequest, VendorItem

_LAST = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.done"}
)
_HEADS = frozenset({"response.created", "response.queued", "response.in_progress"})
_WRITES = {
    "output_text": "message",
    "refusal": "message",
    "function_call_arguments": "function_call",
    "custom_tool_call_input": "custom_tool_call",
    "reasoning_summary_text": "reasoning",
    "reasoning_text": "reasoning",
    "reasoning": "reasoning",
}
"""The type of the item that a piece belongs to, by the name of its event."""

_GIVEN = ("_arguments.delta", "_code.delta")
"""Ends of the names of events with pieces of input for tools that the vendor runs."""

_PARTS = {"output_text": "output_text", "text": "output_text", "refusal": "refusal", "reasoning_text": "reasoning_text"}
"""The name of the events that write a part of an item, by the part's type."""


class ResponsesReader(OneAnswerReader):
    """Reads one answer.

    Args:
        request: What was asked.
        vendor: The quirks of the server.
        on_text: Called with each piece.
    """

    def __init__(self, request: CompletionRequest, vendor: Vendor, on_text: ProviderSink | None = None) -> None:
        self._vendor = vendor
        self._on_text = on_text
        super().__init__(AnswerCollector(request, on_text))
        self._items = ResponseItems()
        self._names = CallNames(request.tools)
        self._takes_items = bool(request.vendor_tools)
        self._live = LiveItems(request, self._names, self._pass)
        self._request = request
        self._tool_usage: object = None

    @property
    def is_begun(self) -> bool:
        """Whether any of the answer has come."""
        return bool(self._items)

    def whole(self, value: JsonObject) -> None:
        """Take a whole answer."""
        if isinstance(value.get("response"), dict) or str(value.get("type")).startswith("response."):
            self.event(value)
            return
        if isinstance(value.get("output"), list) or value.get("status") or isinstance(value.get("output_text"), str):
            self._finish(value)

    def event(self, value: JsonObject) -> None:
        """Take an event; see :meth:`organism.formats.answers.decoder.AnswerReader.event`."""
        kind = text_of(value.get("type"))
        self._note_head(part(value, "response"))
        if kind in _HEADS:
            self.is_started = True
        elif kind in _LAST:
            response = value.get("response")
            self._finish(response if isinstance(response, dict) else value, kind.rpartition(".")[2])
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            self._put_item(value, is_done=kind.endswith("done"))
        elif kind in {"response.content_part.added", "response.content_part.done"}:
            self._add_part(value)
        elif kind.endswith(".delta"):
            self._add_delta(kind, value)
        elif kind.endswith(".done"):
            self._add_whole(kind, value)
        elif not kind and ("output" in value or "status" in value):
            self._finish(value)
        self._usage.add(value.get("usage"))
        self._answer.show_usage(value.get("usage"), counting_of(self._vendor))

    def _note_head(self, response: object) -> None:
        self._answer.model = text_of(part(response, "model")) or self._answer.model
        self._answer.service_tier = text_of(part(response, "service_tier")) or self._answer.service_tier

    # -- pieces -------------------------------------------------------------------------------------------------------

    def _put_item(self, value: JsonObject, *, is_done: bool) -> None:
        item = value.get("item")
        if isinstance(item, dict):
            known = self._items.put(value, item, is_done=is_done)
            self._hear(known, is_whole=is_done)

    def _add_delta(self, kind: str, value: JsonObject) -> None:
        delta = value.get("delta")
        piece = text_of(delta) or text_of(part(delta, "text"))
        written = _WRITES.get(kind.removeprefix("response.").removesuffix(".delta"))
        if written is not None:
            item = self._items.written(value, written)
            place = _place(value)
            is_end = written_of(item).add(piece, place)
            item.pop(GIVEN, None)
            item["refusal"] = item.get("refusal") or "refusal" in kind
            if not (is_end and self._live.grow(item, piece)):
                self._hear(item)
        else:
            # The model also writes the input of the vendor's tools; sounds and images are no text.
            self._pass(Unshown(piece) if kind.endswith(_GIVEN) else "")

    def _add_part(self, value: JsonObject) -> None:
        """Take a part of a message: empty when it begins, repeating its pieces when it is complete."""
        kind = text_of(part(value, "part", "type"))
        words = text_of(part(value, "part", "text")) or text_of(part(value, "part", "refusal"))
        if words and kind in _PARTS:
            self._add_whole(f"response.{_PARTS[kind]}.done", {**value, "text": words})

    def _add_whole(self, kind: str, value: JsonObject) -> None:
        """Take an event that repeats the whole text; some servers send the text in no other event."""
        written = _WRITES.get(kind.removeprefix("response.").removesuffix(".done"))
        if written is None:
            return
        item = self._items.written(value, written)
        whole = value.get("arguments") if written == "function_call" else value.get("text") or value.get("refusal")
        if written == "function_call" and not item.get("name"):
            item["name"] = text_of(value.get("name"))
        place = _place(value)
        if isinstance(whole, dict):
            item[GIVEN] = whole
        elif isinstance(whole, str) and len(whole) > len(written_of(item).part(place)):
            written_of(item).replace(whole, place)
            item.pop(GIVEN, None)
            item["refusal"] = item.get("refusal") or "refusal" in kind
        self._hear(item)

    def _hear(self, item: JsonObject, *, is_whole: bool = False) -> None:
        """Hand on the part of an item that has not been handed on; at least a sign of life."""
        if item.get("type") == "message":
            self._live.words(item, message_text(item) if is_whole else str(written_of(item)) or message_text(item))
        else:
            self._live.more(item, is_whole=is_whole)

    def _pass(self, piece: ProviderPiece) -> None:
        self._usage.grow()
        if self._on_text is not None:
            self._on_text(piece)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _finish(self, response: JsonObject, status: str = "") -> None:
        """Take the response object of the last event, or of an answer that comes whole."""
        self.is_started = True
        self._note_head(response)
        output = response.get("output")
        told = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        if not told and not self._items and (text := text_of(response.get("output_text"))):
            told = [{"type": "message", "content": text}]
        self._items.complete(told)
        self._usage.add(response.get("usage"))
        self._tool_usage = response.get("tool_usage") or self._tool_usage
        status = text_of(response.get("status")) or status
        if not self._items and not isinstance(output, list):
            return
        self._answer.end(part(response, "incomplete_details", "reason") or ("" if status == "completed" else status))
        self._answer.is_ended = status not in {"in_progress", "queued"}

    def completion(self) -> Completion:
        """Return the answer, after handing on what had to wait for the end."""
        late = self._usage.is_late
        for item in self._items:
            self._hear(item, is_whole=True)
        self._answer.hush()
        for place, item in enumerate(in_shown_order(self._items)):
            self._read_item(place, item)
        self._usage.is_late = late
        self._answer.tool_uses = tool_uses(self._request, self._items, self._tool_usage)
        vendor = self._vendor
        return self._answer.completion(counting_of(vendor), lambda usage: reported_cost(usage, vendor))

    def _read_item(self, place: int, item: JsonObject) -> None:
        answer = self._answer
        match item.get("type"):
            case "message":
                (answer.refuse if is_refusal(item) else answer.write)(as_heard(item, message_text(item)))
                answer.cite(*annotations_in(item))
                answer.logprobs += logprobs_in(item)
            case "function_call" | "custom_tool_call" as kind:
                call_id = text_of(item.get("call_id")) or text_of(item.get("id"))
                name = self._names.known(text_of(item.get("name")), text_of(item.get("namespace")))
                text = text_of(item.get("input")) or str(written_of(item))
                given = call_arguments(item) if kind == "function_call" else arguments_of_text(text)
                written = json.dumps(given, ensure_ascii=False) if isinstance(given, dict) else given
                arguments = self._live.arguments(item, written) if isinstance(written, str) else written
                answer.call(ToolCallPiece(id=call_id, name=name, arguments=arguments, begins=True))
            case "reasoning":
                seal, thought_id = text_of(item.get("encrypted_content")), text_of(item.get("id"))
                answer.think(as_heard(item, thought_text(item)), place, signature=seal, thought_id=thought_id)
            case str() if self._takes_items:
                answer.take(VendorItem(without_marks(item)))
            case _:
                pass


def _place(event: JsonObject) -> int:
    """Return the index of the part that an event writes: messages and thoughts have several parts."""
    names = ("content_index", "summary_index")
    return next((number for name in names if (number := whole_number(event.get(name))) is not None), 0)
