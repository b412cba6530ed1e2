"""Reads providers' usage objects: tokens in disjoint buckets, and reported costs. Pure.

Servers use either family of names (``prompt``/``completion`` or ``input``/``output``) and write numbers as floats, text
or null. Cached tokens may be part of the prompt or beside it, reasoning part of the completion or beside it. Where a
count has two readings, the one that explains the provider's own total wins, then the vendor's documented one, then the
larger; the choice is noted. A missing count, or a zero that cannot be true, is unknown, never zero: its side is named
as missing, and what was counted of it is a lower bound.

Numbers from a provider are untrusted: each is checked before any arithmetic, and one that is not a sane count raises an
error that names it.
"""

import math
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Literal

import msgspec

from organism.amounts import TokenUsage, UsageSide, nanousd
from organism.formats.json_reading import JsonObject, part, text_of
from organism.formats.vendors import XAI_TICKS_PER_USD, Vendor

TOKENS_MAX = 10_000_000
"""The most tokens of one bucket of one call; a larger number is not a count."""

_UNKNOWN = (None, "", -1, "-1", "-1.0")
"""What servers write for a count that they do not have."""

Path = tuple[str, ...]

_PROMPT: tuple[Path, ...] = (("prompt_tokens",), ("input_tokens",))
_COMPLETION: tuple[Path, ...] = (("completion_tokens",), ("output_tokens",))
_TOTAL: tuple[Path, ...] = (("total_tokens",),)
_CACHED: tuple[Path, ...] = (
    ("prompt_tokens_details", "cached_tokens"),  # OpenAI's chat completions
    ("input_tokens_details", "cached_tokens"),  # OpenAI's responses
    ("cache_read_input_tokens",),  # Anthropic
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cached_tokens",),  # Moonshot
)
_WRITTEN: tuple[Path, ...] = (
    ("prompt_tokens_details", "cache_write_tokens"),  # OpenRouter
    ("prompt_tokens_details", "cache_creation_tokens"),  # LiteLLM
    ("input_tokens_details", "cache_write_tokens"),
    ("cache_creation_input_tokens",),  # Anthropic
)
_WRITTEN_BY_AGE: tuple[Path, ...] = (
    ("cache_creation", "ephemeral_5m_input_tokens"),
    ("cache_creation", "ephemeral_1h_input_tokens"),
)
"""The parts of Anthropic's count of cache writes, for servers that leave out their sum."""
_REASONING: tuple[Path, ...] = (
    ("completion_tokens_details", "reasoning_tokens"),  # OpenAI's chat completions
    ("output_tokens_details", "reasoning_tokens"),  # OpenAI's responses
    ("output_tokens_details", "thinking_tokens"),  # Anthropic, which calls its count approximate
    ("reasoning_tokens",),  # Perplexity
)
_FEES: tuple[Path, ...] = (("citation_tokens",),)
"""Tokens that are billed as input and are in no other count: what Perplexity's models have read."""


class UsageError(ValueError):
    """A provider's usage is not a count of tokens, or its cost not an amount of money."""


class Counting(msgspec.Struct, frozen=True, kw_only=True):
    """How a server counts, as far as it is documented.

    Attributes:
        cached_inside: Whether cached tokens are part of the prompt; ``None`` if not documented.
        reasoning_inside: Whether reasoning is part of the completion, likewise.
    """

    cached_inside: bool | None = None
    reasoning_inside: bool | None = None


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's usage, read.

    Attributes:
        usage: Tokens in disjoint buckets.
        missing: The sides for which that is only a lower bound.
        note: How ambiguous counts were read; empty if none were.
        elsewhere: The part of it that other models have used, by model.
    """

    usage: TokenUsage
    missing: tuple[UsageSide, ...] = ()
    note: str = ""
    elsewhere: dict[str, TokenUsage] = msgspec.field(default_factory=dict)


class _Counts(msgspec.Struct, frozen=True):
    """The numbers of a usage object; ``None`` for a missing side, 0 for other missing counts."""

    prompt: int | None
    completion: int | None
    total: int
    cached: int
    written: int
    reasoning: int
    extra: int


Side = Literal["inside", "beside"]
_SIDES: tuple[Side, ...] = ("inside", "beside")


class _Reading(msgspec.Struct, frozen=True):
    """One way to read the numbers."""

    usage: TokenUsage
    cache: Side
    reasoning: Side


def counting_of(vendor: Vendor) -> Counting:
    """Return how a vendor counts, as far as it is documented."""
    if not vendor.counts_known:
        return Counting()
    return Counting(cached_inside=vendor.cached_inside, reasoning_inside=vendor.reasoning_inside)


MESSAGES_COUNTING = Counting(cached_inside=False, reasoning_inside=True)
"""Source: the ``usage`` object of Anthropic's messages: cached tokens come beside the input, thinking in the output."""


