"""Hands on a streamed response: text, thoughts, tool calls and the vendor's own items. Pure.

Items of one kind are handed on in their order, each from its start, so that what a stream has shown is always a prefix
of the final answer. Items that come out of order wait for the end.
"""

from collections.abc import Callable, Iterable

from organism.formats.json_reading import JsonObject, text_of
from organism.formats.native_tools import CallNames, arguments_of_text
from organism.formats.openai_responses.items import GIVEN, call_arguments, is_refusal, thought_text
from organism.formats.openai_responses.known_items import CALLS, NTH, written_of
from organism.formats.openai_responses.written_text import WrittenText
from organism.formats.tool_calls import HELD_BACK, Nesting, object_text
from organism.llm.deltas import (
    ProviderPiece,
    ReasoningDelta,
    RefusalDelta,
    ServerToolUse,
    ToolCallDelta,
    Unshown,
)
from organism.llm.requests import CompletionRequest, ToolCall, VendorItem

_HEARD = "organism:heard"
_PLACE = "organism:place"
_SEALED = "organism:sealed"
_COUNTED = "organism:counted"
_USED = "organism:used"
_STEP = "organism:step"
_TOLD = "told"
"""Marks an item of which all has been handed on. A number instead: a call of which nothing has, and its place."""
_MESSAGES = frozenset({"message"})
_REASONING = frozenset({"reasoning"})


class LiveItems:
    """Hands on the new part of items.

    Args:
        request: What was asked.
        names: Translates the names of tools.
        show: Called with each piece; an empty text is a sign of life.
    """

    def __init__(self, request: CompletionRequest, names: CallNames, show: Callable[[ProviderPiece], object]) -> None:
        self._names = names
        self._show = show
        self._takes_items = bool(request.vendor_tools)
        self._ids = {part.id for turn in request.messages for part in turn.parts if isinstance(part, ToolCall)}
        self._nestings: list[Nesting] = []
        self._messages = 0
        self._thoughts = 0
        self._calls = 0

    def words(self, item: JsonObject, text: str) -> None:
        """Hand on the rest of a message's text, if what was handed on is a prefix of it."""
        said = _heard(item)
        item[_STEP] = ""
        if not text.startswith(said):
            return
        if text and _PLACE not in item:
            item[_PLACE] = self._messages
            self._messages += 1
        _have_heard(item, text)
        self._show(_words(item, text[len(said) :]))

    def grow(self, item: JsonObject, piece: str) -> bool:
        """Hand on a piece appended to an item, without looking at the whole item again.

        Returns:
            Whether that was possible; if not, call :meth:`words` or :meth:`more` with the whole item.
        """
        step = item.get(_STEP)
        if step == _TOLD and item.get("type") == "message":
            self._show(_words(item, piece))
        elif step == _TOLD and item.get("type") == "reasoning":
            self._show(ReasoningDelta(piece, int(str(item[_PLACE])), "", text_of(item.get("id"))))
        elif step == _TOLD and not self._nestings[int(str(item[_PLACE]))].closed:
            place = int(str(item[_PLACE]))
            piece = piece[: self._nestings[place].feed(piece)]
            known = self._names.known(text_of(item.get("name")), text_of(item.get("namespace")))
            self._show(ToolCallDelta(text_of(item.get("call_id")), known, piece, place))
        elif isinstance(step, int) and not self._is_due(item, step):
            item[_COUNTED] = written_of(item).length
            self._show(Unshown(piece, step) if piece else "")
            return True
        else:
            return False
        heard = item[_HEARD]
        if isinstance(heard, WrittenText):
            heard.add(piece)
        return True

    def more(self, item: JsonObject, *, is_whole: bool) -> None:
        """Hand on the new part of a thought, a call or a vendor's item.

        Args:
            item: The item.
            is_whole: Whether it is complete.
        """
        kind = text_of(item.get("type"))
        item[_STEP] = ""
        if kind == "reasoning":
            self._thought(item, is_whole=is_whole)
        elif kind in CALLS:
            self._call(item, is_whole=is_whole)
        elif kind != "message" and is_whole and self._takes_items and _HEARD not in item:
            item[_HEARD] = "whole"
            self._show(VendorItem(without_marks(item)))
        elif kind != "message" and _USED not in item:
            item[_USED] = True
            self._show(ServerToolUse())
        else:
            self._show("")

    def _thought(self, item: JsonObject, *, is_whole: bool) -> None:
        seal = text_of(item.get("encrypted_content")) if is_whole else ""
        text, said = thought_text(item), _heard(item)
        if not (text or seal) or not text.startswith(said) or _place_of(item) > self._thoughts:
            self._show("")
            return
        if _PLACE not in item:
            item[_PLACE] = self._thoughts
            self._thoughts += 1
        _have_heard(item, text)
        seal = "" if item.get(_SEALED) else seal
        item[_SEALED] = bool(item.get(_SEALED) or seal)
        place = int(str(item[_PLACE]))
        self._show(ReasoningDelta(text[len(said) :], place, seal, text_of(item.get("id"))))

    def _call(self, item: JsonObject, *, is_whole: bool) -> None:
        """Hand on a call when it is complete or long, as :class:`ToolCallCollector` does: what was shown cannot change.

        Free text becomes JSON only when it is complete.
        """
        place = _place_of(item)
        arguments = _arguments(item, is_whole=is_whole) if self._has_turn(item, place) else ""
        said = _heard(item)
        if not arguments or not arguments.startswith(said):
            self._show(_unshown(item, place))
            item[_STEP] = "" if _PLACE in item else place
            return
        call_id = text_of(item.get("call_id"))
        if _PLACE not in item:
            item[_PLACE] = self._calls
            self._calls += 1
            self._ids.add(call_id)
            self._nestings.append(Nesting())
        piece = arguments[len(said) : self._nestings[place].feed(arguments, len(said))]
        _have_heard(item, said + piece)
        known = self._names.known(text_of(item.get("name")), text_of(item.get("namespace")))
        self._show(ToolCallDelta(call_id, known, piece, place))

    def arguments(self, item: JsonObject, whole: str) -> str:
        """Return a call's final arguments; text after an object that was handed on whole is dropped."""
        place = item.get(_PLACE)
        if isinstance(place, int) and self._nestings[place].closed:
            return _heard(item)
        return as_heard(item, whole)

    def _has_turn(self, item: JsonObject, place: int) -> bool:
        """Whether a call may be handed on: its name and id are known, it is open, and no earlier call waits."""
        call_id, name = text_of(item.get("call_id")), text_of(item.get("name"))
        is_known = bool(call_id and name) and (_PLACE in item or call_id not in self._ids)
        is_closed = _PLACE in item and self._nestings[int(str(item[_PLACE]))].closed
        return is_known and not is_closed and place <= self._calls

    def _is_due(self, item: JsonObject, place: int) -> bool:
        """Whether a call that was held back can be handed on now."""
        return _is_long(item) and self._has_turn(item, place)


