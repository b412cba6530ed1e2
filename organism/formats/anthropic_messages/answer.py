"""Reads answers of Anthropic's messages: whole, and as a stream of events. Pure.

Source: the reference of ``POST /v1/messages`` and of its streams. Usage comes twice there: with the first event and,
cumulative, with the last delta.
"""

import msgspec
from msgspec.structs import replace

from organism.formats.answers.collector import AnswerCollector
from organism.formats.answers.single_answer import OneAnswerReader
from organism.formats.anthropic_messages.answer_blocks import (
    NativeBlock,
    citation_of,
    citations_in,
    counted_uses,
    note_use,
)
from organism.formats.counts import MESSAGES_COUNTING
from organism.formats.json_reading import JsonObject, part, text_of, whole_number
from organism.formats.tool_calls import ToolCallPiece
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink
from organism.llm.requests import CompletionRequest, VendorItem

_FIELDS = ("container", "context_management", "stop_sequence", "stop_details")
"""Fields of a message, other than blocks, stop reason and usage, that are kept for clients of the format."""


class MessagesReader(OneAnswerReader):
    """Reads one answer.

    Args:
        request: What was asked.
        on_text: Called with each piece.
    """

    def __init__(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> None:
        super().__init__(AnswerCollector(request, on_text))
        self._blocks: list[str] = []
        self._open: dict[int, int] = {}
        self._takes_items = bool(request.vendor_tools)
        self._native: dict[int, NativeBlock] = {}
        self._fields: JsonObject = {}

    def whole(self, value: JsonObject) -> None:
        """Take a whole answer."""
        message = value.get("message")
        if text_of(value.get("type")) not in {"message", ""}:
            self.event(value)
        elif isinstance(message, dict):
            self.whole(message)
        elif isinstance(value.get("content"), list | str):
            self._read_head(value)
            self._answer.is_ended = True

    def event(self, value: JsonObject) -> None:
        """Take an event; see :meth:`organism.formats.answers.decoder.AnswerReader.event`."""
        match value.get("type"):
            case "message_start":
                self.is_started = True
                message = value.get("message")
                self._read_head(message if isinstance(message, dict) else value)
                self._answer.show_usage(part(message, "usage") or value.get("usage"), MESSAGES_COUNTING)
            case "content_block_start":
                self._open_block(value.get("index"), value.get("content_block"))
            case "content_block_delta":
                self._add_delta(value.get("index"), value.get("delta"))
            case "content_block_stop":
                self._close_block(value.get("index"))
            case "message_delta":
                self._answer.end(part(value, "delta", "stop_reason") or value.get("stop_reason"))
                self._note_fields(value)
                self._note_fields(value.get("delta"))
                for usage in (value.get("usage"), part(value, "delta", "usage")):
                    self._usage.add(usage)
                    self._answer.show_usage(usage, MESSAGES_COUNTING)
            case "message_stop":
                self._usage.add(value.get("usage"))
                self._answer.is_ended = True
            case "message" | None:
                self.whole(value)
            case _:
                pass

    def _read_head(self, message: JsonObject) -> None:
        """Read a message: a whole one, or the head of a stream, which may contain blocks already."""
        self._answer.model = text_of(message.get("model")) or self._answer.model
        content = message.get("content")
        if isinstance(content, str):
            self._answer.write(text_of(content))
        for block in content if isinstance(content, list) else ():
            self._open_block(None, block)
            self._close_block(len(self._blocks) - 1)
        self._note_fields(message)
        self._answer.end(message.get("stop_reason"))
        usage = message.get("usage")
        self._answer.service_tier = text_of(part(usage, "service_tier")) or self._answer.service_tier
        self._usage.add(usage)

    def _open_block(self, index: object, block: object) -> None:
        """Begin a block; a new one even if its index is missing or used before, as some servers write it."""
        place = len(self._blocks)
        number = whole_number(index)
        self._open[place if number is None else number] = place
        kind = text_of(part(block, "type"))
        self._blocks.append(kind)
        match kind:
            case "text":
                self._answer.begin_block()
                self._answer.write(text_of(part(block, "text")))
                self._answer.cite(*citations_in(part(block, "citations")))
            case "tool_use":
                given = part(block, "input")
                call_id, name = text_of(part(block, "id")), text_of(part(block, "name"))
                self._answer.call(
                    ToolCallPiece(place=place, id=call_id, name=name, arguments=_written(given), begins=True)
                )
            case "thinking":
                self._answer.think(text_of(part(block, "thinking")), place, signature=text_of(part(block, "signature")))
            case "redacted_thinking":
                self._answer.think("", place, signature=text_of(part(block, "data")), redacted=True)
            case _ if isinstance(block, dict):
                note_use(self._answer.tool_uses, block)
                self._answer.note_use()
                self._native[place] = NativeBlock(block)
            case _:
                pass

    def _close_block(self, index: object) -> None:
        """End a block; one of this format's own is complete now."""
        number = whole_number(index)
        block = self._native.pop(self._open.get(-1 if number is None else number, len(self._blocks) - 1), None)
        if block is not None and self._takes_items:
            self._answer.take(block.item)

    def _note_fields(self, message: object) -> None:
        """Keep fields of the whole answer that only clients of this format understand."""
        for name in _FIELDS:
            if value := part(message, name):
                self._fields[name] = value

    def _add_delta(self, index: object, delta: object) -> None:
        number = whole_number(index)
        place = self._open.get(-1 if number is None else number, len(self._blocks) - 1)
        match part(delta, "type"):
            case "input_json_delta" if self._is_of_server(place):
                if (block := self._native.get(place)) is not None:  # input of a tool that the vendor runs
                    block.written += text_of(part(delta, "partial_json"))
            case "input_json_delta":
                self._answer.call(ToolCallPiece(place=place, arguments=_written(part(delta, "partial_json"))))
            case "thinking_delta":
                self._answer.think(text_of(part(delta, "thinking")), place)
            case "signature_delta":
                self._answer.think("", place, signature=text_of(part(delta, "signature")))
            case "citations_delta":
                cited = part(delta, "citation")
                if isinstance(cited, dict):
                    self._answer.cite(citation_of(cited))
            case _:
                pieces = part(delta, "partial_json")
                if isinstance(pieces, str | dict) and not self._is_of_server(place):
                    self._answer.call(ToolCallPiece(place=place, arguments=pieces))
                self._answer.write(text_of(part(delta, "text")))

    def _is_of_server(self, place: int) -> bool:
        """Whether JSON in a block is input of a tool that the vendor runs, not of a call for us."""
        return 0 <= place < len(self._blocks) and self._blocks[place] != "tool_use"

    def completion(self) -> Completion:
        """Return the answer."""
        for place in list(self._native):  # some servers do not say where blocks end
            if self._takes_items:
                self._answer.take(self._native[place].item)
        self._native.clear()
        answer = self._answer
        usage, _ = answer.usage.merged()
        answer.tool_uses = counted_uses(answer.tool_uses, usage)
        completion = answer.completion(MESSAGES_COUNTING)
        fields = VendorItem(self._fields, "messages") if self._fields else None
        return replace(completion, vendor_fields=fields)


def _written(given: object) -> object:
    """Return the arguments in the start of a block; ``None`` for an empty object, after which pieces may follow."""
    if not given:
        return None
    return given if isinstance(given, str) else msgspec.json.encode(given).decode()
