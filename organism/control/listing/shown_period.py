"""Which time a chart shows, where it is not said or only in part. Pure."""

from datetime import tzinfo

from organism.amounts import NS_PER_S
from organism.errors import ConfigError
from organism.usage.instants import DAY_S, instant_of
from organism.usage.series import SeriesStep

_DAYS: dict[SeriesStep, int] = {"hour": 1, "day": 30}
_BY_HOUR_NS = 3 * DAY_S * NS_PER_S


def shown_period(
    since: str | None, until: str | None, step: SeriesStep | None, *, zone: tzinfo, now_ns: int
) -> tuple[SeriesStep, int, int]:
    """Return the steps of a chart, and when it begins and ends in nanoseconds since the Unix epoch.

    Args:
        since: The first day, an instant, or so long ago; 24 hours before its end, or 30 days for steps of a day.
        until: The last day, an instant or so long ago; now.
        step: In which steps; by the hour for at most three days.

    Raises:
        ConfigError: If an instant is none, or the first is not before the last.
    """
    until_ns = now_ns if until is None else instant_of(until, zone, now_ns, path="until", ends=True)
    if since is None:
        since_ns = until_ns - _DAYS[step or "hour"] * DAY_S * NS_PER_S
    else:
        since_ns = instant_of(since, zone, now_ns, path="since")
    if since_ns >= until_ns:
        raise ConfigError("it must be before until", path="since")
    return step or ("hour" if until_ns - since_ns <= _BY_HOUR_NS else "day"), since_ns, until_ns
