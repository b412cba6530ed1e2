"""What people look at of the time before this process: sums that were kept, and the last events read again.

A start reads no more of what has happened than it can show: the sums are taken over, events since they were kept are
added to them, and of older events only the last few thousand are read, for the lists of what happened lately.
"""

import msgspec

from organism.control.observed.history import History
from organism.journal import Pieces
from organism.runtime.pump import Pump
from organism.usage.event_log import EventLog, EventsGoneError, stored_events
from organism.usage.events import AnyEvent
from organism.usage.series import UsageOverTime
from organism.usage.sums import Breakdown, KeptSums
from organism.usage.tracker import UsageTracker

_LOOKED_AT = 4_000
"""So many of the last events are read: those of the thousand threads that ended last, as a rule."""


class RestoredHistory(msgspec.Struct, frozen=True):
    """Takes up what an earlier process has left for people to look at.

    Attributes:
        log: Has the stored events.
        usage: Takes the sums by agent, model and thread.
        pump: Knows the open threads.
        sums: The sums that were kept.
        breakdown: Takes the sums by day and label.
        usage_history: Takes the sums by hour and day.
        history: Takes the last events.
    """

    log: EventLog
    usage: UsageTracker
    pump: Pump
    sums: KeptSums
    breakdown: Breakdown
    usage_history: UsageOverTime
    history: History

    async def take_up(self, pieces: Pieces, last_event: int) -> None:
        """Take over the sums and read the last events.

        Args:
            pieces: What the journal has kept.
            last_event: The number of the newest event.
        """
        self.sums.restore(pieces)
        self.usage.restored({view.thread_id for view in self.pump.threads()})
        summed = self.sums.upto
        async for event in stored_events(self.log, await self._start(min(summed, last_event - _LOOKED_AT))):
            self._take(event, fresh=int(event.id) > summed)
        self.sums.caught_up(last_event)

    async def _start(self, number: int) -> str:
        """Return the id to read on from; empty for the oldest that is kept, where older ones are gone."""
        if number <= 0:
            return ""
        after = f"{number:016d}"
        try:
            await self.log.events_after(after, 1)
        except EventsGoneError:
            return ""
        return after

    def _take(self, event: AnyEvent, *, fresh: bool) -> None:
        self.history.recall(event)
        if fresh:
            self.usage.restore(event)
            self.breakdown.on_event(event)
        if int(event.id) > self.sums.history_upto:
            self.usage_history.on_event(event)
