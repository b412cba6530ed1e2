"""Prices as people write them: the dearest that is believed, and one that is not."""

from decimal import Decimal

import pytest

from organism.errors import ConfigError
from organism.pricing.rates import Rate, Tier
from organism.pricing.written import USD_MAX, WrittenPrice, WrittenTier, override_of, rates_of


def test_a_price_beyond_belief_is_refused() -> None:
    """A slip of the decimal point is told at the start; the bound itself is a price."""
    dearest = WrittenPrice(input=Decimal(USD_MAX), output=Decimal(0))
    assert rates_of(dearest, "written").input.base == USD_MAX * 1_000_000_000

    with pytest.raises(ConfigError, match="is beyond belief"):
        rates_of(WrittenPrice(input=Decimal(USD_MAX + 1), output=Decimal(0)), "written")


def test_what_is_not_written_costs_nothing_or_what_it_is_like() -> None:
    """Tokens and steps of a price as they are written; a request costs nothing beside them unless somebody says so."""
    steps = (
        WrittenTier(above_input_tokens=100, input=Decimal(3)),
        WrittenTier(above_input_tokens=9, output=Decimal(5)),
    )

    rates = rates_of(WrittenPrice(input=Decimal(1), output=Decimal(2), tiers=steps), "written")

    assert rates.input == rates.cached_input == rates.cache_write == Rate(10**9, (Tier(100, 3 * 10**9),))
    assert rates.output == rates.reasoning == Rate(2 * 10**9, (Tier(9, 5 * 10**9),))
    assert rates.request == 0


def test_a_price_may_be_the_name_of_a_model_that_costs_the_same() -> None:
    """A name stays one: what it costs is looked up when it is asked for."""
    assert override_of("gpt-5", "written") == "gpt-5"