def counted(usage: JsonObject, counting: Counting) -> Counted | None:
    """Read a usage object; ``None`` if nothing in it is a count.

    Raises:
        UsageError: If a number is not a sane count.
    """
    seen = _Counts(
        _largest(usage, _PROMPT),
        _largest(usage, _COMPLETION),
        _detail(usage, _TOTAL),
        _detail(usage, _CACHED),
        _written(usage),
        _detail(usage, _REASONING),
        _detail(usage, _FEES),
    )
    counts, notes = _completed(seen)
    if not any((counts.prompt, counts.completion, counts.cached, counts.written, counts.reasoning)):
        return None
    reading = _chosen(counts, counting, notes)
    read = reading.usage
    if counts.extra:
        read += TokenUsage(input=counts.extra)
        notes.append(f"{counts.extra} tokens of citations counted as input")
    elsewhere: dict[str, TokenUsage] = {}
    for model, spent in _rounds_beside(usage):
        elsewhere[model] = elsewhere.get(model, TokenUsage()) + spent
    if elsewhere:
        read = sum(elsewhere.values(), read)
        notes.append(f"{sum(spent.total for spent in elsewhere.values())} tokens of rounds beside the answer's own")
        elsewhere.pop("", None)
    # A part that is counted alone, what was cached or reasoned, says nothing of its whole; nobody counts a prompt as
    # nothing but where what was cached stands beside it, and then says so: a field left out is unknown there too.
    beside = counting.cached_inside is False and seen.prompt is not None
    has_input = bool(read.input_total) and (counts.prompt is not None or beside)
    sides: tuple[tuple[UsageSide, bool], ...] = (("input", has_input), ("output", counts.completion is not None))
    missing = tuple(side for side, is_counted in sides if not is_counted)
    notes += [f"no count of the {side}" for side in missing]
    return Counted(usage=read, missing=missing, note="; ".join(notes), elsewhere=elsewhere)


def _rounds_beside(usage: JsonObject) -> Iterator[tuple[str, TokenUsage]]:
    """Yield the usage of extra rounds, such as compaction or advice, with its model; the counts leave it out.

    Source: ``usage.iterations`` of Anthropic's messages; the counts beside it cover only rounds of type ``message``.

    Raises:
        UsageError: If a count is insane.
    """
    rounds = usage.get("iterations")
    for each in rounds if isinstance(rounds, list) else ():
        if isinstance(each, dict) and each.get("type") not in {None, "message"}:
            yield (
                text_of(each.get("model")),
                TokenUsage(
                    input=_largest(each, _PROMPT) or 0,
                    cached_input=_detail(each, _CACHED),
                    cache_write=_written(each),
                    output=_largest(each, _COMPLETION) or 0,
                ),
            )


def _written(usage: JsonObject) -> int:
    return max(_detail(usage, _WRITTEN), sum(_detail(usage, (path,)) for path in _WRITTEN_BY_AGE))


def input_counted(usage: JsonObject) -> TokenUsage | None:
    """Read the usage of a call without output: all of it is input, and a larger total wins.

    Source: the ``usage`` object of OpenAI's embeddings.

    Raises:
        UsageError: If a count is insane.
    """
    tokens = max(_largest(usage, _PROMPT) or 0, _largest(usage, _TOTAL) or 0)
    return TokenUsage(input=tokens) if tokens else None


