"""The fees of vendors' tools are amounts that somebody may have on a price list."""

from organism.pricing.tool_fees import FEES_NANOUSD


def test_each_fee_is_a_price_that_a_list_can_have() -> None:
    """A use costs whole hundredths of a cent, and never more than a few dollars: a slip of a digit is noticed."""
    assert FEES_NANOUSD
    assert {name: fee for name, fee in FEES_NANOUSD.items() if fee % 100_000 or not 0 <= fee <= 5_000_000_000} == {}
