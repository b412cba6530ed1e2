"""Usage by day and by label, beside what the tracker adds up by agent, model and thread."""

from collections.abc import Callable
from datetime import datetime, tzinfo

from organism.amounts import NS_PER_S
from organism.usage.events import AnyEvent, UsageEvent
from organism.usage.sums import Sums
from organism.usage.totals import UsageTotals

_GROUPS_MAX = 10_000
"""So many days and so many label values are kept; the oldest go first."""


class Breakdown:
    """Adds usage up by day and by label. Give its :meth:`on_event` to a tracker.

    Args:
        time_zone: Says where days begin.

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
