"""What a period or a thread has cost, cut by day, agent, model and label, computed from events. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, tzinfo

import msgspec

from organism.amounts import NS_PER_S, Dimension
from organism.billing.forecast import Forecast, forecasts
from organism.ledger.account import Account
from organism.usage.events import AnyEvent, BudgetExceeded, ThreadClosed, ThresholdCrossed, UsageEvent
from organism.usage.totals import RunningTotals, UsageTotals


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a report is about.

    Attributes:
        since_ns: From this instant on, nanoseconds since the Unix epoch; ``None`` for the first event.
        until_ns: Up to this instant, which is not part of it; ``None`` for the last event.
        thread_id: Only this thread and its descendants.
        time_zone: Where days begin.
    """

    since_ns: int | None = None
    until_ns: int | None = None
    thread_id: str | None = None
    time_zone: tzinfo = UTC

    def holds(self, event: AnyEvent) -> bool:
        """Whether an event is part of it."""
        if self.thread_id is not None and self.thread_id not in (event.thread_id, event.root_thread_id):
            return False
        after = self.since_ns is None or event.time_ns >= self.since_ns
        return after and (self.until_ns is None or event.time_ns < self.until_ns)

    def day_of(self, time_ns: int) -> date:
        """Return the day of an instant."""
        return datetime.fromtimestamp(time_ns // NS_PER_S, self.time_zone).date()


class Cut(msgspec.Struct, frozen=True):
    """One part of the whole, such as one day or one agent."""

    name: str
    totals: UsageTotals


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """Who met a limit: an agent, a scope and how far it got, and how often.

    Attributes:
        scope: The kind of the limit, over all its threads or periods.
        level: A threshold in per cent, or ``refused``.
    """

    agent: str
    scope: str
    dimension: Dimension
    level: str
    count: int


class Waste(msgspec.Struct, frozen=True):
    """What was paid for without an answer that was used. Kinds may overlap: a call can be retried and cancelled."""

    kind: str
    totals: UsageTotals


class PeriodReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole account of a period.

    Attributes:
        first_ns: The first event in it; 0 without any.
        last_ns: The last event in it.
        threads: Threads that used anything.
        by_day: In order, days without usage left out.
        by_agent: The dearest first, as in all that follow.
        by_label: By the label's name.
        by_tool: Tools that have a price, and what handlers have charged.
        forecasts: What the windows under way will have cost at their end.
    """

    period: Period
    first_ns: int
    last_ns: int
    threads: int
    totals: UsageTotals
    by_day: tuple[Cut, ...]
    by_agent: tuple[Cut, ...]
    by_model: tuple[Cut, ...]
    by_provider: tuple[Cut, ...]
    by_label: dict[str, tuple[Cut, ...]]
    warned: tuple[Warned, ...]
    waste: tuple[Waste, ...]
    forecasts: tuple[Forecast, ...]
    by_tool: tuple[Cut, ...] = ()


def report_period(events: Iterable[AnyEvent], period: Period, now_ns: int | None = None) -> PeriodReport:
    """Sum events up.

    Args:
        events: In order; events told twice count once.
        period: Which of them.
        now_ns: The instant of the forecast; that of the last event unless given.
    """
    own = [event for event in _once(events) if period.holds(event)]
    used = [event for event in own if isinstance(event, UsageEvent)]
    last_ns = own[-1].time_ns if own else 0
    labels = sorted({key for event in used for key in event.labels})
    return PeriodReport(
        period=period,
        first_ns=own[0].time_ns if own else 0,
        last_ns=last_ns,
        threads=len({event.thread_id for event in used}),
        totals=_sum(used),
        by_day=_cuts(((period.day_of(event.time_ns).isoformat(), event) for event in used), in_order=True),
        by_agent=_cuts((event.agent, event) for event in used),
        by_model=_cuts((event.model, event) for event in used if not event.tool),
        by_provider=_cuts((f"{event.provider}/{event.request_model}", event) for event in used if not event.tool),
        by_tool=_cuts((event.tool, event) for event in used if event.tool),
        by_label={key: _cuts((event.labels.get(key, "(none)"), event) for event in used) for key in labels},
        warned=_warned(own),
        waste=_waste(own, used),
        forecasts=forecasts(used, period.time_zone, last_ns if now_ns is None else now_ns) if used else (),
    )


def _once(events: Iterable[AnyEvent]) -> Iterable[AnyEvent]:
    seen: set[str] = set()
    for event in events:
        if event.id and event.id in seen:
            continue
        seen.add(event.id)
        yield event


def _sum(events: Iterable[UsageEvent]) -> UsageTotals:
    running = RunningTotals()
    for event in events:
        running.add(event)
    return running.snapshot()


def _cuts(named: Iterable[tuple[str, UsageEvent]], *, in_order: bool = False) -> tuple[Cut, ...]:
    running: dict[str, RunningTotals] = {}
    for name, event in named:
        running.setdefault(name, RunningTotals()).add(event)
    cuts = (Cut(name, totals.snapshot()) for name, totals in running.items())
    if in_order:
        return tuple(sorted(cuts, key=lambda cut: cut.name))
    return tuple(sorted(cuts, key=lambda cut: (-cut.totals.cost_nanousd, -cut.totals.usage.total, cut.name)))


def _warned(events: Iterable[AnyEvent]) -> tuple[Warned, ...]:
    counts: dict[tuple[str, str, Dimension, str], int] = {}
    for event in events:
        match event:
            case ThresholdCrossed(agent=agent, account=account, dimension=dimension, threshold=threshold):
                key = (agent, Account.parse(account).metric_label, dimension, f"{threshold} %")
            case BudgetExceeded(agent=agent, shortfall=shortfall):
                key = (agent, Account.parse(shortfall.account).metric_label, shortfall.dimension, "refused")
            case _:
                continue
        counts[key] = counts.get(key, 0) + 1
    return tuple(
        Warned(agent=agent, scope=scope, dimension=dimension, level=level, count=count)
        for (agent, scope, dimension, level), count in sorted(counts.items())
    )


def _waste(events: Iterable[AnyEvent], used: Sequence[UsageEvent]) -> tuple[Waste, ...]:
    last = {event.call_id: event.attempt for event in used}
    ended = {event.thread_id: event.outcome for event in events if isinstance(event, ThreadClosed)}
    kinds = (
        ("attempts that another followed", lambda event: event.attempt < last[event.call_id]),
        ("calls whose caller had gone", lambda event: event.abandoned),
        ("charged in full, without a usable answer", lambda event: event.outcome in ("worst_case", "disputed")),
        ("threads that were ended by order", lambda event: ended.get(event.thread_id) == "terminated"),
        ("threads that failed", lambda event: ended.get(event.thread_id) == "failed"),
    )
    return tuple(Waste(kind, _sum(event for event in used if belongs(event))) for kind, belongs in kinds)