def _words(item: JsonObject, piece: str) -> ProviderPiece:
    return RefusalDelta(piece) if piece and (item.get("refusal") or is_refusal(item)) else piece


def _heard(item: JsonObject) -> str:
    """Return the part of an item's text that has been handed on."""
    heard = item.get(_HEARD)
    return str(heard) if isinstance(heard, WrittenText) else ""


def _have_heard(item: JsonObject, text: str) -> None:
    """Note the text that has been handed on; if it is all there is, later pieces can be appended directly."""
    item[_HEARD] = WrittenText(text)
    item[_STEP] = _TOLD if text == str(written_of(item)) else ""


def _place_of(item: JsonObject) -> int:
    """Return an item's place among those of its kind, assigned or expected."""
    known = item.get(_PLACE, item.get(NTH))
    return known if isinstance(known, int) else MOST


def _unshown(item: JsonObject, place: int) -> ProviderPiece:
    """Return the uncounted part of a call that cannot be shown yet."""
    length, counted = written_of(item).length, item.get(_COUNTED, 0)
    if _PLACE in item or not isinstance(counted, int) or length <= counted:
        return ""
    item[_COUNTED] = length
    return Unshown(str(written_of(item))[counted:], place)


def _is_long(item: JsonObject) -> bool:
    """Whether a call is long enough to be handed on before it is complete."""
    written = written_of(item)
    return item.get("type") == "function_call" and written.length > HELD_BACK and written.first == "{"


def _arguments(item: JsonObject, *, is_whole: bool) -> str:
    """Return the arguments that can be shown; empty while they may still change."""
    if not is_whole:
        return str(written_of(item)) if _is_long(item) and GIVEN not in item else ""
    if item.get("type") == "custom_tool_call":
        return arguments_of_text(text_of(item.get("input")) or str(written_of(item)))
    whole = call_arguments(item)
    is_object = isinstance(whole, str) and object_text(whole) == whole and whole.strip() != "{}"
    return text_of(whole) if is_object else ""


def in_shown_order(items: Iterable[JsonObject]) -> list[JsonObject]:
    """Return items reordered within each kind: those handed on come first, in the order they were handed on."""
    ordered = list(items)
    for kinds in (_MESSAGES, _REASONING, CALLS):
        places = [place for place, item in enumerate(ordered) if text_of(item.get("type")) in kinds]
        sorted_ = sorted((ordered[place] for place in places), key=_shown_at)
        for place, item in zip(places, sorted_, strict=True):
            ordered[place] = item
    return ordered


def _shown_at(item: JsonObject) -> int:
    place = item.get(_PLACE)
    return place if isinstance(place, int) else MOST


MOST = 1 << 30
"""Sorts after the place of any item."""


def as_heard(item: JsonObject, whole: str) -> str:
    """Return the final text of an item, which begins with what was handed on.

    A server that repeats a text may space it differently, and what a client has read cannot be taken back.
    """
    said = _heard(item)
    return next((text for text in (whole, str(written_of(item))) if text.startswith(said)), said)


def without_marks(item: JsonObject) -> JsonObject:
    """Return an item as its provider wrote it, without our keys: no field of the format has a colon."""
    return {name: value for name, value in item.items() if ":" not in name}
