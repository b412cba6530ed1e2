"""What a day or a month will have cost at its end, if it goes on as it has begun. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Literal

import msgspec

from organism.amounts import NS_PER_S
from organism.usage.events import UsageEvent


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """One window under way.

    Attributes:
        window: ``day`` or ``month``.
        name: Which, such as ``2026-11``.
        spent_nanousd: Cost so far.
        projected_nanousd: Cost at its end: that of the window so far, times its length through the time gone by.
        spent_tokens: Tokens so far.
        projected_tokens: Tokens at its end.
        limit_nanousd: The organism's limit for it; ``None`` without one.
        exhausted_ns: When the limit is reached at this pace; ``None`` when not before the window's end.
    """

    window: Literal["day", "month"]
    name: str
    spent_nanousd: int
    projected_nanousd: int
    spent_tokens: int
    projected_tokens: int
    limit_nanousd: int | None = None
    exhausted_ns: int | None = None


def forecasts(used: Sequence[UsageEvent], time_zone: tzinfo, now_ns: int) -> tuple[Forecast, ...]:
    """Project the day and the month that an instant falls into.

    The windows' own accounts count where events show them; without such limits, the events themselves.
    """
    now = datetime.fromtimestamp(now_ns // NS_PER_S, time_zone)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    return (
        _project(used, "day", f"{day:%Y-%m-%d}", (_ns(day), _ns(day + timedelta(days=1)), now_ns)),
        _project(used, "month", f"{month:%Y-%m}", (_ns(month), _ns(next_month), now_ns)),
    )


def _project(
    used: Sequence[UsageEvent], window: Literal["day", "month"], name: str, instants: tuple[int, int, int]
) -> Forecast:
    begin_ns, end_ns, now_ns = instants
    within = [event for event in used if begin_ns <= event.time_ns < end_ns]
    spent = sum(event.cost_nanousd or 0 for event in within)
    tokens = sum(event.usage.total for event in within)
    limit = None
    account = f"organism@{window}:{name}"
    state = next((b for event in reversed(within) for b in event.budgets if b.account == account), None)
    if state is not None:
        spent, tokens, limit = state.spent.cost_nanousd, state.spent.tokens, state.limits.cost_nanousd
    # The first second of a window would make a forecast out of nothing.
    gone_ns = max(now_ns - begin_ns, NS_PER_S)
    length_ns = end_ns - begin_ns
    exhausted_ns = None
    if limit is not None and spent:
        at_ns = begin_ns + gone_ns * limit // spent
        exhausted_ns = at_ns if at_ns < end_ns else None
    return Forecast(
        window=window,
        name=name,
        spent_nanousd=spent,
        projected_nanousd=spent * length_ns // gone_ns,
        spent_tokens=tokens,
        projected_tokens=tokens * length_ns // gone_ns,
        limit_nanousd=limit,
        exhausted_ns=exhausted_ns,
    )


def _ns(instant: datetime) -> int:
    return int(instant.timestamp()) * NS_PER_S
