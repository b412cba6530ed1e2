"""Instants as people write them: a day, an instant, or how long ago. Pure."""

import re
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from organism.amounts import NS_PER_S
from organism.errors import ConfigError

_AGO = re.compile(r"([1-9][0-9]{0,5})(m|h|d|w)")
DAY_S = 86_400
_UNIT_S = {"m": 60, "h": 3600, "d": DAY_S, "w": 7 * DAY_S}
_DAY = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}")


def instant_of(text: str, zone: tzinfo, now_ns: int, *, path: str, ends: bool = False) -> int:
    """Return nanoseconds since the Unix epoch.

    Args:
        text: A day such as ``2026-11-24``, an instant such as ``2026-11-24T18:00``, or so long ago: ``24h``, ``7d``.
        zone: Where days begin, and of instants that name no zone.
        path: What the caller has written it in, for the message.
        ends: Whether a day means its end.

    Raises:
        ConfigError: If it is none of these.
    """
    if ago := _AGO.fullmatch(text):
        return now_ns - int(ago[1]) * _UNIT_S[ago[2]] * NS_PER_S
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=zone)
        if ends and _DAY.fullmatch(text):
            instant += timedelta(days=1)
        return int(instant.timestamp()) * NS_PER_S
    except (ValueError, OverflowError, OSError):
        what = "a day such as 2026-11-24, an instant such as 2026-11-24T18:00, or so long ago, such as 24h or 7d"
        raise ConfigError(f"{text[:40]!r} is no instant; write {what}", path=path) from None


def zone_of(name: str, *, path: str) -> ZoneInfo:
    """Return a time zone by its name.

    Args:
        name: Such as ``UTC`` or ``Europe/Berlin``.
        path: What the caller has written it in, for the message.

    Raises:
        ConfigError: If none is called so.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"no time zone is called {name[:40]!r}; try UTC or Europe/Berlin", path=path) from None
