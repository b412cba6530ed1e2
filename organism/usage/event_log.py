"""The port to stored events: what a consumer that was away reads to catch up, without a gap."""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from organism.amounts import NS_PER_S
from organism.errors import OrganismError
from organism.journal import EntryLog, Journal, Watched
from organism.usage.events import AnyEvent

_PAGE = 1000
_LATE_NS = 600 * NS_PER_S
"""So far events may lie out of the order of their times, after a clock was set."""


class EventsGoneError(OrganismError):
    """Events that were asked for are not kept any more; a consumer must not believe it has seen them.

    Attributes:
        oldest: The id of the oldest event that is still kept.
    """

    def __init__(self, oldest: str) -> None:
        self.oldest = oldest
        super().__init__(
            f"events before {oldest} are not kept any more; go on from there, and reconcile what is missing"
        )


class EventLog(Protocol):
    """Events in the order of their ids."""

    async def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return committed events with ids above ``after``, oldest first.

        Args:
            after: The id of the last event already seen; empty for the oldest there is.
            limit: How many at most.

        Raises:
            EventsGoneError: If events between ``after`` and the oldest kept have been forgotten.
        """
        ...


class Store(Journal, EventLog, EntryLog, Watched, Protocol):
    """A journal whose events can be read again, and which tells how it is doing: what an organism is given."""


def check_kept(after: str, forgotten: int, oldest: str) -> None:
    """Refuse to go on where events are missing.

    Args:
        after: The id of the last event the consumer has seen; empty for none.
        forgotten: The number of the newest event that is not kept any more; 0 when all are.
        oldest: The id of the oldest event that is kept.

    Raises:
        EventsGoneError: If the consumer has missed some.
    """
    if after and int(after) < forgotten:
        raise EventsGoneError(oldest)


async def stored_events(log: EventLog, after: str = "") -> AsyncIterator[AnyEvent]:
    """Yield everything that is stored, from the event after that id on.

    Raises:
        EventsGoneError: If events between ``after`` and the oldest kept have been forgotten.
    """
    while page := await log.events_after(after, _PAGE):
        for event in page:
            yield event
        after = page[-1].id


class EventsOfTime(msgspec.Struct, frozen=True):
    """The stored events of a time, as pages.

    Attributes:
        pages: The events, oldest first; some at both ends may lie outside of the time.
        kept_from_ns: When the oldest event that is kept happened, if older ones are not any more; 0 if all are.
    """

    pages: AsyncIterator[list[AnyEvent]]
    kept_from_ns: int = 0


async def events_between(log: EventLog, since_ns: int | None, until_ns: int | None) -> EventsOfTime:
    """Return the stored events of a time without reading what was before it.

    Args:
        since_ns: From this instant on; from the first event on unless given.
        until_ns: Up to this instant; up to the last event unless given.
    """
    if not (oldest := await log.events_after("", 1)):
        return EventsOfTime(_pages_between(log, "", None))
    first = low = int(oldest[0].id)
    if since_ns is not None:
        first = await first_number(log, low, await last_number(log, low), since_ns - _LATE_NS)
    after = f"{first - 1:016d}" if first > low else ""
    kept_from_ns = oldest[0].time_ns if low > 1 else 0
    return EventsOfTime(_pages_between(log, after, None if until_ns is None else until_ns + _LATE_NS), kept_from_ns)


async def _pages_between(log: EventLog, after: str, until_ns: int | None) -> AsyncIterator[list[AnyEvent]]:
    while page := await log.events_after(after, _PAGE):
        yield page
        if until_ns is not None and page[-1].time_ns >= until_ns:
            return
        after = page[-1].id


async def last_number(log: EventLog, known: int) -> int:
    """Return the number of the last event, found by doubling steps: a log is asked only for what comes behind one."""
    step = 1
    while step:
        if found := await log.events_after(f"{known + step - 1:016d}", 1):
            known, step = int(found[0].id), step * 2
        else:
            step //= 2
    return known


async def first_number(log: EventLog, low: int, high: int, since_ns: int) -> int:
    """Return the number of the first event that is not before an instant, of those between two numbers."""
    oldest = low
    while low < high:
        middle = (low + high) // 2
        # Only the log's own oldest event has none before it to be asked for. Asked so for any other, the log answers
        # with an event below ``low``, and the search goes back and never ends.
        found = await log.events_after(f"{middle - 1:016d}" if middle > oldest else "", 1)
        if not found or found[0].time_ns >= since_ns:
            high = middle
        else:
            low = int(found[0].id) + 1
    return low
