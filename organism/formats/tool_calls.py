"""Assembles tool calls from streamed pieces, however a server marks them. Pure.

By OpenAI's reference the pieces of one call share an ``index``, its first piece has an id and a name, and the pieces of
its arguments, in order, are the text of one JSON object. Servers in use leave the index out, write it as null or as
text, or always write 0 (Gemini, Ollama); repeat id and name in each piece; leave ids out or give one id to several
calls; write arguments as an object (llama.cpp's and Ollama's relays), as null, or whole once more at the end.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec

from organism.formats.json_reading import JsonObject, loads, text_of
from organism.llm.deltas import ToolCallDelta, Unshown
from organism.llm.requests import ToolCall

_MARKS = re.compile(r'\\.|\\|["{}\[\]]', re.DOTALL)
_SAID_MOST = 4
"""The most repetitions of the same arguments that are recognized."""

HELD_BACK = 256
"""Arguments up to this many characters are shown when they are complete, longer ones as they come."""

Place = int | str
"""The index of a call; the one call of the old form is under the name of its field."""


class Nesting:
    """Tracks the nesting depth of streamed JSON, looking at each piece once."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_text = False
        self._escaped = False
        self.opened = False

    @property
    def closed(self) -> bool:
        """Whether an object, or a JSON string, has begun and ended."""
        return self.opened and self._depth == 0 and not self._in_text

    def feed(self, piece: str, start: int = 0) -> int:
        """Follow a piece up to where the object ends; return that offset in the piece, else its length."""
        start += self._escaped
        self._escaped = False
        for found in _MARKS.finditer(piece, start):
            mark = found[0]
            if mark == '"':
                self._in_text = not self._in_text
                self.opened = True  # text at the top is the text of an object
            elif mark[0] == "\\":
                self._escaped = len(mark) == 1
                continue
            elif not self._in_text:
                self.opened = True
                self._depth += 1 if mark in "{[" else -1
            if self._depth == 0 and not self._in_text:
                return found.end()
        return len(piece)


class _Call:
    """A call while it is written."""

    def __init__(self, place: Place | None, number: int) -> None:
        self.place = place
        self.number = number
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.extra: JsonObject = {}
        self.told_id: str | None = None
        self.shown = 0
        self.ends_at: int | None = None
        """How many pieces the first object takes up, once it has ended."""
        self.is_shown_whole = False
        self.is_named_again = False
        """Whether its name was repeated after its end: further arguments begin another call of that name."""
        self._nesting = Nesting()

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are a complete object."""
        return self._nesting.closed

    def write(self, words: str) -> None:
        """Add to the arguments."""
        end = self._nesting.feed(words)
        self.pieces.append(words[:end])
        if self.ends_at is None and self.is_whole:
            self.ends_at = len(self.pieces)
        if end < len(words):
            self.pieces.append(words[end:])
        while end < len(words):
            end = self._nesting.feed(words, end)

    def rewrite(self, words: str) -> None:
        """Replace the arguments by a repeated whole, unless they are equal or have been shown as complete."""
        if self.is_shown_whole or (self.is_whole and _is_equal(words, "".join(self.pieces))):
            return
        self.pieces = []
        self.ends_at = None
        self._nesting = Nesting()
        self.write(words)

    def show(self) -> str:
        """Return the arguments that can be shown now; they cannot change from here on.

        Text after the end of the object, such as the same object again, is never shown.
        """
        if self.is_whole and not self.shown:
            self.pieces = [settled_arguments(self.pieces)]
            self.ends_at = 1
        text = "".join(self.pieces[self.shown : self.ends_at])
        self.shown = len(self.pieces) if self.ends_at is None else self.ends_at
        self.is_shown_whole = self.ends_at is not None
        return text


class ToolCallPiece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a tool call.

    Attributes:
        place: The call's index, if the piece has one.
        id: The call's id, if the piece has one.
        name: The tool's name, or a piece of it.
        arguments: Text of the arguments, or the object itself.
        extra: The vendor's own fields, which must come back with the result.
        begins: Whether the format says that a new call begins here.
        repeats: Whether these are the whole arguments, whatever has come before.
    """

    place: Place | None = None
    id: str = ""
    name: str = ""
    arguments: object = None
    extra: JsonObject = {}
    begins: bool = False
    repeats: bool = False


