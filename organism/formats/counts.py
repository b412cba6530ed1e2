"""How providers count tokens and money, translated into disjoint buckets. Pure.

Numbers from a provider are untrusted: each is checked before any arithmetic, and what is no sane count is named in an
error instead of being used.
"""

from decimal import Decimal
from typing import cast

from organism.amounts import TokenUsage, nanousd
from organism.formats.json_reading import Json, part
from organism.formats.vendors import Vendor

TOKENS_MAX = 10_000_000
"""More tokens than that in one bucket of one call is no count."""


class UsageError(ValueError):
    """A provider's usage is not a count of tokens, or its cost not an amount of money."""


def count(usage: Json, *path: str) -> int:
    """Return a token count; a missing or null one is 0.

    Raises:
        UsageError: If it is there and not a sane natural number.
    """
    value = part(usage, *path)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= TOKENS_MAX:
        raise UsageError(f"usage field {'.'.join(path)} is {str(value)[:40]!r}")
    return value


def chat_usage(usage: Json, vendor: Vendor) -> TokenUsage:
    """Read the usage of chat completions.

    What ``total_tokens`` has above its parts is taken for reasoning that is named nowhere else: some vendors count it
    there alone.

    Source: the ``usage`` object of OpenAI's chat completions, and the vendor's departures from it.

    Raises:
        UsageError: If a count is insane, or a part is larger than the whole.
    """
    prompt, completion = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    cached, written = count(usage, *vendor.cached), count(usage, *vendor.cache_write)
    reasoning = count(usage, "completion_tokens_details", "reasoning_tokens")
    plain = prompt - cached - written if vendor.cached_inside else prompt
    visible = completion - reasoning if vendor.reasoning_inside else completion
    if plain < 0 or visible < 0:
        raise UsageError(
            f"usage has {cached} cached and {written} written of {prompt} prompt tokens, "
            f"{reasoning} reasoning of {completion} completion tokens"
        )
    unnamed = max(0, count(usage, "total_tokens") - plain - cached - written - visible - reasoning)
    return TokenUsage(
        input=plain, cached_input=cached, cache_write=written, output=visible, reasoning=reasoning + unnamed
    )


def responses_usage(usage: Json) -> TokenUsage:
    """Read the usage of responses: cached tokens are part of the input, reasoning is part of the output.

    Source: the ``usage`` object of OpenAI's responses.

    Raises:
        UsageError: If a count is insane, or a part is larger than the whole.
    """
    read, written = count(usage, "input_tokens"), count(usage, "output_tokens")
    cached = count(usage, "input_tokens_details", "cached_tokens")
    reasoning = count(usage, "output_tokens_details", "reasoning_tokens")
    if cached > read or reasoning > written:
        raise UsageError(f"usage has {cached} cached of {read} input, {reasoning} reasoning of {written} output tokens")
    unnamed = max(0, count(usage, "total_tokens") - read - written)
    return TokenUsage(
        input=read - cached, cached_input=cached, output=written - reasoning, reasoning=reasoning + unnamed
    )


def messages_usage(usage: Json) -> TokenUsage:
    """Read the usage of messages: cached tokens come beside the input, thinking is part of the output.

    Source: the ``usage`` object of Anthropic's messages, which calls its count of thinking approximate.

    Raises:
        UsageError: If a count is insane.
    """
    written = count(usage, "output_tokens")
    thinking = min(written, count(usage, "output_tokens_details", "thinking_tokens"))
    return TokenUsage(
        input=count(usage, "input_tokens"),
        cached_input=count(usage, "cache_read_input_tokens"),
        cache_write=count(usage, "cache_creation_input_tokens"),
        output=written - thinking,
        reasoning=thinking,
    )


def embedding_usage(usage: Json) -> TokenUsage:
    """Read the usage of embeddings: all of it is input, and where the total is larger than the prompt it holds.

    Source: the ``usage`` object of OpenAI's embeddings.

    Raises:
        UsageError: If a count is insane.
    """
    return TokenUsage(input=max(count(usage, "prompt_tokens"), count(usage, "total_tokens")))


def reported_cost(usage: Json, vendor: Vendor) -> int | None:
    """Return what the vendor says the call has cost, in nano-USD; ``None`` when it does not say.

    A call on the user's own key elsewhere (OpenRouter's ``is_byok``) costs more than the vendor's part of it.

    Raises:
        UsageError: If it is no sane amount of money.
    """
    value = part(usage, *vendor.cost) if vendor.cost else None
    if value is None or usage.get("is_byok") is True:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"usage field {'.'.join(vendor.cost)} is {str(value)[:40]!r}")
    try:
        return nanousd(Decimal(repr(value)) / vendor.cost_unit_per_usd)
    except ValueError as error:
        raise UsageError(f"usage field {'.'.join(vendor.cost)} is {error}") from None


def merged(known: Json | None, news: Json) -> Json:
    """Join what a stream has said of its usage so far with what it says now.

    Counts of a stream are cumulative: adding them up would charge twice. They cannot fall either, so of two counts of
    the same thing the larger one holds; a null says nothing.
    """
    whole = dict(known or {})
    for field, value in news.items():
        before = whole.get(field)
        if isinstance(value, dict):
            whole[field] = merged(cast("Json", before) if isinstance(before, dict) else None, value)
        elif _natural(before) and _natural(value):
            whole[field] = max(cast("int", before), cast("int", value))
        elif value is not None:
            whole[field] = value
    return whole


def _natural(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
