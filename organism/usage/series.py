"""Usage over time: sums of each minute, hour and day by agent, model, label and key, bounded, kept with other sums.

Charts ask for months, so that nothing may be read again for them. A minute, an hour or a day is one cell: a few numbers
for each name. It is one piece of the journal, written when it has changed, and the oldest goes when there are too many
numbers. An event is added to its minute only; a minute is added to its hour and day when the next one begins, or when
somebody looks.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta, tzinfo
from typing import Literal

import msgspec

from organism.amounts import NS_PER_S
from organism.journal import Drop, Journal, Keep, Pieces
from organism.usage.events import AnyEvent, BudgetExceeded, UsageEvent

Measure = Literal["cost", "calls", "tokens", "refusals", "latency"]
"""What a series counts: nano-USD, calls that did work, tokens, limits that refused, or mean nanoseconds of a call."""

SeriesStep = Literal["minute", "hour", "day"]

OTHERS = "(others)"
"""The series of all names beyond those that are shown or kept."""

SHOWN_MAX = 20
_KIND = "series"
_MINUTE_S, _HOUR_S = 60, 3600
_STEP_S: dict[SeriesStep, int] = {"minute": _MINUTE_S, "hour": _HOUR_S, "day": 24 * _HOUR_S}
_CELLS_MAX: dict[SeriesStep, int] = {"minute": 6 * 60, "hour": 32 * 24, "day": 400}
_NAMES_MAX = 500
_SIZE_MAX = 50_000
"""So many names of all hours and days together: some 15 MB."""
_MINUTES_SIZE_MAX = 15_000
"""So many of all minutes, which never push out an hour."""

_LASTING: tuple[SeriesStep, ...] = ("hour", "day")

_CALLS, _TOKENS, _COST, _LATENCY, _REFUSALS = range(5)
_NOTHING = (0, 0, 0, 0, 0)
_COLUMNS: dict[Measure, int] = {
    "calls": _CALLS,
    "tokens": _TOKENS,
    "cost": _COST,
    "latency": _LATENCY,
    "refusals": _REFUSALS,
}

Numbers = tuple[int, int, int, int, int]
"""Calls, tokens, nano-USD, nanoseconds that calls took together, refusals."""


_Place = tuple[SeriesStep, int]
"""A step, and the second in which it begins."""


def kept_ns(step: SeriesStep) -> int:
    """Return for how long steps are kept, at most: six hours of minutes, 32 days of hours, 400 days."""
    return _CELLS_MAX[step] * _STEP_S[step] * NS_PER_S


class SeriesCell(msgspec.Struct, frozen=True, kw_only=True):
    """One minute, hour or day, as a journal keeps it.

    Attributes:
        step: ``minute``, ``hour`` or ``day``.
        start_s: When it begins, seconds since the Unix epoch.
        sums: The numbers by name: ``agent:NAME``, ``model:NAME``, ``label:NAME=VALUE``, ``key:NAME``.
    """

    step: SeriesStep
    start_s: int
    sums: dict[str, Numbers]


class Series(msgspec.Struct, frozen=True):
    """One line of a chart: a value for each step."""

    name: str
    values: tuple[int, ...]


class UsageSeries(msgspec.Struct, frozen=True, kw_only=True):
    """Usage over time.

    Attributes:
        measure: What is counted; nano-USD for ``cost``, nanoseconds for ``latency``, whose value is the mean of a step.
        by: What it is broken down by.
        step_s: Seconds of a step; a day on which clocks change has an hour more or less.
        from_ns: When the first step begins, nanoseconds since the Unix epoch; ``from`` in JSON.
        starts_ns: When each step begins, likewise.
        series: The largest first; those beyond the first are one, ``(others)``.
        unanswered: Parts of a cluster that did not answer in time, and are not in this.
    """

    measure: Measure
    by: str
    step_s: int
    from_ns: int = msgspec.field(name="from")
    starts_ns: tuple[int, ...]
    series: tuple[Series, ...]
    unanswered: tuple[str, ...] = ()


class UsageOverTime:
    """Adds usage up by minute, hour and day. Give its :meth:`on_event` to a tracker.

    Args:
        labels_of: Finds the labels of an open thread, for events that do not tell them.
        key_of: Finds who has opened the thread at the top of a tree: the name of a key or token; empty if unknown.
    """

    def __init__(
        self,
        time_zone: Callable[[], tzinfo],
        labels_of: Callable[[str], Mapping[str, str]],
        key_of: Callable[[str], str],
    ) -> None:
        self._time_zone = time_zone
        self._labels_of = labels_of
        self._key_of = key_of
        self._cells: dict[_Place, dict[str, Numbers]] = {}
        self._changed: set[_Place] = set()
        self._gone: set[_Place] = set()
        self._sizes: dict[SeriesStep, int] = dict.fromkeys(_STEP_S, 0)
        self._day: tuple[tzinfo | None, int, int] = (None, 0, 0)
        self._minute_s = 0
        self._of_minute: dict[str, Numbers] = {}

    def on_event(self, event: AnyEvent) -> None:
        """Count an event of usage, or of a refusal, in."""
        if (counted := _counted(event)) is None:
            return
        numbers, names, labels = counted
        names += [f"label:{name}={value}" for name, value in (labels or self._labels_of(event.thread_id)).items()]
        names += [f"key:{key}"] if (key := self._key_of(event.root_thread_id)) else ()
        minute_s = event.time_ns // (_MINUTE_S * NS_PER_S) * _MINUTE_S
        if minute_s != self._minute_s:
            self._add_minute()
            self._minute_s = minute_s
        for name in names:
            _add_to(self._of_minute, name, numbers)

    def series(self, measure: Measure, by: str, step: SeriesStep, since_ns: int, until_ns: int) -> UsageSeries:
        """Return what was counted in a time.

        Args:
            by: ``agent``, ``model``, ``key`` or ``label:NAME``.
            step: In steps of this.
            since_ns: From the step that holds this instant on.
            until_ns: Up to the step that holds the instant before this one.
        """
        self._add_minute()
        starts = self._starts(step, since_ns, until_ns)
        lines = _largest(self._lines(by, step, starts), _COLUMNS[measure])
        series = (Series(name, tuple(_value(measure, each) for each in line)) for name, line in lines.items())
        starts_ns = tuple(start_s * NS_PER_S for start_s in starts)
        return UsageSeries(
            measure=measure,
            by=by,
            step_s=_STEP_S[step],
            from_ns=starts_ns[0] if starts_ns else since_ns,
            starts_ns=starts_ns,
            series=tuple(each for each in series if any(each.values)),
        )

    def restore(self, pieces: Pieces) -> bool:
        """Take over what an earlier process has kept; whether there was anything."""
        for _, cell in pieces.read(_KIND, SeriesCell):
            self._cells[cell.step, cell.start_s] = cell.sums
            self._sizes[cell.step] += len(cell.sums)
        return bool(self._cells)

    def keep(self, journal: Journal) -> None:
        """Keep what has changed since this was called last."""
        self._add_minute()
        for place in sorted(self._gone - self._cells.keys()):
            journal.append(Drop(_key(place), ""))
        for place in sorted(self._changed & self._cells.keys()):  # a set's order would differ in every process
            cell = SeriesCell(step=place[0], start_s=place[1], sums=dict(self._cells[place]))
            journal.append(Keep(_key(place), "", cell))
        self._gone.clear()
        self._changed.clear()

    def _add_minute(self) -> None:
        """Add what has come in of a minute to all steps that hold it."""
        if not self._of_minute:
            return
        for step in _STEP_S:
            place = step, self._start_of(step, self._minute_s * NS_PER_S)
            cell = self._cells.setdefault(place, {})
            before = len(cell)
            for name, numbers in self._of_minute.items():
                _add_to(cell, name, numbers)
            self._changed.add(place)
            self._sizes[step] += len(cell) - before
        self._of_minute.clear()
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        for step in _STEP_S:
            while len(places := [place for place in self._cells if place[0] == step]) > _CELLS_MAX[step]:
                self._forget(min(places))
        while self._sizes["minute"] > _MINUTES_SIZE_MAX:
            self._forget(min(place for place in self._cells if place[0] == "minute"))
        while sum(self._sizes[step] for step in _LASTING) > _SIZE_MAX:
            larger = max(_LASTING, key=self._sizes.__getitem__)
            if len(places := [place for place in self._cells if place[0] == larger]) == 1:
                return
            self._forget(min(places))

    def _forget(self, place: _Place) -> None:
        self._sizes[place[0]] -= len(self._cells.pop(place))
        self._changed.discard(place)
        self._gone.add(place)

    def _start_of(self, step: SeriesStep, time_ns: int) -> int:
        """Return when the step begins that holds an instant, in seconds."""
        time_s = time_ns // NS_PER_S
        if step != "day":
            return time_s // _STEP_S[step] * _STEP_S[step]
        zone = self._time_zone()
        known, start_s, end_s = self._day
        if zone is not known or not start_s <= time_s < end_s:  # once a day, and not for each event
            day = datetime.fromtimestamp(time_s, zone).date()
            start_s, end_s = (
                int(datetime.combine(date, time(), zone).timestamp()) for date in (day, day + timedelta(days=1))
            )
            self._day = (zone, start_s, end_s)
        return start_s

    def _starts(self, step: SeriesStep, since_ns: int, until_ns: int) -> list[int]:
        """Return when each step of a time begins: no more of them than are kept."""
        starts = [self._start_of(step, max(since_ns, until_ns - (1 + _CELLS_MAX[step]) * _STEP_S[step] * NS_PER_S))]
        while True:
            # A day may have 25 hours, and none has less than 23: 26 hours on is always in the next.
            following = self._start_of(
                step, (starts[-1] + (26 * _HOUR_S if step == "day" else _STEP_S[step])) * NS_PER_S
            )
            if following * NS_PER_S >= until_ns:
                return starts
            starts.append(following)

    def _lines(self, by: str, step: SeriesStep, starts: list[int]) -> dict[str, list[Numbers]]:
        """Return the numbers of each step by name."""
        prefix = f"{by}=" if by.startswith("label:") else f"{by}:"
        lines: dict[str, list[Numbers]] = {}
        for place, start_s in enumerate(starts):
            for name, numbers in self._cells.get((step, start_s), {}).items():
                if name.startswith(prefix):
                    lines.setdefault(name.removeprefix(prefix), [_NOTHING] * len(starts))[place] = numbers
        return lines


def _counted(event: AnyEvent) -> tuple[Numbers, list[str], Mapping[str, str]] | None:
    """Return what an event counts as, for whom, and the labels it tells; ``None`` if it counts as nothing."""
    match event:
        case UsageEvent(outcome="released"):
            return None
        case UsageEvent(tool=tool) if tool:
            return (0, event.usage.total, event.cost_nanousd or 0, 0, 0), [f"agent:{event.agent}"], event.labels
        case UsageEvent():
            numbers = (1, event.usage.total, event.cost_nanousd or 0, event.latency_ns, 0)
            return numbers, [f"agent:{event.agent}", f"model:{event.model}"], event.labels
        case BudgetExceeded(enforced=True):
            model = [f"model:{event.model}"] if event.model else []
            return (0, 0, 0, 0, 1), [f"agent:{event.agent}", *model], {}
        case _:
            return None


def _largest(lines: dict[str, list[Numbers]], column: int) -> dict[str, list[Numbers]]:
    """Return the largest lines, the largest first, and all the others as one."""
    rank = sorted(lines, key=lambda name: (name == OTHERS, -sum(each[column] for each in lines[name]), name))
    if len(rank) <= SHOWN_MAX:
        return {name: lines[name] for name in rank}
    shown, folded = rank[: SHOWN_MAX - 1], rank[SHOWN_MAX - 1 :]
    together = [_NOTHING] * len(lines[rank[0]])
    for name in folded:
        together = [_sum(first, other) for first, other in zip(together, lines[name], strict=True)]
    return {name: lines[name] for name in shown} | {OTHERS: together}


def _add_to(cell: dict[str, Numbers], name: str, numbers: Numbers) -> None:
    """Add numbers to those of a name; there are only so many, and all others count as one."""
    if (found := cell.get(name)) is not None:
        cell[name] = _sum(found, numbers)
    elif len(cell) < _NAMES_MAX:
        cell[name] = numbers
    else:
        rest = f"{_group_of(name)}{OTHERS}"
        cell[rest] = _sum(cell.get(rest, _NOTHING), numbers)


def _sum(first: Numbers, other: Numbers) -> Numbers:
    calls, tokens, cost, latency, refusals = first
    return calls + other[0], tokens + other[1], cost + other[2], latency + other[3], refusals + other[4]


def _value(measure: Measure, numbers: Numbers) -> int:
    if measure == "latency":
        return numbers[_LATENCY] // numbers[_CALLS] if numbers[_CALLS] else 0
    return numbers[_COLUMNS[measure]]


def _group_of(name: str) -> str:
    """Return what comes before a name of a group: ``agent:``, ``label:tenant=``."""
    kind, _, rest = name.partition(":")
    return f"label:{rest.partition('=')[0]}=" if kind == "label" else f"{kind}:"


def _key(place: _Place) -> str:
    return f"{_KIND}:{place[0]}:{place[1]}"
