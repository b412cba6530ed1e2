"""Merges the usage objects of one answer's stream. Pure.

Most streams count once, at the end. Others count in each chunk, growing; or each chunk for itself; or once more after
the end; or the prompt at the start, as a guess, and in parts at the end (Anthropic's format, relays of it).
"""

import re
from collections.abc import Iterator
from typing import cast

from organism.formats.counts import count_of, is_readable
from organism.formats.json_reading import JsonObject, loads, part

_INPUT = frozenset({"prompt_tokens", "input_tokens"})
_CACHE = frozenset(
    {"cache_read_input_tokens", "cache_creation_input_tokens", "prompt_cache_hit_tokens", "cached_tokens"}
)
_OUTPUT = ("completion_tokens", "output_tokens")
_REPEATS_FEW = 2

_ELSEWHERE = ("usageMetadata", "usage_metadata", "amazon-bedrock-invocationMetrics", "x_groq")
"""Where else than in ``usage`` an event of a chat says what was used: Google's, Bedrock's and Groq's fields."""

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NAMES = {
    "prompt_token_count": "prompt_tokens",
    "input_token_count": "prompt_tokens",
    "candidates_token_count": "completion_tokens",
    "output_token_count": "completion_tokens",
    "total_token_count": "total_tokens",
    "thoughts_token_count": "reasoning_tokens",
    "cached_content_token_count": "cached_tokens",
    "cache_write_input_tokens": "cache_creation_input_tokens",
    "cache_read_input_token_count": "cache_read_input_tokens",
    "cache_write_input_token_count": "cache_creation_input_tokens",
}
"""What Google and Bedrock call counts, which relays of them pass on, in the words of the others."""


def usages_of_chat(event: JsonObject, choices: list[JsonObject]) -> Iterator[object]:
    """Yield what an event of a chat says of usage, in whatever place; most say nothing."""
    yield event.get("usage")
    for name in _ELSEWHERE:
        if name in event:
            yield part(event, name, "usage") if name == "x_groq" else event[name]
    for choice in choices:
        for said in (choice, choice.get("delta"), choice.get("message")):  # Moonshot's last choice; relays
            yield part(said, "usage")


def plain_usage(said: object) -> JsonObject:
    """Return usage as an object with the usual names, also from a list of one, or from the text of one.

    A list of several says nothing that is sure: they may be parts of the whole.
    """
    if isinstance(said, str) and said.lstrip().startswith("{"):
        try:
            said = loads(said)
        except ValueError:
            return {}
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    if not isinstance(said, dict):
        return {}
    usage: JsonObject = {}
    for name, value in said.items():
        plain = _plain_name(name)
        usage[plain] = _larger(usage[plain], value) if plain in usage else value
    shown = usage.pop("tool_use_prompt_token_count", None)
    if not is_readable(shown):
        usage["prompt_tokens"] = shown  # the side is known no better than its part: it is disputed
    elif count_of(shown) and is_readable(prompt := usage.get("prompt_tokens")):
        # What Google's tools have put before the model is billed as input, and no part of the prompt's count.
        usage["prompt_tokens"] = (count_of(shown) or 0) + (count_of(prompt) or 0)
    return usage


def _plain_name(name: str) -> str:
    snake = name if name.islower() else _HUMP.sub("_", name).lower()
    return _NAMES.get(snake, snake)


def _larger(one: object, other: object) -> object:
    """Return the larger of two counts of one thing, or what is none, to be disputed.

    Relays that write a count under several names leave all but one at zero.
    """
    strange = [each for each in (one, other) if not is_readable(each)]
    if strange:
        return next((each for each in strange if isinstance(each, dict)), strange[0])
    return max(one, other, key=lambda each: count_of(each) or 0)


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

    def add(self, usage: object) -> JsonObject:
        """Add a usage object, and return it under the usual names; anything else, or an empty one, is ignored."""
        if not usage or not (news := plain_usage(usage)):
            return {}
        for field in _OUTPUT:
            if (count := _positive(news.get(field))) is not None:
                self._outputs.setdefault(field, []).append((count, self._grown))
                self.is_late = True
        self._grown = False
        self._known = _joined(self._known, news) if self._known else news
        return news

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
    """Merge a later usage object into an earlier one; nulls, empty words and a prompt of zero do not overwrite."""
    whole = dict(known)
    counts_input = any(_positive(news.get(field)) for field in _INPUT | _CACHE)
    keeps_input = not counts_input or _shrinks(known, news)
    for field, value in news.items():
        before = whole.get(field)
        if value is None or value == "" or (field in _INPUT | _CACHE and keeps_input and is_readable(value)):
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
