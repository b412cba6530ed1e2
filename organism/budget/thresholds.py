"""Which thresholds has spend reached, and where do few calls fit still? Pure arithmetic on integers."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from organism.amounts import Amounts, Dimension, Limits
from organism.amounts.units import DIMENSIONS, amount_of, limit_of
from organism.messages import WarningLevel

DEFAULT_THRESHOLDS = (75, 90, 95)
"""Per cent of a limit at which an agent is warned."""

DEFAULT_WARN_AHEAD = 3
"""An agent is warned, too, when fewer calls than this fit that are as large as the present one."""

WHOLE_LIMITS_MAX = 10
"""So many further whole limits are told one by one when a single call passes them; more are told in one notice."""


class Due(NamedTuple):
    """A threshold that is to be warned of.

    Attributes:
        dimension: The unit.
        threshold: Per cent of the limit.
        call_size: What the present call takes, where the warning comes ahead of its per cent because few of that size
            fit; 0 where spend has reached it.
        limits_passed: How many further whole limits it stands for, where these are too many for a notice each; else 0.
    """

    dimension: Dimension
    threshold: int
    call_size: int = 0
    limits_passed: int = 0


def reached(
    limits: Limits, spent: Amounts, elapsed_ns: int, thresholds: tuple[int, ...]
) -> Iterator[tuple[Dimension, int]]:
    """Yield every threshold that spend has reached, ascending within each dimension.

    A limit of 0 refuses every call but reaches nothing: there is nothing to spend, so nothing to warn of.
    """
    # Written out: it is asked of every scope of every settled call, and most have one or two limits.
    if limits.tokens:
        yield from _reached("tokens", limits.tokens, spent.tokens, thresholds)
    if limits.cost_nanousd:
        yield from _reached("usd", limits.cost_nanousd, spent.cost_nanousd, thresholds)
    if limits.elapsed_ns:
        yield from _reached("seconds", limits.elapsed_ns, elapsed_ns, thresholds)
    if limits.calls:
        yield from _reached("calls", limits.calls, spent.calls, thresholds)


def _reached(dimension: Dimension, limit: int, amount: int, thresholds: tuple[int, ...]) -> list[tuple[Dimension, int]]:
    found = []
    for threshold in thresholds:
        if amount * 100 < limit * threshold:
            break
        found.append((dimension, threshold))
    return found


def whole_limits(
    limits: Limits, spent: Amounts, elapsed_ns: int, last: int, noted: Mapping[Dimension, int]
) -> Iterator[Due]:
    """Yield each whole limit that spend has passed since the last notice, ascending; 100 % too where none is that high.

    Of very many only the last one, which says of how many it is.

    Args:
        limits: The limits.
        spent: What is settled.
        elapsed_ns: Nanoseconds open and not parked.
        last: The last threshold below the whole limits.
        noted: The highest threshold, or whole limit, that was noted in each unit.
    """
    for dimension in DIMENSIONS:
        if limit := limit_of(limits, dimension):
            passed = amount_of(spent, dimension, elapsed_ns) // limit
            told = max(last, noted.get(dimension, 0)) // 100
            if passed - told > WHOLE_LIMITS_MAX:
                yield Due(dimension, passed * 100, limits_passed=passed - told)
            else:
                yield from (Due(dimension, each * 100) for each in range(told + 1, passed + 1))


def running_short(
    limits: Limits, spent: Amounts, elapsed_ns: int, call: Amounts, call_ns: int, warn_ahead: int
) -> Iterator[tuple[Dimension, int]]:
    """Yield each unit in which fewer calls than that fit, with what one takes.

    Open holds do not count: most of what they hold comes back.

    Args:
        limits: The limits.
        spent: What is settled.
        elapsed_ns: Nanoseconds open and not parked.
        call: How large the present call is.
        call_ns: How long it takes, in nanoseconds.
        warn_ahead: How many are to fit.
    """
    # Written out: it is asked of every scope of every settled call, and most have one or two limits.
    if limits.tokens and limits.tokens - spent.tokens < call.tokens * warn_ahead:
        yield "tokens", call.tokens
    if limits.cost_nanousd and limits.cost_nanousd - spent.cost_nanousd < call.cost_nanousd * warn_ahead:
        yield "usd", call.cost_nanousd
    if limits.elapsed_ns and limits.elapsed_ns - elapsed_ns < call_ns * warn_ahead:
        yield "seconds", call_ns
    if limits.calls and limits.calls - spent.calls < call.calls * warn_ahead:
        yield "calls", call.calls


def calls_left(limit: int, amount: int, call_size: int) -> int | None:
    """Return how many calls of a size fit; ``None`` where no size is known."""
    return max(0, limit - amount) // call_size if call_size else None


def level_of(threshold: int, thresholds: tuple[int, ...]) -> WarningLevel:
    """Name how near the limit a threshold is: the first warns, the last is final, others are critical.

    So are further whole limits, which are passed only where nothing is refused, and no call is the last one.
    """
    if threshold == thresholds[-1]:
        return "final"
    return "warning" if threshold == thresholds[0] else "critical"
