"""Prices from the data that ship with the ``genai-prices`` package; nothing is ever fetched.

Prices of anything but text (audio, images, pages, searches) are ignored: no adapter needs them. A model without a price
for input has no price; one without a price for output has prices of input alone.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from organism.amounts import NANOUSD_PER_USD
from organism.pricing.rates import Rate, Rates, Tier

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices


class _Known:
    """A model of the data, with its prices as last converted."""

    __slots__ = ("info", "prices", "rates")

    def __init__(self, info: "ModelInfo") -> None:
        self.info = info
        self.prices: ModelPrice | None = None
        self.rates: Rates | None = None


def shipped_rates(kind: str, model: str, now: datetime) -> Rates | None:
    """Return a model's prices at an instant; they change by the day, and with some providers by the hour.

    The active price is looked up each time, and converted to integers, which takes 40 µs, only when it has changed.

    Args:
        kind: The provider's name in the data.
        model: The model's name there, dated or not.
        now: The instant, with its time zone.
    """
    known = _find(kind, model)
    if known is None:
        return None
    prices = known.info.get_prices(now)
    if known.prices is not prices:
        known.prices, known.rates = prices, _rates(prices)
    return known.rates


@lru_cache(maxsize=10_000)  # finding one takes a millisecond, and a provider may answer with ever new names
def _find(kind: str, model: str) -> _Known | None:
    # Imported late: it brings pydantic, which would triple the time of `import organism`.
    from genai_prices import data_snapshot

    try:
        return _Known(data_snapshot.get_snapshot().find_provider_model(model, None, kind, None)[1])
    except LookupError:
        return None


def kinds_of(model: str) -> Iterator[str]:
    """Yield the names, in the data, of providers with a model of that name."""
    from genai_prices import data_snapshot

    for provider in data_snapshot.get_snapshot().providers:
        if any(info.is_match(model) for info in provider.models):
            yield provider.id


def _rates(prices: "ModelPrice") -> Rates | None:
    def rate(name: str) -> Rate | None:
        price: Decimal | TieredPrices | None = getattr(prices, name, None)
        if price is None:
            return None
        if isinstance(price, Decimal):
            return Rate(_nanousd(price))
        return Rate(_nanousd(price.base), tuple(Tier(tier.start, _nanousd(tier.price)) for tier in price.tiers))

    plain_in, plain_out = rate("input_mtok"), rate("output_mtok")
    if plain_in is None:
        return None
    known_out = plain_out or Rate(0)
    per_thousand_requests = rate("requests_kcount")
    return Rates(
        input=plain_in,
        cached_input=rate("cache_read_mtok") or plain_in,
        cache_write=rate("cache_write_mtok") or plain_in,
        output=known_out,
        reasoning=rate("output_reasoning_mtok") or known_out,
        source=f"genai-prices {version('genai-prices')}",
        input_only=plain_out is None,
        request=0 if per_thousand_requests is None else -(-per_thousand_requests.dearest // 1000),
    )


def _nanousd(usd: Decimal) -> int:
    return int(usd * NANOUSD_PER_USD)
