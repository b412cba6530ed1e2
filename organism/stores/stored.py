"""From the rows of a durable journal to what a start takes up: each is checked to be what was written. Pure."""

from collections.abc import Callable, Sequence

from organism.journal import JournalBrokenError, Piece
from organism.stores.batch import chain_hash, checksum

Damaged = Callable[[str], JournalBrokenError]
"""Makes the error that says what is wrong with a journal."""


def checked_entries(
    rows: Sequence[tuple[int, str, bytes]], start: int, last: bytes | None, damaged: Damaged
) -> list[bytes]:
    """Return the bodies of entries that follow each other.

    Args:
        rows: Number, JSON and hash of each.
        start: The number of the first.
        last: The hash of the one before it; ``None`` if that is not known.

    Raises:
        JournalBrokenError: If one is missing, or is not what was written.
    """
    for expected, (seq, body, digest) in enumerate(rows, start):
        if seq != expected or (last is not None and chain_hash(last, body) != digest):
            raise damaged(f"ledger entry {expected} is not what was written")
        last = digest
    return [body.encode() for _, body, _ in rows]


def checked_pieces(rows: Sequence[tuple[str, str, str, int]], damaged: Damaged) -> tuple[Piece, ...]:
    """Return pieces, made of key, thread, JSON and checksum of each.

    Raises:
        JournalBrokenError: If one is not what was written.
    """
    for key, thread_id, body, crc in rows:
        if checksum(key, thread_id, body) != crc:
            raise damaged(f"{key} of thread {thread_id} is not what was written")
    return tuple(Piece(key, thread_id, body.encode()) for key, thread_id, body, _ in rows)
