"""Prices from the data that ship with the ``genai-prices`` package; nothing is ever fetched.

What the data know beside text (audio, pictures, pages, searches) is not read: no adapter asks for it. A model that has
no price for its input is a model without a price; one that has none for its output has prices of input alone.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING

from organism.amounts import NANOUSD_PER_USD
from organism.pricing.rates import Rate, Rates, Tier

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

_CACHE_MAX = 10_000
"""So many names are remembered; a provider that answers with ever new names must not fill the memory."""


class ShippedPrices:
    """Looks up models in the data, and remembers where they stand there: finding one takes a millisecond.

    The active price is looked up each time; it is read as integers, which takes 40 µs, only when it has changed.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], ModelInfo | None] = {}
        self._read: dict[tuple[str, str], tuple[ModelPrice, Rates | None]] = {}

    def rates(self, kind: str, model: str, now: datetime) -> Rates | None:
        """Return a model's prices at an instant: they change from day to day, and with some providers by the hour.

        Args:
            kind: What the data call the provider.
            model: The model's name there, dated or not.
            now: The instant, with its time zone.
        """
        key = (kind, model)
        info = self._found[key] if key in self._found else self._find(key)
        if info is None:
            return None
        prices = info.get_prices(now)
        last, rates = self._read.get(key, (None, None))
        if last is not prices:
            rates = _rates(prices)
            self._read[key] = (prices, rates)
        return rates

    def _find(self, key: tuple[str, str]) -> "ModelInfo | None":
        # Imported late: it brings pydantic, which would triple the time of `import organism`.
        from genai_prices import data_snapshot

        if len(self._found) >= _CACHE_MAX:
            self._found.clear()
            self._read.clear()
        kind, model = key
        try:
            info = data_snapshot.get_snapshot().find_provider_model(model, None, kind, None)[1]
        except LookupError:
            info = None
        self._found[key] = info
        return info


def kinds_of(model: str) -> Iterator[str]:
    """Yield what the data call the providers that have a model of that name."""
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
