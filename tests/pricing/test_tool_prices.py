"""What a run of a tool costs: by the call, the second and the unit, never more than held where it can be known."""

from decimal import Decimal
from typing import Any

import pytest

from organism.amounts import CALL_NANOUSD_MAX
from organism.errors import ConfigError
from organism.pricing.tool_prices import ToolPrice, tool_price, units_of

MILLI = 1_000_000
"""A thousandth of a dollar in nano-USD."""


@pytest.mark.parametrize(
    ("written", "price"),
    [
        ("0.005", ToolPrice(call=5 * MILLI)),
        (0.005, ToolPrice(call=5 * MILLI)),
        (0, ToolPrice()),
        ({"call": "0.005"}, ToolPrice(call=5 * MILLI)),
        ({"second": Decimal("0.0001")}, ToolPrice(second=100_000)),
        ({"unit": 0.001, "of": "results"}, ToolPrice(unit=MILLI, of="results")),
        ({"call": 1, "unit": "0.001", "max_units": 20}, ToolPrice(call=1000 * MILLI, unit=MILLI, max_units=20)),
        ({"call": "0.01", "second": None, "unit": None, "of": None, "max_units": None}, ToolPrice(call=10 * MILLI)),
        (ToolPrice(call=7), ToolPrice(call=7)),
        ({"unit": "0.001", "max_units": 1}, ToolPrice(unit=MILLI, max_units=1)),
        ({"unit": "0.000001", "max_units": 10**9}, ToolPrice(unit=1000, max_units=10**9)),
        (ToolPrice(call=CALL_NANOUSD_MAX), ToolPrice(call=CALL_NANOUSD_MAX)),
    ],
    ids=str,
)
def test_a_price_is_read_as_people_write_it(written: Any, price: ToolPrice) -> None:
    """Dollars alone are the price of a call; the parts of a price add up."""
    assert tool_price(written) == price


@pytest.mark.parametrize(
    "written",
    [
        None, "much", -1, True, float("nan"), "0.0000000001", [], {}, {"calls": 1}, {"call": "x"}, {"of": "results"},
        {"max_units": 3, "call": 1}, {"unit": 1, "max_units": 0}, {"unit": 1, "max_units": True},
        {"unit": 1, "of": ""}, {"unit": 1, "of": 3}, {"second": 1_000_000}, ToolPrice(call=-1),
        {"unit": "0.000001", "max_units": 10**9 + 1}, ToolPrice(call=CALL_NANOUSD_MAX + 1),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_price_is_refused(written: Any) -> None:
    """A price that means nothing, or by which one run could cost millions, is refused where it is written."""
    with pytest.raises(ConfigError, match=r"price|dollar|max_units|'of'|USD"):
        tool_price(written)


def test_the_worst_case_bounds_the_cost() -> None:
    """Within its timeout and its units, a run never costs more than was held for it."""
    price = tool_price({"call": "0.01", "second": "0.003", "unit": "0.001", "of": "results", "max_units": 5})
    worst = price.worst_case(10.0)
    assert worst == 10 * MILLI + 30 * MILLI + 5 * MILLI
    for seconds in (0.0, 0.5, 9.999, 10.0):
        for units in (0, 1, 5, None):
            assert price.cost(seconds, units) <= worst
    assert price.cost(0.5, 2) == 10 * MILLI + 1_500_000 + 2 * MILLI
    assert ToolPrice(second=1).cost(0.000000001, 0) == 1
    assert ToolPrice(call=7, second=1).cost(0.0, 0) == ToolPrice(call=7, second=1).cost(-1.0, 0) == 7


@pytest.mark.parametrize(
    ("of", "result", "units"),
    [
        ("results", '{"results": [1, 2, 3]}', 3),
        ("results", '{"results": 7, "more": true}', 7),
        ("results", '[{"a": 1}, {"a": 2}]', 2),
        ("", "[1, 2]", 2),
        ("", "12", 12),
        ("", "[]", 0),
        ("", "0", 0),
        ("", "1000000000", 10**9),
        ("", "1000000001", None),
        ("results", '{"found": [1]}', None),
        ("results", "three pages", None),
        ("results", '{"results": -1}', None),
        ("results", '{"results": true}', None),
        ("results", '{"results": 1.5}', None),
        ("results", '{"results": 99999999999999999999}', None),
        ("", '{"results": [1]}', None),
        ("", "[" * 100_000, None),
        ("", "", None),
    ],
)
def test_units_are_counted_in_what_the_tool_gave(of: str, result: str, units: int | None) -> None:
    """A list counts its members, a number itself; what cannot be counted says so instead of costing nothing."""
    assert units_of(ToolPrice(unit=1, of=of), result) == units


def test_another_price_has_another_source() -> None:
    """An entry tells by which price it was made, in words people can read beside it."""
    cheap, dear = tool_price("0.005"), tool_price("0.006")
    assert cheap.source != dear.source
    assert str(tool_price({"call": 1, "second": "0.5", "unit": "0.001", "of": "pages", "max_units": 9})) == (
        "$1.00 a call, $0.50 a second, $0.001 for each of up to 9 pages"
    )
    assert str(tool_price(0)) == "free"
