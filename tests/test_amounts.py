"""Limits in the units of people."""

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from organism import ConfigError, Limits
from organism.amounts import cost_of, format_usd, format_usd_estimate, nanousd
from organism.errors import AmountError


@pytest.mark.parametrize("usd", ["0.10", 0.1, Decimal("0.1")])
def test_dollars_are_exact_however_they_are_written(usd: str | float | Decimal) -> None:
    """Text, decimal and float of the same dollars are the same limit, to the nano-dollar."""
    assert Limits(usd=usd) == Limits(cost_nanousd=100_000_000)


@pytest.mark.parametrize(
    ("nano", "text", "reckoned"),
    [
        (0, "$0.00", "$0.00"),
        (3, "$0.000000003", "$0.000000003"),
        (1_500, "$0.0000015", "$0.0000015"),
        (123_456, "$0.000123456", "$0.000123"),
        (500_000_000, "$0.50", "$0.50"),
        (1_234_567_891, "$1.234567891", "$1.23"),
        (1_234_567_890_123_456, "$1,234,567.890123456", "$1,234,567.89"),
        (-25_000_001, "-$0.025000001", "-$0.025"),
    ],
)
def test_money_is_written_in_one_way(nano: int, text: str, reckoned: str) -> None:
    """Every digit of what was spent is shown, so that rows add up; what is reckoned has three that mean something."""
    assert format_usd(nano) == text
    assert nanousd(Decimal(text.replace("$", "").replace(",", "").removeprefix("-"))) == abs(nano)
    assert format_usd_estimate(nano) == reckoned


def test_limits_read_as_in_the_file() -> None:
    """All four units go together, and what is stored is exact and reads back as it was."""
    limits = Limits(tokens=5000, usd=2, seconds=1.5, calls=3)

    assert limits == Limits(tokens=5000, cost_nanousd=2_000_000_000, elapsed_ns=1_500_000_000, calls=3)
    assert msgspec.json.decode(msgspec.json.encode(limits), type=Limits) == limits


@pytest.mark.parametrize(
    "wrong",
    [
        {"usd": "a lot"},
        {"usd": "1e3"},
        {"usd": True},
        {"usd": math.nan},
        {"usd": math.inf},
        {"usd": []},
        {"usd": -1},
        {"usd": 1, "cost_nanousd": 1},
        {"seconds": -1},
        {"seconds": math.inf},
        {"seconds": "60"},
        {"seconds": 1, "elapsed_ns": 1},
        {"tokens": 1.5},
        {"calls": True},
    ],
)
def test_what_is_no_limit_is_refused_where_it_is_written(wrong: dict[str, Any]) -> None:
    """A limit that was written wrongly is money that was not meant."""
    with pytest.raises(ConfigError, match="limit"):
        Limits(**wrong)


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("0.05", 50_000_000),
        (0.05, 50_000_000),
        (1, 1_000_000_000),
        (3 * 0.003, 9_000_000),
        (0.1 + 0.2, 300_000_000),
        (1 / 3, 333_333_334),
        (99_999.9 * 3, 299_999_700_000_000),
        (0, 0),
        (Decimal("0.000000001"), 1),
    ],
)
def test_a_cost_is_what_was_meant(usd: Any, nano: int) -> None:
    """What a computed float is off by is no money; what is more than that is rounded up."""
    assert cost_of(usd) == nano


@pytest.mark.parametrize(
    "usd", ["0.0000000001", Decimal("1E-10"), 1e-10, math.nan, math.inf, -1, True, None, "1e3", "", 10_000_000, b"1"]
)
def test_what_is_no_cost_is_refused(usd: Any) -> None:
    """Nonsense, fractions of a nano-dollar and more than anything may cost are no costs."""
    with pytest.raises(AmountError, match=r"dollar|most that anything"):
        cost_of(usd)
