"""How servers write what a call has cost in tokens: names, shapes, what stands inside what."""

import random
from typing import Any

import msgspec

from tests.formats.dialects.truth import Draft, Json

NAMES = {"chat": ("prompt", "completion"), "responses": ("input", "output")}


class Written(msgspec.Struct):
    """A usage object, and what can be read from it.

    Attributes:
        usage: The object; ``None`` for none.
        is_counted: Whether each token of the bill is somewhere in it.
        is_plain: Whether it can be read in only one way.
    """

    usage: Json | None
    is_counted: bool = True
    is_plain: bool = True


def odd_number(number: int, chance: random.Random) -> Any:
    """Write a count as a number, with a point, or as text."""
    return chance.choice((number, number, number, float(number), str(number), f"{number}.0"))


def written(draft: Draft, family: str, *, known: bool) -> Written:
    """Write the bill as servers of OpenAI's two formats do.

    Args:
        draft: Whose bill.
        family: ``chat`` or ``responses``, whose names are usual.
        known: Whether the vendor's way to count is documented, and kept to: all inside.
    """
    bill, chance = draft.truth.bill, draft.chance
    prompt, completion = NAMES[family]
    kept = bill.cached_input + bill.cache_write
    cache_inside = known or not kept or chance.random() < 0.7
    thoughts_inside = known or not bill.reasoning or chance.random() < 0.7
    read = bill.input + (kept if cache_inside else 0)
    wrote = bill.output + (bill.reasoning if thoughts_inside else 0)
    usage: Json = {f"{prompt}_tokens": read, f"{completion}_tokens": wrote}
    has_total = chance.random() < 0.7
    if has_total:
        usage["total_tokens"] = bill.total
    if not known and bill.reasoning and has_total and thoughts_inside and chance.random() < 0.3:
        usage[f"{completion}_tokens"] = bill.output  # named nowhere, but in the total: Gemini
    elif bill.reasoning:
        usage[f"{completion}_tokens_details"] = {"reasoning_tokens": bill.reasoning}
    if kept:
        usage[f"{prompt}_tokens_details"] = {"cached_tokens": bill.cached_input, "cache_write_tokens": bill.cache_write}
        if not known and chance.random() < 0.3:
            del usage[f"{prompt}_tokens_details"]
            usage["cache_read_input_tokens"] = bill.cached_input
            usage["cache_creation_input_tokens"] = bill.cache_write
    plain = known or has_total or (not kept and not bill.reasoning)
    result = Written(usage, is_plain=plain)
    for change in _CHANGES:
        if chance.random() < 0.12:
            change(result, draft, (prompt, completion))
    for name, value in list(usage.items()):
        if isinstance(value, int) and chance.random() < 0.3:
            usage[name] = odd_number(value, chance)
    return result


def _both_families(result: Written, draft: Draft, names: tuple[str, str]) -> None:
    """Relays that give both families leave one at zero, or null: LiteLLM, Vercel's gateway."""
    assert result.usage is not None
    for own, other in zip(
        names, ("input", "output") if names[0] == "prompt" else ("prompt", "completion"), strict=True
    ):
        value = result.usage[f"{own}_tokens"]
        result.usage[f"{other}_tokens"] = draft.chance.choice((value, 0, None))


def _null_details(result: Written, draft: Draft, names: tuple[str, str]) -> None:
    """Null, empty or minus one in place of details: vLLM, SGLang, relays."""
    assert result.usage is not None
    for name in names:
        result.usage.setdefault(f"{name}_tokens_details", draft.chance.choice((None, {}, {"audio_tokens": 0}, [])))


def _zero_prompt(result: Written, draft: Draft, names: tuple[str, str]) -> None:
    """A prompt of zero that cannot be, beside a total that has it: Gemini's and relays' streams."""
    assert result.usage is not None
    bill = draft.truth.bill
    details = result.usage.get(f"{names[1]}_tokens_details") or {}
    is_named = not bill.reasoning or "reasoning_tokens" in details
    if "total_tokens" in result.usage and is_named and not bill.cached_input + bill.cache_write:
        result.usage[f"{names[0]}_tokens"] = draft.chance.choice((0, None, -1))
        result.is_plain = False


def _no_output(result: Written, draft: Draft, names: tuple[str, str]) -> None:
    """Nothing counted of what is plainly there: a side is unknown then, not zero."""
    assert result.usage is not None
    result.usage[f"{names[1]}_tokens"] = draft.chance.choice((0, None, -1))
    if "total_tokens" not in result.usage:
        result.is_counted = False
    result.is_plain = False


def _strangers(result: Written, draft: Draft, names: tuple[str, str]) -> None:
    """Fields of the server's own: Groq's times, OpenRouter's flags, Ollama's durations."""
    assert result.usage is not None
    result.usage |= {"queue_time": 0.01, "is_byok": False, "num_sources_used": 0, "prompt_time": "0.3", "x": [1]}


def _nothing(result: Written, draft: Draft, names: tuple[str, str]) -> None:
    """No usage at all: many local servers, and streams of relays."""
    result.usage = draft.chance.choice((None, None, {}))
    result.is_counted = result.is_plain = False


_CHANGES = (_both_families, _null_details, _zero_prompt, _strangers, _no_output)


def part_of(usage: Json | None, share: float) -> Json | None:
    """Return what a server that counts as it goes has counted after a share of the output."""
    if usage is None:
        return None
    grown = dict(usage)
    for name in ("completion_tokens", "output_tokens"):
        if isinstance(value := grown.get(name), int | float) and value > 0:
            grown[name] = max(1, int(value * share))
    grown.pop("total_tokens", None)
    return grown


def with_nothing(draft: Draft) -> Written:
    """Return that nothing was counted."""
    result = Written({})
    _nothing(result, draft, ("", ""))
    return result
