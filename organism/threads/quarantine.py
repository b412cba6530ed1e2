"""Pieces of the journal that no start could take up: set aside so that it succeeds, kept so that nothing is lost.

What is set aside was written by a program with a mistake in it, or belongs to something that is gone. It takes part in
nothing any more. It stays in the journal, with the reason, until somebody has looked at it.
"""

from collections.abc import Callable

import msgspec

from organism.concurrency.safe_log import safe_logger
from organism.journal import Drop, Journal, Keep, Pieces, Unplaced

_KIND = "aside"
_LOGGED_MAX = 20

_log = safe_logger("organism.journal")


class QuarantinedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One piece that was set aside.

    Attributes:
        key: The key it had.
        thread_id: The thread it belonged to; empty for what outlives threads.
        body: What was in it, as JSON.
        reason: Why it could not be taken up.
        time_ns: When, nanoseconds since the Unix epoch.
    """

    key: str
    thread_id: str
    body: str
    reason: str
    time_ns: int


def set_aside(pieces: Pieces) -> list[QuarantinedRecord]:
    """Return what earlier starts have set aside, oldest first."""
    return [kept for _, kept in pieces.read(_KIND, QuarantinedRecord)]


class Quarantine:
    """Keeps what was set aside, oldest first."""

    def __init__(self, journal: Journal, now_ns: Callable[[], int]) -> None:
        self._journal = journal
        self._now_ns = now_ns
        self._kept: dict[str, QuarantinedRecord] = {}

    def restore(self, pieces: Pieces) -> None:
        """Know again what was set aside before, and set aside what nobody could take up at this start.

        To be called last: what no room has read by then is of no kind that is known.
        """
        for piece, kept in pieces.read(_KIND, QuarantinedRecord):
            self._kept[piece.key] = kept
        unplaced = pieces.unplaced()
        for one in unplaced:
            self._set_aside(one)
        for one in unplaced[:_LOGGED_MAX]:
            # The reason names fields and types, never what is in them.
            _log.error("piece_set_aside", key=one.piece.key, thread_id=one.piece.thread_id, reason=one.reason)
        if unplaced:
            _log.error("pieces_set_aside", pieces=len(unplaced), see="organism ledger quarantine")

    def _set_aside(self, unplaced: Unplaced) -> None:
        piece = unplaced.piece
        place = f"{_KIND}:{piece.key}"
        kept = QuarantinedRecord(
            key=piece.key,
            thread_id=piece.thread_id,
            body=piece.body.decode("utf-8", "replace"),
            reason=unplaced.reason,
            time_ns=self._now_ns(),
        )
        self._kept[place] = kept
        self._journal.append(Drop(piece.key, piece.thread_id))
        self._journal.append(Keep(place, "", kept))

    def __len__(self) -> int:
        return len(self._kept)

    def list(self) -> tuple[QuarantinedRecord, ...]:
        """Return what was set aside, oldest first."""
        return tuple(self._kept.values())
