"""Prices as people write them: the dearest that is believed, and one that is not."""

from decimal import Decimal

import pytest

from organism.errors import ConfigError
from organism.pricing.written import USD_MAX, WrittenPrice, rates_of


def test_a_price_beyond_belief_is_refused() -> None:
    """A slip of the decimal point is told at the start; the bound itself is a price."""
    dearest = WrittenPrice(input=Decimal(USD_MAX), output=Decimal(0))
    assert rates_of(dearest, "written").input.base == USD_MAX * 1_000_000_000

    with pytest.raises(ConfigError, match="is beyond belief"):
        rates_of(WrittenPrice(input=Decimal(USD_MAX + 1), output=Decimal(0)), "written")
