"""The items of a response while they are streamed, each in up to four events. Pure.

An item begins (``output_item.added``), grows (``.delta``), is repeated whole (``.done``, ``output_item.done``) and is
in the response at the end. A server may leave out any of these, and the indices and ids that tie them together.
"""

from collections.abc import Iterator

from organism.formats.json_reading import JsonObject, part, text_of, whole_number
from organism.formats.openai_responses.known_items import NTH, KnownItems, message_text, written_of
from organism.formats.tool_calls import object_text

GIVEN = "organism:given"
"""The key under which a call keeps arguments that came as an object; no field of the format has a colon."""

_DONE = "organism:done"


class ResponseItems:
    """Collects items in the order in which they begin.

    An answer may have tens of thousands, and each event may belong to any, so items are indexed, never searched.
    """

    def __init__(self) -> None:
        self._items: list[JsonObject] = []
        self._places: dict[int, int] = {}
        self._known = KnownItems()

    def __bool__(self) -> bool:
        return bool(self._items)

    def __iter__(self) -> Iterator[JsonObject]:
        return iter(self._items)

    def written(self, event: JsonObject, kind: str) -> JsonObject:
        """Return the item that an event's piece belongs to; begin one if there is none."""
        index, named = whole_number(event.get("output_index")), text_of(event.get("item_id"))
        place = self._places.get(index) if index is not None else None
        if place is None or self._items[place].get("type") != kind:
            # No item has this index yet: an item with another index is a different one, even if all share an id.
            is_elsewhere = index is not None and place is None
            place = self._known.last(self._items, kind, named, only_without_index=is_elsewhere) if named else None
            if place is None and index is None:
                place = self._known.last(self._items, kind)
        if place is None:
            return self._begin(index, {"type": kind, "id": named})
        self._known.is_written(place)
        return self._items[place]

    def put(self, event: JsonObject, item: JsonObject, *, is_done: bool) -> JsonObject:
        """Take an item that begins or is repeated whole; return it merged with what is known of it."""
        index = whole_number(event.get("output_index"))
        place = self._places.get(index) if index is not None else None
        if place is None or _differ(self._items[place], item):
            place = self._known.first(self._items, item, is_same)
        if place is None:
            known = self._begin(index, item)
        else:
            nth = self._items[place][NTH]
            known = self._items[place] = {**_merged(self._items[place], item), NTH: nth}
            self._known.add(place, known)
        if is_done:
            known[_DONE] = True
        return known

    def complete(self, output: list[JsonObject]) -> None:
        """Take the items of the whole response in their order; items that it leaves out follow."""
        whole: list[JsonObject] = []
        taken: set[int] = set()
        for index, item in enumerate(output):
            found = self._known.first(self._items, item, is_same, but=taken)
            place = self._places.get(index)
            if found is None and place is not None and place not in taken:
                found = place if not _differ(self._items[place], item, alike=True) else None
            if found is not None:
                taken.add(found)
            whole.append(dict(item) if found is None else _merged(self._items[found], item))
        rest = [each for place, each in enumerate(self._items) if place not in taken]
        self._items, self._places, self._known = [], {}, KnownItems()
        for item in (*whole, *rest):
            self._append(item)

    def _begin(self, index: int | None, item: JsonObject) -> JsonObject:
        if index is not None:
            self._places[index] = len(self._items)
        return self._append(dict(item), has_index=index is not None)

    def _append(self, item: JsonObject, *, has_index: bool = False) -> JsonObject:
        item[NTH] = self._known.begin(len(self._items), item, has_index=has_index)
        self._items.append(item)
        return item


def _merged(known: JsonObject, item: JsonObject) -> JsonObject:
    """Merge two versions of an item; the newer one wins, but not with empty fields."""
    return {**item, **{name: each for name, each in known.items() if not item.get(name)}}


def _differ(known: JsonObject, item: JsonObject, *, alike: bool = False) -> bool:
    """Whether an item differs from the one at its index: by type or call, or because that one is done already.

    Args:
        known: The item at that index.
        item: The new item.
        alike: Whether an item that is done may be repeated.
    """
    if is_same(known, item):
        return False
    calls = [each.get("call_id") for each in (known, item)]
    return known.get("type") != item.get("type") or all(calls) or (bool(known.get(_DONE)) and not alike)


def is_same(known: JsonObject, item: JsonObject) -> bool:
    """Whether two items are the same: by call id, by id, else by text."""
    if known.get("type") != item.get("type"):
        return False
    for name in ("call_id", "id"):
        if known.get(name) and item.get(name):
            if known[name] == item[name]:
                return True
            if name == "call_id":
                return False
    return bool(text := message_text(item)) and text == message_text(known)


def is_refusal(item: JsonObject) -> bool:
    """Whether a message is nothing but a refusal."""
    content = item.get("content")
    kinds = {text_of(part(piece, "type")) for piece in content} if isinstance(content, list) and content else set()
    return kinds == {"refusal"} if kinds else bool(item.get("refusal"))


def call_arguments(item: JsonObject) -> object:
    """Return the arguments of a call: the repeated whole, or the pieces where these say more."""
    whole, written = item.get("arguments"), item.get(GIVEN) or str(written_of(item))
    if not written or (isinstance(whole, dict) and whole):
        return whole
    says_all = isinstance(whole, str) and whole.strip() not in {"", "{}"}
    if says_all and (object_text(str(whole)) or not object_text(str(written))):
        return whole
    return written


def thought_text(item: JsonObject) -> str:
    """Return the visible text of a reasoning item."""
    lists = [each for name in ("summary", "content") if isinstance(each := item.get(name), list)]
    return "".join(text_of(part(piece, "text")) for each in lists for piece in each) or str(written_of(item))
