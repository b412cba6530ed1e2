"""Reads citations, log probabilities and calls of custom tools in chat completions. Pure.

Source: the reference of ``POST /v1/chat/completions``: ``annotations``, ``logprobs``, calls of custom tools.
"""

from collections.abc import Iterator

import msgspec

from organism.formats.answers.collector import AnswerCollector
from organism.formats.json_reading import JsonObject, part, text_of, whole_number
from organism.formats.native_tools import arguments_of_text
from organism.formats.tool_calls import ToolCallPiece
from organism.llm.citations import Citation


def citations_in(message: JsonObject) -> Iterator[Citation]:
    """Yield the citations of a message, or of a piece of one."""
    listed = message.get("annotations")
    for each in listed if isinstance(listed, list) else ():
        if not isinstance(each, dict):
            continue
        said = each.get("url_citation")
        url = text_of(part(said, "url"))
        start, end = (whole_number(part(said, name)) or 0 for name in ("start_index", "end_index"))
        title, quoted = text_of(part(said, "title")), text_of(part(said, "content"))
        yield Citation(url, title, max(0, start), max(0, end), quoted, each, "chat")


def logprobs_in(choice: JsonObject) -> list[JsonObject]:
    """Return the log probabilities of a choice, or of a piece of one."""
    listed = part(choice, "logprobs", "content")
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


class _CustomCall(msgspec.Struct):
    """A call of a custom tool while it is written."""

    id: str = ""
    name: str = ""
    text: str = ""


class CustomCalls:
    """Collects calls of custom tools, whose free text becomes arguments when it is complete."""

    def __init__(self) -> None:
        self._calls: dict[int, _CustomCall] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, call: JsonObject, *, is_whole: bool) -> None:
        """Take a call, or a piece of one."""
        place = whole_number(call.get("index"))
        known = self._calls.setdefault(len(self._calls) if place is None else place, _CustomCall())
        custom = call.get("custom")
        known.id = known.id or text_of(call.get("id"))
        known.name = known.name or text_of(part(custom, "name"))
        given = text_of(part(custom, "input"))
        known.text = given if is_whole and given else known.text + given

    def finish(self, answer: AnswerCollector) -> None:
        """Add the calls to an answer."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            answer.call(ToolCallPiece(id=call.id, name=call.name, arguments=arguments_of_text(call.text), begins=True))
