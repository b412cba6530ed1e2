"""The port to stored events: what a consumer that was away reads to catch up, without a gap."""

from collections.abc import AsyncIterator
from typing import Protocol

from organism.errors import OrganismError
from organism.journal import EntryLog, Journal, Watched
from organism.usage.events import AnyEvent

_PAGE = 1000


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
