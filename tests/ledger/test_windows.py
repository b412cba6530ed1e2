"""What limits are counted over: periods have one name each and end when the next begins."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.amounts import NS_PER_S
from organism.ledger.windows import CALENDAR, counted_ns, is_over, period, rolling_ns, window_end_ns

BERLIN, KOLKATA, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * NS_PER_S


@pytest.mark.parametrize(
    ("per", "at", "zone", "expected", "ends"),
    [
        ("hour", "2026-11-24T13:59:59+00:00", UTC, "hour:2026-11-24T13", "2026-11-24T14:00:00+00:00"),
        ("hour", "2026-11-24T13:10:00+00:00", KOLKATA, "hour:2026-11-24T18+0530", "2026-11-24T13:30:00+00:00"),
        ("hour", "2026-10-25T00:30:00+00:00", BERLIN, "hour:2026-10-25T02+0200", "2026-10-25T01:00:00+00:00"),
        ("hour", "2026-10-25T01:30:00+00:00", BERLIN, "hour:2026-10-25T02+0100", "2026-10-25T02:00:00+00:00"),
        ("day", "2026-03-29T12:00:00+00:00", BERLIN, "day:2026-03-29", "2026-03-29T22:00:00+00:00"),
        ("week", "2026-11-29T23:59:59+00:00", UTC, "week:2026-W48", "2026-11-30T00:00:00+00:00"),
        ("week", "2027-01-01T12:00:00+00:00", UTC, "week:2026-W53", "2027-01-04T00:00:00+00:00"),
        ("week", "2026-11-01T12:00:00-05:00", NEW_YORK, "week:2026-W44", "2026-11-02T00:00:00-05:00"),
        ("month", "2026-12-31T23:30:00+00:00", BERLIN, "month:2027-01", "2027-02-01T00:00:00+01:00"),
        ("lifetime", "2026-11-24T13:00:00+00:00", UTC, "lifetime", None),
        ("call", "2026-11-24T13:00:00+00:00", UTC, "call", None),
        ("6h", "2026-11-24T13:00:00+00:00", UTC, "rolling:6h", None),
    ],
)
def test_a_window_has_a_name_and_an_end(per: str, at: str, zone: tzinfo, expected: str, ends: str | None) -> None:
    """Each instant is in one window of a kind, and the name says when that is over."""
    account = f"organism@{period(per, ns(at), zone)}"

    assert account == f"organism@{expected}"
    assert window_end_ns(account, zone) == (None if ends is None else ns(ends))
    assert not is_over(account, ns(at), zone)


@given(st.integers(0, 4_000_000_000), st.sampled_from(CALENDAR), st.sampled_from([UTC, BERLIN, KOLKATA, NEW_YORK]))
def test_a_period_is_over_just_when_it_ends(second: int, per: str, zone: tzinfo) -> None:
    """The last second is in it and the first one after is not, over every change of the clocks."""
    account = f"organism@{period(per, second * NS_PER_S, zone)}"
    end_ns = window_end_ns(account, zone)

    assert end_ns is not None
    assert end_ns > second * NS_PER_S
    assert not is_over(account, end_ns - 1, zone)
    assert is_over(account, end_ns, zone)


@pytest.mark.parametrize(
    ("per", "hours"), [("6h", 6), ("30m", 0.5), ("7d", 168), ("h", 0), ("06h", 0), ("6", 0), ("-1h", 0), ("day", 0)]
)
def test_the_length_of_a_rolling_window_is_a_number_and_a_unit(per: str, hours: float) -> None:
    """Minutes, hours and days; anything else is no rolling window."""
    assert rolling_ns(per) == hours * 3600 * NS_PER_S


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ("thread:t", None),
        ("organism@day:2026-11-24", None),
        ("organism@lifetime", None),
        ("agent:a@call", 0),
        ("label:t=a@rolling:1h", 3600 * NS_PER_S),
    ],
)
def test_an_account_says_for_how_long_spend_counts(account: str, expected: int | None) -> None:
    """For good, within a rolling window, or for its own call only."""
    assert counted_ns(account) == expected
