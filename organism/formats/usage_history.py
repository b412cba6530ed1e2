"""Merges the usage objects of one answer's stream. Pure.

Most streams count once, at the end. Others count in each chunk, growing; or each chunk for itself; or once more after
the end; or the prompt at the start, as a guess, and in parts at the end (Anthropic's format, relays of it).
"""

from typing import cast

from organism.formats.counts import is_readable
from organism.formats.json_reading import JsonObject

_INPUT = frozenset({"prompt_tokens", "input_tokens"})
_CACHE = frozenset(
    {"cache_read_input_tokens", "cache_creation_input_tokens", "prompt_cache_hit_tokens", "cached_tokens"}
)
_OUTPUT = ("completion_tokens", "output_tokens")
_REPEATS_FEW = 2


class UsageHistory:
    """Collects usage objects in order and merges them into one."""

    def __init__(self) -> None:
        self._known: JsonObject = {}
        self._outputs: dict[str, list[tuple[float, bool]]] = {}
        self._grown = False
        self.is_late = True
        """Whether the last output count came after the last piece of the answer."""

    def __bool__(self) -> bool:
        return bool(self._known)

    def grow(self) -> None:
        """Note that more of the answer has come."""
        self._grown = True
        self.is_late = False

    def add(self, usage: object) -> None:
        """Add a usage object; anything else, or an empty one, is ignored."""
        if not isinstance(usage, dict) or not usage:
            return
        news = cast("JsonObject", usage)
        for field in _OUTPUT:
            if (count := _positive(news.get(field))) is not None:
                self._outputs.setdefault(field, []).append((count, self._grown))
                self.is_late = True
        self._grown = False
        self._known = _joined(self._known, news) if self._known else dict(news)

    def merged(self) -> tuple[JsonObject, str]:
        """Return the merged usage object, and a note where counts of chunks were added up."""
        whole, note = dict(self._known), ""
        for field, counts in self._outputs.items():
            total, each_alone = _sum_of(counts)
            whole[field] = total
            if each_alone:
                note = "counts of the output for each chunk, added up"
                whole.pop("total_tokens", None)
        return whole, note


def _sum_of(counts: list[tuple[float, bool]]) -> tuple[object, bool]:
    """Return the value of a series of counts, and whether it is their sum because each counts its own chunk.

    Cumulative counts never fall, and grow when more has been written. A last count above the sum is the whole anyway.
    """
    numbers = [count for count, _ in counts]
    falls = any(grown and count < before for (count, grown), (before, _) in zip(counts[1:], counts, strict=False))
    stands = len(counts) > _REPEATS_FEW and len(set(numbers)) == 1 and all(grown for _, grown in counts)
    if (falls or stands) and numbers[-1] < sum(numbers[:-1]):
        return sum(numbers), True
    return max(numbers), False


def _joined(known: JsonObject, news: JsonObject) -> JsonObject:
    """Merge a later usage object into an earlier one; nulls, and a prompt of zero, do not overwrite."""
    whole = dict(known)
    counts_input = any(_positive(news.get(field)) for field in _INPUT | _CACHE)
    keeps_input = not counts_input or _shrinks(known, news)
    for field, value in news.items():
        before = whole.get(field)
        if value is None or (field in _INPUT | _CACHE and keeps_input and is_readable(value)):
            if before is None:
                whole[field] = value
        elif isinstance(value, dict) and field not in _INPUT:
            whole[field] = _joined(cast("JsonObject", before), value) if isinstance(before, dict) else value
        elif field not in _INPUT | _CACHE and _positive(before) is not None and _positive(value) is None:
            pass  # a count that is there is not taken back by a zero
        else:
            whole[field] = value
    return whole


def _shrinks(known: JsonObject, news: JsonObject) -> bool:
    """Whether the prompt count has more than halved, so that the rest must be in a count that is left out."""
    if any(_positive(each.get(field)) for each in (known, news) for field in _CACHE):
        return False
    return any(
        (before := _positive(known.get(field))) is not None and (now := _positive(news.get(field))) is not None
        and now * 2 < before
        for field in _INPUT
    )  # fmt: skip


def _positive(value: object) -> float | None:
    """Return a positive number, also from text; ``None`` for anything else."""
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    return value
