"""Converts prices of the configuration, in dollars per million tokens, to integer rates. Pure."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec.structs import replace

from organism.amounts import nanousd
from organism.errors import ConfigError
from organism.pricing.book import DatedRates, Override
from organism.pricing.rates import Rate, Rates, Tier

USD_MAX = 1_000_000
"""The highest price per million tokens; up to it, no sum that a thread can reach exceeds 64 bits."""


class WrittenTier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices of calls with more than a number of input tokens; omitted ones do not change."""

    above_input_tokens: Annotated[int, msgspec.Meta(ge=1)]
    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None


class WrittenPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's price.

    Attributes:
        input: Uncached input.
        output: Output.
        cached_input: Input read from a cache; as input unless given.
        cache_write: Input written to a cache; as input unless given.
        reasoning: Reasoning; as output unless given.
        request: Dollars for each request, beside its tokens.
        tiers: Other prices of long calls.
        since: The first day on which it holds; always unless given.
        tools: Dollars for each use of a tool that the vendor runs, such as ``web_search``; the vendor's own fee
            unless given.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    request: Decimal = Decimal(0)
    tiers: tuple[WrittenTier, ...] = ()
    since: date | None = None
    tools: dict[str, Decimal] = msgspec.field(default_factory=dict)


Written = WrittenPrice | Sequence[WrittenPrice] | str
"""A price, prices by date, or the name of the model that costs the same."""


def override_of(written: Written, source: str) -> Override:
    """Convert a price.

    Raises:
        ConfigError: If a number in it is no amount of dollars.
    """
    if isinstance(written, str):
        return written
    prices = (written,) if isinstance(written, WrittenPrice) else written
    return tuple(DatedRates(rates_of(price, source), price.since) for price in prices)


def rates_of(written: WrittenPrice, source: str) -> Rates:
    """Return the rates of a price; their source has a digest, which tells versions of a price apart.

    Raises:
        ConfigError: If a number in it is no amount of dollars.
    """
    rates = Rates(
        input=_rate(written, "input", "input"),
        cached_input=_rate(written, "cached_input", "input"),
        cache_write=_rate(written, "cache_write", "input"),
        output=_rate(written, "output", "output"),
        reasoning=_rate(written, "reasoning", "output"),
        request=_nanousd(written.request),
        fees={tool: _nanousd(usd) for tool, usd in written.tools.items()},
        source="",
    )
    return replace(rates, source=f"{source} {sha256(msgspec.json.encode(rates)).hexdigest()[:8]}")


def _rate(written: WrittenPrice, name: str, like: str) -> Rate:
    """Return the rate of one kind of token: its own, or that of ``like`` if it has none."""
    kind = like if getattr(written, name) is None else name
    steps = ((tier.above_input_tokens, getattr(tier, kind)) for tier in written.tiers)
    own = ((tier.above_input_tokens, getattr(tier, name)) for tier in written.tiers)
    tiers = {above: usd for above, usd in (*steps, *own) if usd is not None}
    return Rate(
        _nanousd(getattr(written, kind)), tuple(Tier(above, _nanousd(usd)) for above, usd in sorted(tiers.items()))
    )


def _nanousd(usd: Decimal) -> int:
    try:
        cost_nanousd = nanousd(usd)
    except ValueError:
        raise ConfigError(f"not an amount of dollars: '{usd}'", path="prices") from None
    if usd > USD_MAX:
        raise ConfigError(f"{usd} dollars per million tokens is beyond belief", path="prices")
    return cost_nanousd
