"""Sums over usage events by name, and how they outlive the process without anybody reading all events again.

A start that added up every event that is kept would take longer with each day. So the sums themselves are kept, those
that have changed every few thousand events, together with the id of the last event that is in them: a start takes them
over and adds what came after.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from hashlib import sha256

import msgspec

from organism.amounts import NS_PER_S
from organism.journal import Drop, Journal, Keep, Pieces
from organism.usage.events import AnyEvent, UsageEvent
from organism.usage.series import UsageOverTime
from organism.usage.totals import RunningTotals, SumRecord, UsageTotals

_KIND = "sum"
_UPTO = "sums"
_EVERY = 2_000
"""So many events may come before changed sums are kept: a start reads at most about so many again."""

_GROUPS_MAX = 10_000
"""So many days and so many label values are kept; the oldest go first."""


class Sums:
    """Usage added up by name.

    Args:
        kind: What the names are of.
        capacity: How many names are kept before the oldest goes; without one, the owner forgets them.
    """

    def __init__(self, kind: str, capacity: int | None = None) -> None:
        self.kind = kind
        self._capacity = capacity
        self._groups: dict[str, RunningTotals] = {}
        self._changed: dict[str, None] = {}
        self._gone: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._groups

    def group(self, name: str) -> RunningTotals:
        """Return the sums of a name, zero if nothing was added."""
        return self._groups.get(name) or RunningTotals()

    def add(self, name: str, event: UsageEvent) -> None:
        """Count an event in."""
        if (group := self._groups.get(name)) is None:
            if self._capacity is not None and len(self._groups) >= self._capacity:
                self.forget(next(iter(self._groups)))
            group = self._groups[name] = RunningTotals()
        group.add(event)
        self._changed[name] = None

    def forget(self, name: str) -> None:
        """Keep the sums of a name no longer; one that is not there is no mistake."""
        if self._groups.pop(name, None) is not None:
            self._changed.pop(name, None)
            self._gone.add(name)

    def restore(self, record: SumRecord) -> None:
        """Take over the sums that an earlier process has kept of a name."""
        self._groups[record.name] = RunningTotals.of(record)

    def snapshot(self) -> dict[str, UsageTotals]:
        """Return all sums by name, those first that were begun first."""
        return {name: running.snapshot() for name, running in self._groups.items()}

    def keep(self, journal: Journal) -> None:
        """Keep what has changed since this was called last."""
        for name in sorted(self._gone - self._groups.keys()):
            journal.append(Drop(_key(self.kind, name), ""))
        for name in self._changed:
            journal.append(Keep(_key(self.kind, name), "", self._groups[name].record(self.kind, name)))
        self._gone.clear()
        self._changed.clear()


class Breakdown:
    """Adds usage up by day and by label. Give its :meth:`on_event` to a tracker.

    Attributes:
        sums: The sums of both.
    """

    def __init__(self, time_zone: Callable[[], tzinfo]) -> None:
        self._time_zone = time_zone
        self._days, self._labels = self.sums = Sums("day", _GROUPS_MAX), Sums("label", _GROUPS_MAX)

    def on_event(self, event: AnyEvent) -> None:
        """Count a usage event in."""
        if not isinstance(event, UsageEvent):
            return
        self._days.add(datetime.fromtimestamp(event.time_ns // NS_PER_S, self._time_zone()).date().isoformat(), event)
        for name, value in event.labels.items():
            self._labels.add(f"{name}={value}", event)

    def by_day(self) -> dict[str, UsageTotals]:
        """Return the sums of each day, such as ``2026-11-24``."""
        return self._days.snapshot()

    def by_label(self) -> dict[str, UsageTotals]:
        """Return the sums of each label and value, such as ``tenant=a``."""
        return self._labels.snapshot()


class UpTo(msgspec.Struct, frozen=True):
    """The number of the last event that is in the sums that are kept."""

    event: int


class KeptSums:
    """Keeps sums in a journal. Give its :meth:`on_event` to a tracker, behind all that add to them.

    Attributes:
        upto: The number of the last event that is in them.
        history_upto: Likewise of the sums over time: 0 in a journal from before there were any.
    """

    def __init__(self, journal: Journal, sums: Iterable[Sums], history: UsageOverTime) -> None:
        self.upto = self.history_upto = 0
        self._history = history
        self._journal = journal
        self._sums = {each.kind: each for each in sums}
        self._kept = 0

    def restore(self, pieces: Pieces) -> None:
        """Take over what an earlier process has kept; events behind :attr:`upto` are to be added to it."""
        for piece, record in pieces.read(_KIND, SumRecord):
            if (sums := self._sums.get(record.of)) is None:
                pieces.refuse(piece, f"nothing is added up by {record.of}")
            else:
                sums.restore(record)
        self.upto = self._kept = kept_upto(pieces)
        self.history_upto = self.upto if self._history.restore(pieces) else 0

    def caught_up(self, number: int) -> None:
        """Know that every event up to a number is in the sums, of those that an earlier process has stored."""
        self.upto = number

    def on_event(self, event: AnyEvent) -> None:
        """Note that an event has been added, and keep the sums if it is one of many since they were kept."""
        if event.id:
            self.upto = int(event.id)
            if self.upto - self._kept >= _EVERY:
                self.keep()

    def keep(self) -> None:
        """Keep what has changed; in one step, so that sums and the last event in them belong together."""
        if self.upto == self._kept:
            return
        for sums in self._sums.values():
            sums.keep(self._journal)
        self._history.keep(self._journal)
        self._journal.append(Keep(_UPTO, "", UpTo(self.upto)))
        self._kept = self.upto


def kept_upto(pieces: Pieces) -> int:
    """Return the number of the last event that is in the sums that are kept; 0 if none are."""
    return max((upto.event for _, upto in pieces.read(_UPTO, UpTo)), default=0)


def _key(kind: str, name: str) -> str:
    """Return where the sums of a name are kept: names are labels too, which may be of any length and any characters."""
    return f"{_KIND}:{kind}:{sha256(name.encode('utf-8', 'replace')).hexdigest()[:32]}"
