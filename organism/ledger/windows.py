"""What limits are counted over: threads, periods of the calendar, any so many hours, for good, each call. Pure.

A period of the calendar is a part of its account's name, so a new period simply is another account, and nothing is ever
set back to zero. A rolling window is one account, of whose spend only what is recent counts.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from organism.amounts import NS_PER_S
from organism.amounts.account import Account, thread_of

Per = str
"""``thread``, ``call``, ``hour``, ``day``, ``week``, ``month``, ``lifetime``, or a rolling window's length, ``6h``."""

Window = Per
"""What all threads together may be limited over: anything but ``thread``."""

PERIODS: Final = ("thread", "call", "hour", "day", "week", "month", "lifetime")
"""All that limits are counted over, beside rolling windows."""

CALENDAR: Final = ("hour", "day", "week", "month")
"""Periods that begin with a minute of the clock on the wall."""

ROLLING = re.compile(r"([1-9][0-9]{0,4})([mhd])")
"""The length of a rolling window: so many minutes, hours or days."""

ROLLING_MAX_NS: Final = 366 * 86_400 * NS_PER_S
"""The longest rolling window, in nanoseconds."""

_UNIT_NS: Final = {"m": 60 * NS_PER_S, "h": 3600 * NS_PER_S, "d": 86_400 * NS_PER_S}
_WRITTEN: Final[dict[str, Callable[[datetime], str]]] = {
    # An hour is named with its distance from UTC: without it the one before clocks are set back had the same name.
    "hour": lambda local: f"{local:%Y-%m-%dT%H%z}" if local.utcoffset() else f"{local:%Y-%m-%dT%H}",
    "day": lambda local: f"{local:%Y-%m-%d}",
    "week": lambda local: f"{local:%G-W%V}",
    "month": lambda local: f"{local:%Y-%m}",
}


def rolling_ns(per: Per) -> int:
    """Return the length of a rolling window in nanoseconds; 0 for what is none."""
    length = ROLLING.fullmatch(per)
    return int(length[1]) * _UNIT_NS[length[2]] if length is not None else 0


def problem_with_period(per: object, near: str = "") -> str | None:
    """Return why nothing can be counted over this, whether a file or a program has written it; ``None`` if it can.

    Args:
        near: What is said in place of all that there is.
    """
    if per in PERIODS:
        return None
    if not isinstance(per, str) or not (length_ns := rolling_ns(per)):
        there = f"; there are: {', '.join(PERIODS)}, or a rolling window such as 30m, 6h or 7d"
        return f"limits cannot be counted per {per!r}{near or there}"
    return f"a rolling window of {per} is longer than 366 days" if length_ns > ROLLING_MAX_NS else None


def period(per: Per, now_ns: int, time_zone: tzinfo) -> str:
    """Return the window that an instant falls into, as accounts are named: ``day:2026-11-24``, ``rolling:6h``."""
    if (write := _WRITTEN.get(per)) is not None:
        return f"{per}:{write(datetime.fromtimestamp(now_ns // NS_PER_S, time_zone))}"
    return f"rolling:{per}" if rolling_ns(per) else per


def counted_ns(account: str) -> int | None:
    """Return for how long spend counts on an account: ``None`` for as long as it is open, 0 for its own call only."""
    if thread_of(account) is not None:
        return None  # most accounts are threads, and each of them is opened once
    per = Account.parse(account).over.partition(":")
    if per[0] == "rolling":
        return rolling_ns(per[2]) or None
    return 0 if per[0] == "call" else None


def rolling(account: str) -> bool:
    """Whether room on an account comes back little by little, as spend gets older than its window."""
    return bool(counted_ns(account))


def is_over(account: str, now_ns: int, time_zone: tzinfo) -> bool:
    """Whether an account counts a period that has passed, so that what waits for it need not wait any more."""
    over = Account.parse(account).over
    window = over.partition(":")[0]
    return window in CALENDAR and over != period(window, now_ns, time_zone)


def window_end_ns(account: str, time_zone: tzinfo) -> int | None:
    """Return the first instant after the period that an account counts; ``None`` if it counts none of the calendar.

    Raises:
        ValueError: If its period is none.
    """
    window, _, began = Account.parse(account).over.partition(":")
    match window:
        case "hour":
            hour = datetime.fromisoformat(began)
            after = (hour if hour.tzinfo is not None else hour.replace(tzinfo=UTC)) + timedelta(hours=1)
            return int(after.timestamp()) * NS_PER_S
        case "day":
            local = datetime.fromisoformat(began) + timedelta(days=1)
        case "week":
            local = datetime.fromisoformat(began) + timedelta(weeks=1)
        case "month":
            local = (datetime.fromisoformat(f"{began}-01") + timedelta(days=31)).replace(day=1)
        case _:
            return None
    return int(local.replace(tzinfo=time_zone).timestamp()) * NS_PER_S