def _completed(seen: _Counts) -> tuple[_Counts, list[str]]:
    """Derive a missing side from the total, where there is one."""
    notes: list[str] = []
    prompt, completion, total = seen.prompt or None, seen.completion or None, seen.total
    if prompt is None and not seen.cached + seen.written and completion is not None:
        # A prompt of nothing cannot be. Reasoning that stands beside the completion is in the total as well.
        rest = total - completion
        beside = seen.reasoning if rest >= seen.reasoning > 0 else 0
        if rest - beside > 0:
            prompt = rest - beside
            notes.append("the input is what the total leaves")
    elif completion is None and prompt is not None and total > prompt:
        completion = total - prompt
        notes.append("the output is what the total leaves")
    elif completion is None and prompt is None and total:
        completion = total
        notes.append("nothing but a total, counted as output")
    return msgspec.structs.replace(seen, prompt=prompt, completion=completion), notes


def _chosen(counts: _Counts, counting: Counting, notes: list[str]) -> _Reading:
    """Choose one of the readings of the numbers, and note why if they are ambiguous."""
    readings = list(_readings(counts))
    total = counts.total
    documented = [reading for reading in readings if _is_documented(reading, counts, counting)] or readings
    exact = [reading for reading in readings if reading.usage.total == total]
    if exact:
        chosen = next((reading for reading in documented if reading in exact), exact[0])
        if _is_odd(chosen, counts, counting):
            notes.append(f"by the total, {_words(chosen, counts)}")
        return chosen
    # A reading below the total is possible, too: then the rest is in no other count.
    within = [reading for reading in documented if reading.usage.total < total]
    # The rest is charged as reasoning, which costs most; so the smallest reading is the dearest.
    chosen = min(within, key=_total) if within else max(documented, key=_total)
    if len({reading.usage.total for reading in documented}) > 1:
        notes.append(f"of two readings the {'dearer' if within else 'larger'}, {_words(chosen, counts)}")
    elif _is_odd(chosen, counts, counting):
        notes.append(_words(chosen, counts))
    if (rest := total - chosen.usage.total) > 0:
        notes.append(f"{rest} tokens of the total that nothing names, counted as reasoning")
        return msgspec.structs.replace(chosen, usage=chosen.usage + TokenUsage(reasoning=rest))
    if total:
        notes.append(f"the total of {total} is less than its parts")
    return chosen


def _total(reading: _Reading) -> int:
    return reading.usage.total


def _readings(counts: _Counts) -> Iterator[_Reading]:
    """Yield the readings in which no part is larger than its whole."""
    prompt, completion = counts.prompt or 0, counts.completion or 0
    kept = counts.cached + counts.written
    # Where a part is not there, both sides are one reading.
    for cache in _SIDES if kept else _SIDES[:1]:
        plain = prompt - kept if cache == "inside" else prompt
        for reasoning in _SIDES if counts.reasoning else _SIDES[:1]:
            visible = completion - counts.reasoning if reasoning == "inside" else completion
            if plain >= 0 and visible >= 0:
                usage = TokenUsage(
                    input=plain,
                    cached_input=counts.cached,
                    cache_write=counts.written,
                    output=visible,
                    reasoning=counts.reasoning,
                )
                yield _Reading(usage, cache, reasoning)


def _is_documented(reading: _Reading, counts: _Counts, counting: Counting) -> bool:
    """Whether a reading agrees with the vendor's reference."""
    cache = (not counts.cached + counts.written) or counting.cached_inside in {None, reading.cache == "inside"}
    return cache and (not counts.reasoning or counting.reasoning_inside in {None, reading.reasoning == "inside"})


def _is_odd(reading: _Reading, counts: _Counts, counting: Counting) -> bool:
    """Whether a reading deviates from the vendor's reference, or from OpenAI's where there is none."""
    kept = counts.cached + counts.written
    cache = bool(kept) and (reading.cache == "inside") is not (counting.cached_inside in {None, True})
    thoughts = bool(counts.reasoning) and (reading.reasoning == "inside") is not (
        counting.reasoning_inside in {None, True}
    )
    return cache or thoughts


