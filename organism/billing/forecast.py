"""What a day or a month will have cost at its end, if it goes on as it has begun. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Literal

import msgspec
from msgspec.structs import replace

from organism.amounts import NS_PER_S, BudgetState
from organism.amounts.account import Account
from organism.usage.totals import UsageTotals

_Window = Literal["day", "month"]


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """One window under way.

    Attributes:
        window: ``day`` or ``month``.
        name: Which, such as ``2026-11``.
        spent_nanousd: Cost so far.
        projected_nanousd: Cost at its end: that of the window so far, times its length through the time gone by; of a
            month no less than that of the day under way, as projected, with the days before.
        spent_tokens: Tokens so far.
        projected_tokens: Tokens at its end.
        limit_nanousd: The organism's limit for it; ``None`` without one.
        exhausted_ns: When the limit is reached at this pace; ``None`` when not before the window's end.
    """

    window: _Window
    name: str
    spent_nanousd: int
    projected_nanousd: int
    spent_tokens: int
    projected_tokens: int
    limit_nanousd: int | None = None
    exhausted_ns: int | None = None


def forecasts(
    days: Mapping[str, UsageTotals], states: Mapping[str, BudgetState], time_zone: tzinfo, now_ns: int
) -> tuple[Forecast, ...]:
    """Project the day and the month that an instant falls into.

    The windows' own accounts count where events show them; without such limits, what was used on their days.

    Args:
        days: What was used, by day.
        states: The windows' accounts as last seen, by name.
        time_zone: Where days begin.
        now_ns: The instant.
    """
    now = datetime.fromtimestamp(now_ns // NS_PER_S, time_zone)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight.replace(day=1)
    next_first = (first + timedelta(days=32)).replace(day=1)
    today, this_month = f"{midnight:%Y-%m-%d}", f"{first:%Y-%m}"
    ends = _ns(midnight), _ns(midnight + timedelta(days=1)), now_ns
    day = _project(_spent(days, states, "day", today), "day", today, ends)
    of_month = _spent(days, states, "month", this_month)
    month = _project(of_month, "month", this_month, (_ns(first), _ns(next_first), now_ns))
    return day, _no_less(month, day, ends)


_Spent = tuple[int, int, int | None]
"""Nano-USD, tokens, and the limit of nano-USD."""


def _spent(days: Mapping[str, UsageTotals], states: Mapping[str, BudgetState], window: _Window, name: str) -> _Spent:
    if (state := states.get(str(Account.of_organism(f"{window}:{name}")))) is not None:
        return state.spent.cost_nanousd, state.spent.tokens, state.limits.cost_nanousd
    within = [totals for day, totals in days.items() if day.startswith(name)]
    return sum(each.cost_nanousd for each in within), sum(each.usage.total for each in within), None


def _no_less(month: Forecast, day: Forecast, instants: tuple[int, int, int]) -> Forecast:
    """Let a month end with no less than its day under way, which may go faster than the days before it."""
    added = day.projected_nanousd - day.spent_nanousd
    added_tokens = day.projected_tokens - day.spent_tokens
    exhausted_ns = month.exhausted_ns
    if month.limit_nanousd is not None and added and month.spent_nanousd + added > month.limit_nanousd:
        _, end_ns, now_ns = instants
        left = max(0, month.limit_nanousd - month.spent_nanousd)
        at_ns = now_ns + (end_ns - now_ns) * left // added
        exhausted_ns = at_ns if exhausted_ns is None else min(exhausted_ns, at_ns)
    return replace(
        month,
        projected_nanousd=max(month.projected_nanousd, day.projected_nanousd, month.spent_nanousd + added),
        projected_tokens=max(month.projected_tokens, day.projected_tokens, month.spent_tokens + added_tokens),
        exhausted_ns=exhausted_ns,
    )


def _project(found: _Spent, window: _Window, name: str, instants: tuple[int, int, int]) -> Forecast:
    spent, tokens, limit = found
    begin_ns, end_ns, now_ns = instants
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
