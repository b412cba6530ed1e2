"""Looks up prices: the configuration's first, then the shipped ones.

A name is looked up as ``provider/model``, then as ``model``, then both again without the release date, so that one
price covers ``gpt-5`` and ``gpt-5-2025-08-07``, which is what the provider calls it in its answer.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime

import msgspec

from organism.errors import ConfigError
from organism.pricing.names import undated
from organism.pricing.rates import FREE, Rates
from organism.pricing.shipped import shipped_rates


class DatedRates(msgspec.Struct, frozen=True):
    """Prices and the first day on which they hold, in UTC; ``None`` for always."""

    rates: Rates
    since: date | None = None


Override = Rates | tuple[DatedRates, ...] | str
"""Prices, prices by date, or the name of the model that costs the same."""


class PriceBook:
    """Looks up what a model costs.

    Args:
        overrides: Prices that win, by ``provider/model`` or by ``model``.
        now: Returns the instant for which dated prices are chosen.
        otherwise: The assumed prices of models without known ones; ``None`` leaves them unknown.

    Raises:
        ConfigError: If models are said to cost what each other costs, round and round.
    """

    def __init__(
        self,
        overrides: Mapping[str, Override] | None = None,
        *,
        now: Callable[[], datetime],
        otherwise: Rates | None = None,
    ) -> None:
        self._overrides = dict(overrides or {})
        self._now = now
        self._otherwise = otherwise
        for name in self._overrides:
            check_aliases(self._overrides, name)

    def rates(
        self, provider: str, model: str, kinds: Mapping[str, str] | None = None, at: datetime | None = None
    ) -> Rates | None:
        """Return a model's prices; ``None`` if they are unknown, which is not zero.

        Args:
            provider: The provider's name in the configuration.
            kinds: The providers' names in the price data, where they differ; ``local`` costs nothing.
            at: The instant; now unless given.
        """
        found = self._known(provider, model, kinds or {}, at or self._now())
        return self._otherwise if found is None else found

    def with_overrides(self, overrides: Mapping[str, Override]) -> "PriceBook":
        """Return a copy of the book with further overrides.

        Raises:
            ConfigError: If models are said to cost what each other costs, round and round.
        """
        return PriceBook({**self._overrides, **overrides}, now=self._now, otherwise=self._otherwise)

    def _known(
        self,
        provider: str,
        model: str,
        kinds: Mapping[str, str],
        now: datetime,
        followed: frozenset[str] = frozenset(),
    ) -> Rates | None:
        """Return the prices by the nearest name that has any.

        Args:
            followed: Aliases that led here. They are skipped: by its shorter or undated name, what an alias refers to
                may be that alias again, as in ``gpt-5: openai/gpt-5``, which means the shipped price of OpenAI's.
        """
        for name in names_of(provider, model):
            override = None if name in followed else self._overrides.get(name)
            if isinstance(override, str):
                as_provider, slash, as_model = override.partition("/")
                target = (as_provider, as_model) if slash else (provider, override)
                return self._known(*target, kinds, now, followed | {name})
            if isinstance(override, Rates):
                return override
            in_force = [dated for dated in override or () if dated.since is None or dated.since <= now.date()]
            if in_force:
                return max(in_force, key=lambda dated: dated.since or date.min).rates
        kind = kinds.get(provider, provider)
        return FREE if kind == "local" else shipped_rates(kind, model, now)


class ProviderPrices:
    """Prices by the provider's name in the configuration, which may differ from that in the price data.

    Args:
        kinds: The name of each provider in the price data, by its own name.
    """

    def __init__(self, book: PriceBook, kinds: Mapping[str, str]) -> None:
        self._book = book
        self._kinds = kinds

    def rates(self, provider: str, model: str, at: datetime | None = None) -> Rates | None:
        """Return the prices of a provider's model, now unless an instant is given; ``None`` if unknown."""
        return self._book.rates(provider, model, self._kinds, at)

    def with_overrides(self, overrides: Mapping[str, Override]) -> "ProviderPrices":
        """Return a copy with further overrides.

        Raises:
            ConfigError: If models are said to cost what each other costs, round and round.
        """
        return ProviderPrices(self._book.with_overrides(overrides), self._kinds)


def check_aliases(overrides: Mapping[str, Override], name: str) -> None:
    """Refuse aliases that form a circle.

    Raises:
        ConfigError: If they do.
    """
    seen = [name]
    while isinstance(target := overrides.get(seen[-1]), str):
        if target in seen:
            raise ConfigError(f"prices refer to each other in a circle: {' -> '.join([*seen, target])}")
        seen.append(target)


def names_of(provider: str, model: str) -> Iterator[str]:
    """Yield the names under which a provider's model is looked up, the most specific first."""
    yield f"{provider}/{model}"
    yield model
    if (family := undated(model)) != model:
        yield f"{provider}/{family}"
        yield family