class ToolCallCollector:
    """Collects calls in the order in which they begin.

    Args:
        tools: Names of the tools that the model was offered.
        taken: Ids of earlier calls of the conversation.
    """

    def __init__(self, tools: Collection[str] = (), taken: Collection[str] = ()) -> None:
        self._tools = frozenset(tools)
        self._taken = set(taken)
        self._calls: list[_Call] = []
        self.held_back: list[Unshown] = []
        """Arguments of the last pieces that cannot be shown yet."""

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def text(self) -> str:
        """All that has been written of calls."""
        return "\n".join(f"{call.name} {''.join(call.pieces)}" for call in self._calls)

    def add(self, pieces: Iterable[ToolCallPiece]) -> Iterator[ToolCallDelta]:
        """Add the pieces of one event; pieces with names in the same event are different calls.

        Yields:
            What can be shown of them; the rest is in :attr:`held_back`.
        """
        touched: list[_Call] = []
        self.held_back = []
        for piece in pieces:
            call = self._call_of(piece)
            if call is not None and call.is_named_again and _words(piece.arguments) and not piece.repeats:
                piece, call = msgspec.structs.replace(piece, name=call.name), None  # noqa: PLW2901 - its name came before
            if call is None or (call in touched and piece.name and not piece.id):
                call = _Call(piece.place, len(self._calls))
                self._calls.append(call)
            touched.append(call)
            self._write(call, piece)
            if (shown := self._shown(call)) is not None:
                yield shown
            elif not (call.is_shown_whole or piece.repeats) and (words := _words(piece.arguments)):
                self.held_back.append(Unshown(words, call.number))

    def _shown(self, call: _Call) -> ToolCallDelta | None:
        """Return what can be shown of a call while it is written; what is shown cannot change later.

        Once arguments come, the name and the id are complete. Arguments that are not an object yet, or an empty one,
        may still change. Short arguments are shown in one piece, because many clients take each piece for a call.
        """
        if not call.name or not call.pieces or call.is_shown_whole:
            return None
        if call.told_id is None:
            text = "".join(call.pieces)
            is_due = call.is_whole or (len(text) >= HELD_BACK and "".join(call.pieces[: call.ends_at]).strip() != "{}")
            if not is_due or not text.lstrip().startswith("{") or text.strip() == "{}":
                return None
            call.told_id = self._unique(call.id, call.number)
        return ToolCallDelta(call.told_id, call.name, call.show(), call.number, call.extra)

    def _write(self, call: _Call, piece: ToolCallPiece) -> None:
        call.is_named_again = call.is_whole and piece.name == call.name and not _words(piece.arguments)
        call.id = call.id or piece.id
        call.name = self._name(call, piece.name)
        call.extra = {**call.extra, **piece.extra}
        words = _words(piece.arguments)
        is_empty = call.is_whole and "".join(call.pieces).strip() == "{}"
        if words and (piece.repeats or is_empty or not isinstance(piece.arguments, str)):
            # The arguments come whole each time: what came before is a prefix of them, or the same.
            call.rewrite(words)
        elif words and not (call.is_whole and piece.name and words == "".join(call.pieces)):
            call.write(words)

    def _call_of(self, piece: ToolCallPiece) -> _Call | None:
        """Return the call that a piece continues; ``None`` if it begins a new one."""
        if piece.begins or not self._calls:
            return None
        here = [call for call in self._calls if piece.place is not None and call.place == piece.place]
        call = here[-1] if here else None
        if piece.id and (call is None or call.id not in {"", piece.id}):
            # Another id at the same place: servers without indices begin each call like this.
            named = [each for each in self._calls if each.id == piece.id and None in {each.place, piece.place}]
            call = named[-1] if named else None
        elif call is None and piece.place is None:
            call = self._calls[-1]
        return None if call is None or self._begins_anew(call, piece) else call

    def _begins_anew(self, call: _Call, piece: ToolCallPiece) -> bool:
        """Whether a piece with the index or id of a call begins another one all the same."""
        words = _words(piece.arguments)
        if piece.repeats or not piece.name:
            return False
        if call.is_whole:
            # A complete call that is repeated is the same call; with other arguments it is another.
            same = piece.name == call.name and words in {"", "".join(call.pieces)}
            return not same
        begun = bool(call.pieces) or call.name in self._tools
        return begun and piece.name != call.name and piece.name in self._tools

    def _name(self, call: _Call, piece: str) -> str:
        """Join the pieces of a name; a repeated name is not appended to itself."""
        if not piece or call.name == piece:
            return call.name or piece
        if not call.pieces and call.name + piece in self._tools:
            return call.name + piece
        if call.name in self._tools or (call.name and call.pieces):
            return call.name
        return piece if piece.startswith(call.name) else call.name + piece

    def finished(self, *, cut: bool = False) -> tuple[ToolCall, ...]:
        """Return the calls, each with an id that is unique in the conversation.

        Args:
            cut: Whether the answer was cut short: a call may have lost its arguments then, so that missing ones do not
                become an empty object.
        """
        calls = []
        for call in self._calls:
            # Text after arguments that were shown as complete is dropped: what was shown cannot be taken back.
            arguments = settled_arguments(call.pieces[: call.shown] if call.is_shown_whole else call.pieces)
            if not arguments.strip() and not cut:
                arguments = "{}"
            call_id = call.told_id if call.told_id is not None else self._unique(call.id, call.number)
            calls.append(ToolCall(call_id, call.name, arguments, call.extra))
        return tuple(calls)

    def _unique(self, given: str, number: int) -> str:
        wanted = given or f"call_{number}"
        named, again = wanted, 1
        while named in self._taken:
            again += 1
            named = f"{wanted}_{again}"
        self._taken.add(named)
        return named


