"""Usage by day and by label, beside what the tracker adds up by agent, model and thread."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, tzinfo

from organism.amounts import NS_PER_S
from organism.usage.events import AnyEvent, UsageEvent
from organism.usage.totals import RunningTotals, UsageTotals

_GROUPS_MAX = 10_000
"""So many days and so many label values are kept; the oldest go first."""


class Breakdown:
    """Adds usage up by day and by label. Give its :meth:`on_event` to a tracker.

    Args:
        time_zone: Says where days begin.
    """

    def __init__(self, time_zone: Callable[[], tzinfo]) -> None:
        self._time_zone = time_zone
        self._days: OrderedDict[str, RunningTotals] = OrderedDict()
        self._labels: OrderedDict[str, RunningTotals] = OrderedDict()

    def on_event(self, event: AnyEvent) -> None:
        """Count a usage event in."""
        if not isinstance(event, UsageEvent):
            return
        day = datetime.fromtimestamp(event.time_ns // NS_PER_S, self._time_zone()).date().isoformat()
        _group(self._days, day).add(event)
        for name, value in event.labels.items():
            _group(self._labels, f"{name}={value}").add(event)

    def by_day(self) -> dict[str, UsageTotals]:
        """Return the sums of each day, such as ``2026-11-24``."""
        return {name: totals.snapshot() for name, totals in self._days.items()}

    def by_label(self) -> dict[str, UsageTotals]:
        """Return the sums of each label and value, such as ``tenant=a``."""
        return {name: totals.snapshot() for name, totals in self._labels.items()}


def _group(groups: OrderedDict[str, RunningTotals], name: str) -> RunningTotals:
    if (group := groups.get(name)) is None:
        if len(groups) >= _GROUPS_MAX:
            groups.popitem(last=False)
        group = groups[name] = RunningTotals()
    return group