def _words(reading: _Reading, counts: _Counts) -> str:
    cache = f"cached tokens {reading.cache} the input" if counts.cached + counts.written else ""
    thoughts = f"reasoning {reading.reasoning} the output" if counts.reasoning else ""
    return ", ".join(filter(None, (cache, thoughts))) or "as it stands there"


# -- numbers ----------------------------------------------------------------------------------------------------------


def _largest(usage: JsonObject, paths: tuple[Path, ...]) -> int | None:
    """Return the largest count under several names; relays that write both leave one of them at zero."""
    named = (path for path in paths if path[0] in usage)  # most names are other servers'
    return max((count for path in named if (count := _count(usage, path)) is not None), default=None)


def _detail(usage: JsonObject, paths: tuple[Path, ...]) -> int:
    """Return a count that is part of another; 0 if it cannot be read, since the whole is counted anyway."""
    found = [0]
    for path in (path for path in paths if path[0] in usage):
        try:
            found.append(_count(usage, path) or 0)
        except UsageError:
            if isinstance(value := part(usage, *path), int | float) and not isinstance(value, bool) and value > 0:
                raise
    return max(found)


def _count(usage: JsonObject, path: Path) -> int | None:
    """Return a token count; ``None`` if it is missing, null, empty or marked as unknown.

    Raises:
        UsageError: If it is present and not a sane natural number.
    """
    value = part(usage, *path)
    number = count_of(value)
    if number is None:
        if is_readable(value):
            return None
        raise UsageError(f"usage field {'.'.join(path)} is {str(value)[:40]!r}")
    return number


def is_readable(value: object) -> bool:
    """Whether a field is a sane count, or one of the marks for an unknown one."""
    return value in _UNKNOWN or count_of(value) is not None


def count_of(value: object) -> int | None:
    """Read a natural number, also from text or a float, rounded up; ``None`` if it is not a sane one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        text = value.strip()
        if not text.isascii() or not text.replace(".", "", 1).isdecimal() or len(text) > len(str(TOKENS_MAX)) + 3:
            return None
        value = float(text) if "." in text else int(text)
    if not 0 <= value <= TOKENS_MAX:  # this is where what is not a number at all ends, too
        return None
    return math.ceil(value)


# -- money ------------------------------------------------------------------------------------------------------------

_COSTS: tuple[tuple[Path, int], ...] = (
    (("cost", "total_cost"), 1),  # Perplexity, fees for searches and requests included
    (("cost_in_usd_ticks",), XAI_TICKS_PER_USD),  # xAI
    (("estimated_cost",), 1),  # DeepInfra
    (("cost",), 1),  # OpenRouter, and relays that follow it
)
"""Where servers report the cost of a call, and how many of their units are a dollar."""


def reported_cost(usage: JsonObject, vendor: Vendor) -> int | None:
    """Return the cost that the server reports, in nano-USD; ``None`` if it reports none.

    A call on the user's own key elsewhere (OpenRouter's ``is_byok``) costs the amount under ``cost_details`` on top;
    without that amount its cost is unknown.

    Raises:
        UsageError: If it is not a sane amount of money.
    """
    places = ((vendor.cost, vendor.cost_unit_per_usd),) if vendor.cost else () if vendor.counts_known else _COSTS
    for path, unit in places:
        value = part(usage, *path) if path[0] in usage else None
        if value is None or isinstance(value, dict):
            continue
        cost = _money(value, path, unit)
        if usage.get("is_byok") is True:
            upstream = part(usage, "cost_details", "upstream_inference_cost")
            return None if upstream is None else cost + _money(upstream, ("cost_details",), unit)
        return cost
    return None


def _money(value: object, path: Path, unit: int) -> int:
    try:
        return nanousd(Decimal(str(value)[:40]) / unit)
    except (ValueError, InvalidOperation) as error:
        raise UsageError(f"usage field {'.'.join(path)} is {error}") from None
