"""What a period or a thread has cost, cut by day, agent, model and label, computed from events. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, tzinfo

import msgspec

from organism.amounts import NS_PER_S, BudgetState, Dimension
from organism.amounts.account import Account
from organism.billing.forecast import Forecast, forecasts
from organism.errors import ConfigError
from organism.tables import pop_and_shrink
from organism.usage.events import AnyEvent, BudgetExceeded, ThreadClosed, ThresholdCrossed, UsageEvent
from organism.usage.instants import instant_of
from organism.usage.totals import RunningTotals, UsageTotals, remainder


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

    @classmethod
    def asked(
        cls,
        since: str | None,
        until: str | None,
        zone: tzinfo,
        now_ns: int,
        *,
        thread: str | None = None,
        mark: str = "",
    ) -> "Period":
        """Understand a period as people write it, on the command line and in the API.

        Args:
            since: The first day, an instant, or so long ago, such as ``7d``.
            until: The last day, which is part of it, or an instant, which is not.
            zone: Where days begin.
            now_ns: The present instant.
            thread: Only this thread and its descendants.
            mark: What stands before a parameter's name where it is written: ``--`` on the command line.

        Raises:
            ConfigError: If an instant is none, or the first is not before the last.
        """
        since_ns = None if since is None else instant_of(since, zone, now_ns, path=f"{mark}since")
        until_ns = None if until is None else instant_of(until, zone, now_ns, path=f"{mark}until", ends=True)
        if since_ns is not None and until_ns is not None and since_ns >= until_ns:
            raise ConfigError(f"it must be before {mark}until", path=f"{mark}since")
        return cls(since_ns=since_ns, until_ns=until_ns, thread_id=thread, time_zone=zone)

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
        kept_from_ns: What was recorded before this instant is not kept any more, and is missing; 0 if nothing is.
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
    kept_from_ns: int = 0


def report_period(
    events: Iterable[AnyEvent], period: Period, now_ns: int | None = None, *, kept_from_ns: int = 0
) -> PeriodReport:
    """Sum events up.

    Args:
        events: In order; events told twice count once.
        period: Which of them.
        now_ns: The instant of the forecast; that of the last event unless given.
        kept_from_ns: When the oldest event happened that is kept, if older ones are not; 0 if all are.
    """
    sums = PeriodSums(period)
    for event in once(events):
        sums.add(event)
    return sums.report(now_ns, kept_from_ns)


class PeriodSums:
    """Adds a period up event by event: it takes memory for names and open threads, and none for each event.

    Args:
        period: Which events count.
    """

    def __init__(self, period: Period) -> None:
        self._period = period
        self._first_ns = self._last_ns = 0
        self._total = RunningTotals()
        self._threads: set[str] = set()
        self._cuts: dict[str, dict[str, RunningTotals]] = {}
        self._labels: dict[str, dict[str, RunningTotals]] = {}
        self._met: dict[tuple[str, str, Dimension, str], int] = {}
        self._waste = _WasteSums()
        self._windows: dict[str, tuple[int, BudgetState]] = {}

    def add(self, event: AnyEvent) -> None:
        """Count an event in, if it is part of the period."""
        if not self._period.holds(event):
            return
        self._first_ns = min(self._first_ns or event.time_ns, event.time_ns)
        self._last_ns = max(self._last_ns, event.time_ns)
        match event:
            case UsageEvent():
                self._add_usage(event)
            case ThresholdCrossed(agent=agent, account=account, dimension=dimension, threshold=threshold):
                self._add_met(agent, account, dimension, f"{threshold} %")
            case BudgetExceeded(agent=agent, shortfall=shortfall):
                self._add_met(agent, shortfall.account, shortfall.dimension, "refused")
            case ThreadClosed():
                self._waste.close(event)
            case _:
                pass

    def report(self, now_ns: int | None = None, kept_from_ns: int = 0) -> PeriodReport:
        """Return the report of what was added.

        Args:
            now_ns: The instant of the forecast; that of the last event unless given.
            kept_from_ns: The oldest event that is kept, if older ones are not; 0 if all are.
        """
        since_ns, zone = self._period.since_ns, self._period.time_zone
        days = sorted(_cuts(self._cuts.get("day", {})), key=lambda cut: cut.name)
        states = {account: state for account, (_, state) in self._windows.items()}
        at_ns = self._last_ns if now_ns is None else now_ns
        return PeriodReport(
            period=self._period,
            first_ns=self._first_ns,
            last_ns=self._last_ns,
            threads=len(self._threads),
            totals=self._total.snapshot(),
            by_day=tuple(days),
            by_agent=_dearest(_cuts(self._cuts.get("agent", {}))),
            by_model=_dearest(_cuts(self._cuts.get("model", {}))),
            by_provider=_dearest(_cuts(self._cuts.get("provider", {}))),
            by_tool=_dearest(_cuts(self._cuts.get("tool", {}))),
            by_label={name: self._of_label(parts) for name, parts in sorted(self._labels.items())},
            warned=tuple(
                Warned(agent=agent, scope=scope, dimension=dimension, level=level, count=count)
                for (agent, scope, dimension, level), count in sorted(self._met.items())
            ),
            waste=self._waste.all(),
            forecasts=forecasts({cut.name: cut.totals for cut in days}, states, zone, at_ns) if days else (),
            kept_from_ns=kept_from_ns if since_ns is not None and since_ns < kept_from_ns else 0,
        )

    def _add_usage(self, event: UsageEvent) -> None:
        self._total.add(event)
        self._threads.add(event.thread_id)
        for by in ("day", "agent", "model", "tool"):
            for name in names_of(by, event, self._period):
                self._cuts.setdefault(by, {}).setdefault(name, RunningTotals()).add(event)
        if not event.tool:
            served = f"{event.provider}/{event.request_model}"
            self._cuts.setdefault("provider", {}).setdefault(served, RunningTotals()).add(event)
        for name, value in event.labels.items():
            self._labels.setdefault(name, {}).setdefault(value, RunningTotals()).add(event)
        self._waste.add(event)
        for state in event.budgets:
            if Account.parse(state.account).kind == "organism":
                known_ns, _ = self._windows.get(state.account, (0, state))
                if event.time_ns >= known_ns:
                    self._windows[state.account] = event.time_ns, state

    def _add_met(self, agent: str, account: str, dimension: Dimension, level: str) -> None:
        key = (agent, Account.parse(account).metric_label, dimension, level)
        self._met[key] = self._met.get(key, 0) + 1

    def _of_label(self, parts: Mapping[str, RunningTotals]) -> tuple[Cut, ...]:
        """Return the values of a label, and what was used without it."""
        cuts = list(_cuts(parts))
        rest = remainder(self._total.snapshot(), (cut.totals for cut in cuts))
        return _dearest([*cuts, Cut("(none)", rest)] if rest is not None else cuts)


class _WasteSums:
    """Adds up what was paid for without an answer that was used."""

    def __init__(self) -> None:
        self._followed, self._abandoned, self._in_doubt = RunningTotals(), RunningTotals(), RunningTotals()
        self._ended: dict[str, RunningTotals] = {"terminated": RunningTotals(), "failed": RunningTotals()}
        self._lost: dict[str, str] = {}
        self._open: dict[str, RunningTotals] = {}
        self._recent: dict[str, UsageEvent] = {}

    def add(self, event: UsageEvent) -> None:
        if event.abandoned:
            self._abandoned.add(event)
        if event.outcome in ("worst_case", "disputed"):
            self._in_doubt.add(event)
        self._add_attempt(event)
        if (outcome := self._lost.get(event.thread_id)) is not None:
            self._ended[outcome].add(event)  # what a call has cost may be known after the end of its thread
        else:
            self._open.setdefault(event.thread_id, RunningTotals()).add(event)

    def _add_attempt(self, event: UsageEvent) -> None:
        """Count an attempt that another followed; the attempts of a call lie close together among those of others."""
        last = self._recent.get(event.call_id)
        if last is not None and event.attempt != last.attempt:
            self._followed.add(min(event, last, key=lambda each: each.attempt))
        if last is None or event.attempt > last.attempt:
            self._recent[event.call_id] = event
        if len(self._recent) > _CALLS_MAX:
            del self._recent[next(iter(self._recent))]

    def close(self, event: ThreadClosed) -> None:
        used = pop_and_shrink(self._open, event.thread_id) if event.thread_id in self._open else None
        if event.outcome in self._ended:
            self._lost[event.thread_id] = event.outcome
            if used is not None:
                self._ended[event.outcome].add_all(used.record("thread", event.thread_id))

    def all(self) -> tuple[Waste, ...]:
        return (
            Waste("attempts that another followed", self._followed.snapshot()),
            Waste("calls whose caller had gone", self._abandoned.snapshot()),
            Waste("charged in full, without a usable answer", self._in_doubt.snapshot()),
            Waste("threads that were ended by order", self._ended["terminated"].snapshot()),
            Waste("threads that failed", self._ended["failed"].snapshot()),
        )


class GroupedSums:
    """Adds the usage of a period up, in all and broken down by one thing.

    Args:
        period: Which events count.
        by: ``agent``, ``model``, ``tool``, ``thread``, ``day`` or ``label``.
    """

    def __init__(self, period: Period, by: str) -> None:
        self._period, self._by = period, by
        self._total = RunningTotals()
        self._groups: dict[str, RunningTotals] = {}

    def add(self, event: AnyEvent) -> None:
        """Count an event in, if it is one of usage and part of the period."""
        if isinstance(event, UsageEvent) and self._period.holds(event):
            self._total.add(event)
            for name in names_of(self._by, event, self._period):
                self._groups.setdefault(name, RunningTotals()).add(event)

    @property
    def total(self) -> UsageTotals:
        """The sums of the period."""
        return self._total.snapshot()

    @property
    def groups(self) -> dict[str, UsageTotals]:
        """Its parts: days in order, of all else the dearest first, and no more than :data:`GROUPS_MAX`."""
        cuts = _cuts(self._groups)
        if self._by == "day":
            return {cut.name: cut.totals for cut in sorted(cuts, key=lambda cut: cut.name)}
        return {cut.name: cut.totals for cut in _dearest(cuts)[:GROUPS_MAX]}


GROUPS_MAX = 10_000
"""Names of a breakdown at most; what the others have used is in the sum of all."""

_CALLS_MAX = 10_000
"""So many other calls may come between the attempts of one before they are not known to belong together."""


def names_of(by: str, event: UsageEvent, period: Period) -> tuple[str, ...]:
    """Return the names that an event counts under in a breakdown: none for a tool among models, several for labels."""
    match by:
        case "day":
            return (period.day_of(event.time_ns).isoformat(),)
        case "model":
            return () if event.tool else (event.model,)
        case "tool":
            return (event.tool,) if event.tool else ()
        case "label":
            return tuple(f"{name}={value}" for name, value in event.labels.items())
        case "thread":
            return (event.thread_id,)
        case _:
            return (event.agent,)


def once(events: Iterable[AnyEvent]) -> Iterator[AnyEvent]:
    """Yield events, of which those told twice come once."""
    seen: set[str] = set()
    for event in events:
        if event.id and event.id in seen:
            continue
        seen.add(event.id)
        yield event


def _cuts(parts: Mapping[str, RunningTotals]) -> Iterator[Cut]:
    return (Cut(name, totals.snapshot()) for name, totals in parts.items())


def _dearest(cuts: Iterable[Cut]) -> tuple[Cut, ...]:
    return tuple(sorted(cuts, key=lambda cut: (-cut.totals.cost_nanousd, -cut.totals.usage.total, cut.name)))
