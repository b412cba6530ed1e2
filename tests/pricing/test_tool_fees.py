"""The fees of vendors' tools are amounts that somebody may have on a price list."""

import pytest
from msgspec.structs import replace

from organism.pricing.rates import FREE, Rates, flat_rates
from organism.pricing.tool_fees import FEES_NANOUSD, TOOLS, with_fees


def test_each_fee_is_a_price_that_a_list_can_have() -> None:
    """A use costs whole hundredths of a cent, and never more than a few dollars: a slip of a digit is noticed."""
    assert FEES_NANOUSD
    assert {name: fee for name, fee in FEES_NANOUSD.items() if fee % 100_000 or not 0 <= fee <= 5_000_000_000} == {}


@pytest.mark.parametrize(
    ("rates", "fee"),
    [
        (FREE, 0),
        (replace(FREE, fees={"web_search": 5}), 10),
        (flat_rates(input=1, output=1, source="mine"), 2 * FEES_NANOUSD["responses:web_search"]),
        (replace(flat_rates(input=1, output=1, source="mine"), fees={"web_search": 0}), 0),
    ],
    ids=["one's own machine", "with a fee of one's own", "a vendor's", "free by its price"],
)
def test_a_fee_is_the_one_that_is_written_or_else_the_vendor_s(rates: Rates, fee: int) -> None:
    """On one's own machine nobody takes a fee, unless it is written; a price of 0 is a price."""
    assert with_fees(rates, {"responses:web_search": 2}).request == rates.request + fee
    assert with_fees(rates, {"responses:web_search": -2}) == with_fees(rates, {}) == rates


def test_a_tool_that_nobody_takes_a_fee_for_costs_nothing() -> None:
    """Neither does one that the list does not know; a price can be written for each that it knows, by its name."""
    rates = flat_rates(input=1, output=1, source="mine")

    assert with_fees(rates, {"responses:of_tomorrow": 3, "messages:web_fetch": 3}) == rates
    assert {"web_search", "file_search", "web_fetch"} <= set(TOOLS)
