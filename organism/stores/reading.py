"""What every durable journal does with what it reads: refuse what is not what was written, and go on past the rest."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from organism.concurrency.safe_log import safe_logger
from organism.stores.batch import checksum
from organism.stores.stored import Damaged
from organism.usage.event_log import check_kept
from organism.usage.events import AnyEvent, decode_event

_log = safe_logger("organism.journal")


def check_complete(faults: Mapping[str, str], place: str, damaged: Damaged) -> None:
    """Refuse a ledger whose newest entries are gone, since its balances would be too low; say what else is.

    Args:
        faults: What is missing; see :func:`organism.stores.head.differences`.
        place: What log lines call the journal.

    Raises:
        JournalBrokenError: If entries are missing.
    """
    if "entries" in faults:
        raise damaged(faults["entries"])
    for fault in faults.values():
        _log.error("journal_incomplete", path=place, fault=fault, see="organism ledger verify")


def next_events(
    after: str, oldest: int, page_after: Callable[[int], Sequence[tuple[int, str, int]]], damaged: Damaged
) -> list[AnyEvent]:
    """Return the events of the next page that has any; see :class:`organism.usage.event_log.EventLog`.

    Args:
        after: The id of the last event that was seen; empty for none.
        oldest: The number of the oldest that is kept.
        page_after: Reads number, JSON and checksum of those that follow a number.

    Raises:
        EventsGoneError: If some after that one have been forgotten.
        JournalBrokenError: If one of them is not what was written.
    """
    check_kept(after, oldest - 1, f"{oldest:016d}")
    last = int(after or 0)
    while found := page_after(last):
        last = found[-1][0]
        # A page of nothing but events that cannot be read must not look like the end.
        if read := [event for row in found if (event := _read_event(*row, damaged)) is not None]:
            return read
    return []


def _read_event(number: int, body: str, crc: int, damaged: Damaged) -> AnyEvent | None:
    """Return an event; ``None`` if it is what was written, but no event that this program knows.

    Raises:
        JournalBrokenError: If it is not what was written.
    """
    if checksum(str(number), body) != crc:
        raise damaged(f"event {number} is not what was written")
    known_as = f"{number:016d}"
    try:
        event = decode_event(body)
    except msgspec.MsgspecError as error:
        _log.error("event_unreadable", id=known_as, error=str(error))
        return None
    if event.id != known_as:  # who asks for the events after it would ask for others
        _log.error("event_unreadable", id=known_as, error="it has another id in it")
        return None
    return event
