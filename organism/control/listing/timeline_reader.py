"""Reads the timeline of a thread from the stored events: no more of them than its life has."""

from collections import deque
from collections.abc import AsyncIterator
from heapq import merge
from operator import attrgetter

from organism.amounts import NS_PER_S
from organism.control.components import Components
from organism.control.listing.timeline import (
    Timeline,
    TimelineItem,
    items_of_events,
    items_of_holds,
    items_of_hops,
    nested,
)
from organism.usage.event_log import EventLog, first_number, last_number
from organism.usage.events import AnyEvent

ITEMS_MAX = 2_000
_EVENTS_MAX = 50_000
"""So many events are looked at, the last ones: of a thread that has stood for months, the last days."""

_PAGE = 1_000
_LATE_NS = 600 * NS_PER_S
"""What a call has cost may be known so long after its thread has ended."""


class TimelineReader:
    """Makes timelines.

    Args:
        components: Where what happened is kept.
    """

    def __init__(self, components: Components) -> None:
        self._log = components.journal
        self._history = components.history
        self._threads = components.pump.open_threads
        self._ledger = components.ledger
        self._clock = components.clock

    async def read(self, thread_id: str, *, content: bool, limit: int = ITEMS_MAX) -> Timeline:
        """Return what has happened in a thread and its descendants, the last so many things.

        Raises:
            JournalError: If it cannot be read.
        """
        opened_ns, ended_ns = self._life_of(thread_id)
        found: deque[TimelineItem] = deque(maxlen=limit + 1)
        async for page in _events_between(self._log, opened_ns, ended_ns):
            found.extend(items_of_events(page, thread_id, content=content))
        now_ns = self._clock.now_ns()
        hops = self._history.hops(thread_id, content=content)
        others = [
            *items_of_hops(hops),
            *items_of_holds(self._ledger.open_holds, thread_id, now_ns),
        ]
        when = attrgetter("at")
        items = list(merge(sorted(found, key=when), sorted(others, key=when), key=when))
        return Timeline(thread_id=thread_id, items=nested(items[-limit:], hops), more=len(items) > limit)

    def _life_of(self, thread_id: str) -> tuple[int, int]:
        """Return when a thread was opened and has ended; 0 where that is not known or has not happened."""
        if (thread := self._threads.find(thread_id)) is not None:
            return thread.origin.opened_ns, 0
        ended = self._history.find_closed(thread_id)
        return (ended.opened_ns, ended.closed_ns) if ended is not None else (0, 0)


async def _events_between(log: EventLog, since_ns: int, until_ns: int) -> AsyncIterator[list[AnyEvent]]:
    """Yield pages of the stored events of a time; without an end, up to the last one."""
    oldest = await log.events_after("", 1)
    if not oldest:
        return
    last = await last_number(log, int(oldest[0].id))
    first = await first_number(log, int(oldest[0].id), last, since_ns)
    begin = max(first, last - _EVENTS_MAX)
    after = f"{begin - 1:016d}" if begin > int(oldest[0].id) else ""
    while page := await log.events_after(after, _PAGE):
        yield page
        if until_ns and page[-1].time_ns > until_ns + _LATE_NS:
            return
        after = page[-1].id