def _words(arguments: object) -> str:
    """Return arguments as text; some servers send them as JSON values."""
    if arguments is None or isinstance(arguments, bool):
        return ""
    return text_of(arguments) if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def object_text(text: str) -> str | None:
    """Return the text of a JSON object, unwrapped from a JSON string if it is in one; ``None`` if it is none."""
    try:
        value = loads(text)
        if isinstance(value, str):
            text, value = value, loads(value)
    except ValueError:
        return None
    return text if isinstance(value, dict) else None


def arguments_object(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call as an object; what a model has garbled is kept as the text under ``arguments``."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def settled_arguments(pieces: list[str]) -> str:
    """Join pieces of arguments; an object that a server wrote twice, or after an empty one, is repaired.

    Unreadable arguments stay as they are: the tool must learn that they are garbled, and not be called without any.
    """
    text = "".join(pieces)
    if (whole := object_text(text)) is not None:
        return whole
    if text.strip() in {"", "null", "None"}:
        return ""
    objects = objects_in(text)
    said = [each for each in objects if loads(each)] or objects[:1]
    return said[0] if said and all(_is_equal(each, said[0]) for each in said) else text


def _is_equal(one: str, other: str) -> bool:
    try:
        return loads(one) == loads(other)
    except ValueError:
        return False


def objects_in(text: str) -> list[str]:
    """Return the JSON objects that a text consists of; empty if it has anything else."""
    decoder = json.JSONDecoder(parse_constant=str)
    found: list[str] = []
    at = 0
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict) or len(found) == _SAID_MOST:
            return []
        found.append(text[at:end])
        at = end + len(text[end:]) - len(text[end:].lstrip())
    return found
