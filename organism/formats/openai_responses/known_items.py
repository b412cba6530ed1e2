"""An index of the items of a response by what identifies them: call id, id, or a message's text. Pure."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence

from organism.formats.json_reading import JsonObject, part, text_of
from organism.formats.openai_responses.written_text import WrittenText

NTH = "organism:nth"
"""The key of an item's number among those handed on in one order: among calls of any type, or its own type."""

CALLS = frozenset({"function_call", "custom_tool_call"})

_WRITTEN = "organism:written"
_NOBODY: frozenset[int] = frozenset()

_Key = tuple[str, ...]


class KnownItems:
    """Finds the places of items by their keys. Matches are verified, since keys may have changed."""

    def __init__(self) -> None:
        self._by: dict[_Key, deque[int]] = {}
        self._unread: dict[int, None] = {}  # messages whose text may have changed since it was noted
        self._count: Counter[str] = Counter()

    def begin(self, place: int, item: JsonObject, *, has_index: bool) -> int:
        """Index a new item and return its number; see :data:`NTH`."""
        kind = _said(item.get("type"))
        self._note(("kind", kind), place)
        if not has_index:
            self._note(("without index", kind, _said(item.get("id"))), place)
        self.add(place, item)
        group = "call" if kind in CALLS else kind
        self._count[group] += 1
        return self._count[group] - 1

    def add(self, place: int, item: JsonObject) -> None:
        """Index an item by its present keys."""
        kind, call, name = (_said(item.get(field)) for field in ("type", "call_id", "id"))
        if call:
            self._note(("call", kind, call), place)
        else:
            self._note(("without call", kind, name), place)
        self._note(("id", kind, name), place)
        self.is_written(place)

    def is_written(self, place: int) -> None:
        """Note that an item's text may have changed; it is indexed again when text is looked up."""
        self._unread[place] = None

    def first(
        self,
        items: Sequence[JsonObject],
        item: JsonObject,
        is_same: Callable[[JsonObject, JsonObject], bool],
        but: Collection[int] = _NOBODY,
    ) -> int | None:
        """Return the place of the first item that is the same as another; ``None`` if there is none.

        Args:
            items: All items.
            item: The other item.
            is_same: Compares two items.
            but: Places that do not count.
        """
        kind, call, name = (_said(item.get(field)) for field in ("type", "call_id", "id"))
        keys: list[_Key] = []
        if call:
            keys.append(("call", kind, call))
        if name:
            keys.append(("without call" if call else "id", kind, name))
        if text := message_text(item):
            self._read(items)
            keys.append(("text", text))
        found = (self._first(key, but, lambda place: is_same(items[place], item)) for key in keys)
        return min((place for place in found if place is not None), default=None)

    def last(
        self, items: Sequence[JsonObject], kind: str, name: str = "", *, only_without_index: bool = False
    ) -> int | None:
        """Return the place of the last item of a type, of an id, or of those without an index."""
        if not name:
            places = self._by.get(("kind", kind))
            return places[-1] if places else None
        known = self._by.get(("without index" if only_without_index else "id", kind, name), ())
        return next((place for place in reversed(known) if items[place].get("id") == name), None)

    def _first(self, key: _Key, but: Collection[int], is_meant: Callable[[int], bool]) -> int | None:
        places = self._by.get(key)
        while places and (places[0] in but or not is_meant(places[0])):
            places.popleft()
        return places[0] if places else None

    def _read(self, items: Sequence[JsonObject]) -> None:
        for place in self._unread:
            if text := message_text(items[place]):
                self._note(("text", text), place)
        self._unread.clear()

    def _note(self, key: _Key, place: int) -> None:
        if not key[-1]:
            return  # without an id there is nothing to find it by
        places = self._by.setdefault(key, deque())
        if not places or places[-1] != place:
            places.append(place)


def written_of(item: JsonObject) -> WrittenText:
    """Return the text written to an item so far; it can be appended to."""
    written = item.get(_WRITTEN)
    if not isinstance(written, WrittenText):
        written = item[_WRITTEN] = WrittenText()
    return written


def message_text(item: JsonObject) -> str:
    """Return a message's text, refusals included; empty for items of other types."""
    if item.get("type") != "message":
        return ""
    content = item.get("content")
    if isinstance(content, str):
        return text_of(content)
    pieces = content if isinstance(content, list) else ()
    texts = [text_of(part(piece, "text")) or text_of(part(piece, "refusal")) for piece in pieces]
    return "".join(texts) or str(written_of(item))


def _said(value: object) -> str:
    """Return an id as a key: empty for none, one and the same key for all ids that are not text."""
    return value if isinstance(value, str) else "\0" if value else ""
