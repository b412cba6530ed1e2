"""What of responses is handed on while it comes: words, thoughts, calls of tools and items of the vendor's. Pure.

Parts of a kind are handed on in their order, each from its beginning, so that what a stream has shown is always the
beginning of what its answer holds at the end. What comes out of turn waits for the end.
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
"""All that was written has been handed on. A number in its place: none of it, and that is the call's place."""
_MESSAGES = frozenset({"message"})
_REASONING = frozenset({"reasoning"})


class LiveItems:
    """Hands on what of items is new.

    Args:
        request: What was asked.
        names: What its tools are called.
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
        """Hand on what of a message's words has not been; anything else that is said is a sign of life."""
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
        """Hand on what has been written behind all that was known, without looking at all that again.

        Returns:
            Whether that could be done: else :meth:`words` or :meth:`more` look at the whole item.
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
        """Hand on what of a thought, a call or an item of the vendor's is new.

        Args:
            item: It.
            is_whole: Whether no more of it follows.
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
        """Hand on a call when it is whole, or long, as :class:`ToolCallCollector` does: what was shown must not change.

        Free text is no JSON before it is whole.
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
        """Return a call's arguments at the end: what follows those that were handed on as a whole is none of them."""
        place = item.get(_PLACE)
        if isinstance(place, int) and self._nestings[place].closed:
            return _heard(item)
        return as_heard(item, whole)

    def _has_turn(self, item: JsonObject, place: int) -> bool:
        """Whether a call is known, not at its end, and has no call before it that was not handed on."""
        call_id, name = text_of(item.get("call_id")), text_of(item.get("name"))
        is_known = bool(call_id and name) and (_PLACE in item or call_id not in self._ids)
        is_closed = _PLACE in item and self._nestings[int(str(item[_PLACE]))].closed
        return is_known and not is_closed and place <= self._calls

    def _is_due(self, item: JsonObject, place: int) -> bool:
        """Whether a call that was held back until now can be handed on."""
        return _is_long(item) and self._has_turn(item, place)


def _words(item: JsonObject, piece: str) -> ProviderPiece:
    return RefusalDelta(piece) if piece and (item.get("refusal") or is_refusal(item)) else piece


def _heard(item: JsonObject) -> str:
    """Return what of an item has been handed on."""
    heard = item.get(_HEARD)
    return str(heard) if isinstance(heard, WrittenText) else ""


def _have_heard(item: JsonObject, text: str) -> None:
    """Note what of an item has been handed on; where that is all that was written, what follows follows it."""
    item[_HEARD] = WrittenText(text)
    item[_STEP] = _TOLD if text == str(written_of(item)) else ""


def _place_of(item: JsonObject) -> int:
    """Return which of its kind an item is in what is handed on, or will be."""
    known = item.get(_PLACE, item.get(NTH))
    return known if isinstance(known, int) else MOST


def _unshown(item: JsonObject, place: int) -> ProviderPiece:
    """Return what is new of a call that cannot be shown yet."""
    length, counted = written_of(item).length, item.get(_COUNTED, 0)
    if _PLACE in item or not isinstance(counted, int) or length <= counted:
        return ""
    item[_COUNTED] = length
    return Unshown(str(written_of(item))[counted:], place)


def _is_long(item: JsonObject) -> bool:
    """Whether what was written of a call is so much that it is handed on before it is whole."""
    written = written_of(item)
    return item.get("type") == "function_call" and written.length > HELD_BACK and written.first == "{"


def _arguments(item: JsonObject, *, is_whole: bool) -> str:
    """Return the arguments of a call as far as they can be shown; nothing where they may turn out otherwise."""
    if not is_whole:
        return str(written_of(item)) if _is_long(item) and GIVEN not in item else ""
    if item.get("type") == "custom_tool_call":
        return arguments_of_text(text_of(item.get("input")) or str(written_of(item)))
    whole = call_arguments(item)
    is_object = isinstance(whole, str) and object_text(whole) == whole and whole.strip() != "{}"
    return text_of(whole) if is_object else ""


def in_shown_order(items: Iterable[JsonObject]) -> list[JsonObject]:
    """Return items in an order in which those of a kind that were handed on come first, as they were."""
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
"""More items than any answer has."""


def as_heard(item: JsonObject, whole: str) -> str:
    """Return the text of an item as it was handed on, and what is said of it at the end where that goes on from there.

    What somebody has read cannot be unsaid: a server that writes a text once more may space it in another way.
    """
    said = _heard(item)
    return next((text for text in (whole, str(written_of(item))) if text.startswith(said)), said)


def without_marks(item: JsonObject) -> JsonObject:
    """Return an item as its provider has written it: no field of the format has a colon."""
    return {name: value for name, value in item.items() if ":" not in name}
