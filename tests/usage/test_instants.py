"""Instants as people write them mean what they say, or are refused."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from organism.amounts import NS_PER_S
from organism.errors import ConfigError
from organism.usage.instants import instant_of

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "ends", "meant"),
    [
        ("2026-11-24", False, datetime(2026, 11, 24, tzinfo=BERLIN)),
        ("2026-11-24", True, datetime(2026, 11, 25, tzinfo=BERLIN)),
        ("2026-10-25", True, datetime(2026, 10, 26, tzinfo=BERLIN)),
        ("2026-11-24T12:30", True, datetime(2026, 11, 24, 12, 30, tzinfo=BERLIN)),
        ("2026-11-24T12:30:00Z", False, datetime(2026, 11, 24, 12, 30, tzinfo=UTC)),
        ("2026-11-24T12:30:00+05:30", False, datetime(2026, 11, 24, 7, tzinfo=UTC)),
        ("24h", False, datetime(2026, 11, 23, 18, tzinfo=UTC)),
        ("7d", True, datetime(2026, 11, 17, 18, tzinfo=UTC)),
        ("90m", False, datetime(2026, 11, 24, 16, 30, tzinfo=UTC)),
        ("2w", False, datetime(2026, 11, 10, 18, tzinfo=UTC)),
    ],
)
def test_instant_means_what_it_says(text: str, meant: datetime, *, ends: bool) -> None:
    """Days begin where the time zone says, the last day of a period is part of it, and so long ago is from now."""
    found = instant_of(text, BERLIN, int(NOW.timestamp()) * NS_PER_S, path="since", ends=ends)
    assert datetime.fromtimestamp(found / NS_PER_S, UTC) == meant


@pytest.mark.parametrize(
    "text", ["", "yesterday", "0d", "-1d", "7", "7y", "9999999d", "2026-13-01", "2026-11-24T", "\u0661d"]
)
def test_what_is_no_instant_is_refused_with_what_would_be(text: str) -> None:
    """What cannot be read as an instant is refused under the name it was given in, with examples."""
    with pytest.raises(ConfigError, match=r"since: .*write a day such as 2026-11-24"):
        instant_of(text, UTC, 10**18, path="since")
