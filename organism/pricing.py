"""What tokens cost: rates in integers, and the book they are looked up in.

Rates are nano-USD per million tokens, so a price of $0.15 per million is 150,000,000 and nothing is rounded before the
end; the cost of a call is rounded up once. Prices come from the configuration, else from the data that ship with the
``genai-prices`` package; nothing is ever fetched.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import msgspec

from organism.amounts import NANOUSD_PER_USD, TokenUsage

if TYPE_CHECKING:
    from genai_prices.types import TieredPrices

_PER_MTOK = 1_000_000
_CACHE_MAX = 10_000
"""So many looked-up models are remembered; a provider that answers with ever new names must not fill the memory."""

Bucket = Literal["input", "cached_input", "cache_write", "output", "reasoning"]


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


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """All prices of one model.

    Attributes:
        input: Uncached input.
        cached_input: Input read from a cache.
        cache_write: Input written to a cache.
        output: Visible output.
        reasoning: Output spent on reasoning.
        source: Where the prices come from, with a version where there is one.
    """

    input: Rate
    cached_input: Rate
    cache_write: Rate
    output: Rate
    reasoning: Rate
    source: str

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
    return -(-picked // _PER_MTOK)


class PriceBook:
    """Looks up what a model costs.

    Args:
        overrides: Prices that win, by ``provider/model`` or by ``model``.
        now: Says which of a model's dated prices holds.
    """

    def __init__(self, overrides: Mapping[str, Rates] | None = None, *, now: Callable[[], datetime]) -> None:
        self._overrides = dict(overrides or {})
        self._now = now
        self._found: dict[tuple[str, str, str], Rates | None] = {}

    def rates(self, provider: str, model: str, *, kind: str | None = None) -> Rates | None:
        """Return a model's prices, or ``None`` when they are unknown, which is not zero.

        Args:
            provider: The provider's name in the configuration.
            model: The model's name there.
            kind: What the price data call the provider; ``local`` costs nothing.
        """
        for name in (f"{provider}/{model}", model):
            if name in self._overrides:
                return self._overrides[name]
        kind = kind or provider
        if kind == "local":
            return FREE
        day = f"{self._now():%Y-%m-%d}"
        key = (kind, model, day)
        if key not in self._found:
            if len(self._found) >= _CACHE_MAX:
                self._found.clear()
            self._found[key] = _shipped_rates(kind, model, self._now())
        return self._found[key]


def _shipped_rates(kind: str, model: str, now: datetime) -> Rates | None:
    """Read a model's prices from the data of ``genai-prices``."""
    # Imported late: it brings pydantic, which would triple the time of `import organism`.
    from genai_prices import data_snapshot

    try:
        _, info = data_snapshot.get_snapshot().find_provider_model(model, None, kind, None)
    except LookupError:
        return None
    prices = info.get_prices(now)
    plain_in, plain_out = _rate(prices.input_mtok), _rate(prices.output_mtok)
    if plain_in is None or plain_out is None:
        return None
    return Rates(
        input=plain_in,
        cached_input=_rate(prices.cache_read_mtok) or plain_in,
        cache_write=_rate(prices.cache_write_mtok) or plain_in,
        output=plain_out,
        reasoning=plain_out,
        source=f"genai-prices {version('genai-prices')}",
    )


def _rate(price: "Decimal | TieredPrices | None") -> Rate | None:
    if price is None:
        return None
    if isinstance(price, Decimal):
        return Rate(_nanousd(price))
    return Rate(_nanousd(price.base), tuple(Tier(tier.start, _nanousd(tier.price)) for tier in price.tiers))


def _nanousd(usd_per_mtok: Decimal) -> int:
    return int(usd_per_mtok * NANOUSD_PER_USD)


class ProviderPrices:
    """Prices by the provider's name in the configuration, which may differ from its kind in the price data.

    Args:
        book: The price data.
        kinds: The kind of each provider, by its name.
    """

    def __init__(self, book: PriceBook, kinds: Mapping[str, str]) -> None:
        self._book = book
        self._kinds = kinds

    def rates(self, provider: str, model: str) -> Rates | None:
        """Return the prices of a provider's model; see :class:`organism.router.router.Prices`."""
        return self._book.rates(provider, model, kind=self._kinds.get(provider, provider))
