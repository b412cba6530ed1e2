"""From records in the order of appending to the rows that one transaction writes. Pure.

Pieces that come and go within one batch leave nothing to write but their absence: under load, a message that is
accepted, handled and done between two commits costs the disk next to nothing.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from zlib import crc32

import msgspec

from organism.amounts import Amounts
from organism.journal import Drop, DropThread, Keep, Remember
from organism.ledger.entries import Entry
from organism.usage.events import Event

EntryRow = tuple[int, int, str, str | None, int | None, int | None, int | None, str]
"""Number, time, kind, hold, tokens, nano-USD, calls, JSON."""

RememberedRow = tuple[str, int, int | None, str, int | None]
"""Key, time, until when, value, checksum; a value that is empty needs none."""

EventRow = tuple[int, int, str, str, str]
"""Number, time, type, thread, JSON."""


class Batch(msgspec.Struct, kw_only=True):
    """What one transaction writes.

    Attributes:
        entries: New ledger entries.
        events: New events.
        ended: Threads of which nothing is kept any more.
        gone: Keys to delete, before anything is kept.
        kept: Key, thread and JSON of each piece to keep, in order.
        remembered: Key, time, until when, value and checksum of what is to be found by its key long after.
        last_time_ns: The newest instant in it.
    """

    entries: list[EntryRow] = []
    events: list[EventRow] = []
    ended: list[str] = []
    gone: list[str] = []
    kept: list[tuple[str, str, str]] = []
    remembered: list[RememberedRow] = []
    last_time_ns: int = 0


def batch_of(records: Iterable[msgspec.Struct]) -> Batch:
    """Sort records into rows, and leave out what later ones undo."""
    batch = Batch()
    pieces: dict[str, Keep | None] = {}
    replaced: set[str] = set()
    of_thread: dict[str, set[str]] = {}
    for record in records:
        match record:
            case Keep():
                # Rows are read back in the order of their insertion. A key that was dropped and kept again must be
                # deleted and inserted, not updated in place: at its old place a message would overtake those accepted
                # before it.
                if record.key in pieces and pieces[record.key] is None:
                    del pieces[record.key]  # it begins anew, behind those that were kept meanwhile
                    replaced.add(record.key)
                pieces[record.key] = record
                of_thread.setdefault(record.thread_id, set()).add(record.key)
            case Remember():
                batch.remembered.append(_remembered_row(record))
            case Drop():
                # Remembered as gone, not forgotten: the row may have been written by an earlier batch.
                pieces[record.key] = None
            case DropThread(thread_id=thread_id):
                # The thread's rows of earlier batches go by its id. Only what this batch keeps is taken out here, or
                # the insert, which comes after the delete, would bring pieces of an ended thread back to life.
                batch.ended.append(thread_id)
                for key in of_thread.pop(thread_id, ()):
                    if (keep := pieces.get(key)) is not None and keep.thread_id == thread_id:
                        del pieces[key]
            case Entry():
                batch.entries.append(_entry_row(record))
                batch.last_time_ns = max(batch.last_time_ns, record.time_ns)
            case Event():
                batch.events.append(_event_row(record))
                batch.last_time_ns = max(batch.last_time_ns, record.time_ns)
            case _:
                raise TypeError(f"{type(record).__name__} is no record of a journal")
    # Deletes first, then inserts, both in one transaction: a crash in between shows neither.
    batch.gone = [*(key for key, keep in pieces.items() if keep is None), *replaced]
    batch.kept = [(keep.key, keep.thread_id, to_json(keep.body)) for keep in pieces.values() if keep is not None]
    return batch


def _entry_row(entry: Entry) -> EntryRow:
    amounts: Amounts | None = getattr(entry, "amounts", None)
    return (
        entry.seq,
        entry.time_ns,
        type(entry).__name__,
        getattr(entry, "hold_id", None),
        amounts.tokens if amounts is not None else None,
        amounts.cost_nanousd if amounts is not None else None,
        amounts.calls if amounts is not None else None,
        to_json(entry),
    )


def _remembered_row(record: Remember) -> RememberedRow:
    check = checksum(record.key, record.value) if record.value else None
    return record.key, record.time_ns, record.until_ns, record.value, check


def _event_row(event: Event) -> EventRow:
    return int(event.id), event.time_ns, str(type(event).__struct_config__.tag), event.thread_id, to_json(event)


def to_json(body: msgspec.Struct) -> str:
    """Write a struct as JSON; half of a surrogate pair, which no encoding can hold, becomes a question mark."""
    try:
        return msgspec.json.encode(body).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_clean(msgspec.to_builtins(body))).decode()


def _clean(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_clean(key): _clean(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_clean(inner) for inner in value]
        case _:
            return value


def checksum(*parts: str) -> int:
    """Return a CRC-32 over texts: SQLite checks that a page makes sense, not that a value in it is the one written."""
    return crc32("\0".join(parts).encode())


GENESIS = bytes(32)
"""What the first entry of a ledger is chained to."""


def chain_hash(last: bytes, body: str) -> bytes:
    """Return the hash of an entry: SHA-256 over the hash of the entry before it and its own JSON."""
    return sha256(last + body.encode()).digest()


def chained(rows: Iterable[EntryRow], last: bytes) -> Iterator[tuple[*EntryRow, bytes]]:
    """Yield each row with its hash.

    Args:
        rows: Entries in order.
        last: The hash of the entry before the first.
    """
    for row in rows:
        last = chain_hash(last, row[-1])
        yield (*row, last)
