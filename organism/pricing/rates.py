"""Rates of a model, and the cost of a call by them. Pure.

Rates are nano-USD per million tokens, so a price of $0.15 per million is 150,000,000 and nothing is rounded before the
end; the cost of a call is rounded up once.
"""

import msgspec

from organism.amounts import TokenUsage

_PER_MTOK = 1_000_000


class Tier(msgspec.Struct, frozen=True):
    """A rate for all tokens of a call with more than a number of input tokens."""

    above_input: int
    nanousd_per_mtok: int


class Rate(msgspec.Struct, frozen=True):
    """The price of one kind of token, in nano-USD per million.

    Attributes:
        base: The rate of calls below all tiers.
        tiers: The rates of longer calls, ascending.
    """

    base: int
    tiers: tuple[Tier, ...] = ()

    def at(self, input_tokens: int) -> int:
        """Return the rate of a call with a number of input tokens."""
        rate = self.base
        for tier in self.tiers:
            if input_tokens > tier.above_input:
                rate = tier.nanousd_per_mtok
        return rate

    @property
    def dearest(self) -> int:
        """The highest rate."""
        return max(self.base, *(tier.nanousd_per_mtok for tier in self.tiers)) if self.tiers else self.base


class Rates(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All prices of one model.

    Attributes:
        input: Uncached input.
        cached_input: Input read from a cache.
        cache_write: Input written to a cache.
        output: Visible output.
        reasoning: Output spent on reasoning.
        source: Where the prices come from, with a version.
        request: The price of a request beside its tokens, in nano-USD.
        assumed: Whether the prices are an assumption, as the real ones are unknown.
        input_only: Whether the price of output is unknown, as with models that only embed.
        fees: Fees for uses of the vendor's tools that differ from the published ones, in nano-USD, by tool.
    """

    input: Rate
    cached_input: Rate
    cache_write: Rate
    output: Rate
    reasoning: Rate
    source: str
    request: int = 0
    assumed: bool = False
    input_only: bool = False
    fees: dict[str, int] = msgspec.field(default_factory=dict)

    def dearest_input(self) -> int:
        """Return the highest rate of input, in nano-USD per million tokens."""
        return max(self.input.dearest, self.cached_input.dearest, self.cache_write.dearest)

    def dearest_output(self) -> int:
        """Return the highest rate of output, in nano-USD per million tokens."""
        return max(self.output.dearest, self.reasoning.dearest)


def flat_rates(
    *,
    input: int,  # noqa: A002 - the bucket's name
    output: int,
    cached_input: int | None = None,
    cache_write: int | None = None,
    reasoning: int | None = None,
    source: str,
) -> Rates:
    """Return rates without tiers, in nano-USD per million tokens; omitted ones equal those of plain tokens."""
    return Rates(
        input=Rate(input),
        cached_input=Rate(input if cached_input is None else cached_input),
        cache_write=Rate(input if cache_write is None else cache_write),
        output=Rate(output),
        reasoning=Rate(output if reasoning is None else reasoning),
        source=source,
    )


def kept_for_an_hour(rates: Rates) -> Rates:
    """Return the prices of a call that asks for its input to be cached for an hour instead of five minutes.

    Anthropic charges twice the price of plain input for that. Input that the same call caches for five minutes is
    charged at the same, higher rate. Source: "Prompt caching", Anthropic.
    """
    double = Rate(2 * rates.input.base, tuple(Tier(t.above_input, 2 * t.nanousd_per_mtok) for t in rates.input.tiers))
    return msgspec.structs.replace(rates, cache_write=max(double, rates.cache_write, key=lambda rate: rate.dearest))


FREE = flat_rates(input=0, output=0, source="local")
"""The rates of a model on the user's own machine."""


def cost_nanousd(rates: Rates, usage: TokenUsage) -> int:
    """Return the cost of usage in nano-USD, rounded up once."""
    length = usage.input_total
    picked = (
        usage.input * rates.input.at(length)
        + usage.cached_input * rates.cached_input.at(length)
        + usage.cache_write * rates.cache_write.at(length)
        + usage.output * rates.output.at(length)
        + usage.reasoning * rates.reasoning.at(length)
    )
    return rates.request + -(-picked // _PER_MTOK)
