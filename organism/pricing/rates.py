"""What a model's tokens cost, and what a call costs by them.

Rates are nano-USD per million tokens, so a price of $0.15 per million is 150,000,000 and nothing is rounded before the
end; the cost of a call is rounded up once.
"""

import msgspec

from organism.amounts import TokenUsage

_PER_MTOK = 1_000_000


class Tier(msgspec.Struct, frozen=True):
    """A rate that holds for all tokens of a call once its input is longer than a number of tokens."""

    above_input: int
    nanousd_per_mtok: int


class Rate(msgspec.Struct, frozen=True):
    """The price of one kind of token, in nano-USD per million.

    Attributes:
        base: What it costs as a rule.
        tiers: What it costs in long calls, ascending.
    """

    base: int
    tiers: tuple[Tier, ...] = ()

    def at(self, input_tokens: int) -> int:
        """Return the rate of a call with that much input."""
        rate = self.base
        for tier in self.tiers:
            if input_tokens > tier.above_input:
                rate = tier.nanousd_per_mtok
        return rate

    @property
    def dearest(self) -> int:
        """The most it can cost."""
        return max(self.base, *(tier.nanousd_per_mtok for tier in self.tiers)) if self.tiers else self.base


class Rates(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All prices of one model.

    Attributes:
        input: Uncached input.
        cached_input: Input read from a cache.
        cache_write: Input written to a cache.
        output: Visible output.
        reasoning: Output spent on reasoning.
        source: Where the prices come from, with a version: what was read at another time may say something else.
        request: What a request costs beside its tokens, in nano-USD.
        assumed: Whether nobody knows the price, and this is what it is taken to be.
        input_only: Whether what output costs is unknown, as with models that put none out: they embed.
        fees: What a use of a tool that the vendor runs costs, in nano-USD, by the tool, where that is not as usual.
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
        """The most a token of input can cost, in nano-USD per million."""
        return max(self.input.dearest, self.cached_input.dearest, self.cache_write.dearest)

    def dearest_output(self) -> int:
        """The most a token of output can cost, in nano-USD per million."""
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
    """Make rates without tiers, in nano-USD per million tokens; what is not given costs as much as plain tokens do."""
    return Rates(
        input=Rate(input),
        cached_input=Rate(input if cached_input is None else cached_input),
        cache_write=Rate(input if cache_write is None else cache_write),
        output=Rate(output),
        reasoning=Rate(output if reasoning is None else reasoning),
        source=source,
    )


def kept_for_an_hour(rates: Rates) -> Rates:
    """Return the prices of a call that asks for its input to be kept for an hour instead of five minutes.

    Anthropic takes twice the price of plain input for that. What a call writes for five minutes beside it is charged
    the same: the larger of the two. Source: "Prompt caching", Anthropic.
    """
    double = Rate(2 * rates.input.base, tuple(Tier(t.above_input, 2 * t.nanousd_per_mtok) for t in rates.input.tiers))
    return msgspec.structs.replace(rates, cache_write=max(double, rates.cache_write, key=lambda rate: rate.dearest))


FREE = flat_rates(input=0, output=0, source="local")
"""What a model on one's own machine costs."""


def cost_nanousd(rates: Rates, usage: TokenUsage) -> int:
    """Return what usage costs, in nano-USD, rounded up once."""
    length = usage.input_total
    picked = (
        usage.input * rates.input.at(length)
        + usage.cached_input * rates.cached_input.at(length)
        + usage.cache_write * rates.cache_write.at(length)
        + usage.output * rates.output.at(length)
        + usage.reasoning * rates.reasoning.at(length)
    )
    return rates.request + -(-picked // _PER_MTOK)
