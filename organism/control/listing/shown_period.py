"""Which time a chart shows, where it is not said or only in part. Pure."""

from datetime import tzinfo

from organism.amounts import NS_PER_S
from organism.errors import ConfigError
from organism.usage.instants import instant_of
from organism.usage.series import SeriesStep, kept_ns

_HOUR_NS = 3_600 * NS_PER_S
_USUAL_NS: dict[SeriesStep, int] = {"minute": _HOUR_NS, "hour": 24 * _HOUR_NS, "day": 30 * 24 * _HOUR_NS}
_LONGEST_NS: dict[SeriesStep, int] = {"minute": 2 * _HOUR_NS, "hour": 3 * 24 * _HOUR_NS}
"""Up to which length a time is shown in a step, where none is asked for."""


def shown_period(
    since: str | None, until: str | None, step: SeriesStep | None, *, zone: tzinfo, now_ns: int
) -> tuple[SeriesStep, int, int]:
    """Return the steps of a chart, and when it begins and ends in nanoseconds since the Unix epoch.

    Args:
        since: The first day, an instant, or so long ago; an hour, 24 hours or 30 days before its end for steps of a
            minute, an hour or a day. It is no longer ago than steps are kept.
        until: The last day, an instant or so long ago; now.
        step: In which steps; by the minute for at most two hours and by the hour for at most three days, if these
            are kept for so long.

    Raises:
        ConfigError: If an instant is none, the first is not before the last, or no such steps are kept of that time.
    """
    until_ns = now_ns if until is None else instant_of(until, zone, now_ns, path="until", ends=True)
    usual_ns = until_ns - _USUAL_NS[step or "hour"]
    since_ns = usual_ns if since is None else instant_of(since, zone, now_ns, path="since")
    if since_ns >= until_ns:
        raise ConfigError("it must be before until", path="since")
    step = step or _finest(since_ns, until_ns, now_ns)
    oldest_ns = now_ns - kept_ns(step)
    if until_ns <= oldest_ns:
        raise ConfigError(f"steps of a {step} are not kept for so long; ask for longer ones", path="step")
    return step, max(since_ns, oldest_ns), until_ns


def _finest(since_ns: int, until_ns: int, now_ns: int) -> SeriesStep:
    for step, longest_ns in _LONGEST_NS.items():
        if until_ns - since_ns <= longest_ns and since_ns > now_ns - kept_ns(step):
            return step
    return "day"
