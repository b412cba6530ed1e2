"""One journal in a PostgreSQL database: taken over by one owner, checked, written in whole groups.

Everything here blocks; :mod:`organism.stores.group_journal` calls it on worker threads. The writer has a connection of
its own; readers share another, so that nobody who reads waits for a commit.
"""

from contextlib import suppress
from threading import Lock
from typing import Any

import msgspec
import psycopg

from organism.journal import FencedError, JournalError
from organism.stores.batch import Batch, chained
from organism.stores.group_storage import Retention
from organism.stores.leases import Lease
from organism.stores.postgres.postgres_connection import Connection, connected
from organism.stores.postgres.postgres_errors import explained, place_of
from organism.stores.postgres.preparation import Purpose, prepare
from organism.stores.postgres.reader import JournalReader
from organism.stores.postgres.statement import CONFIRM, written


class _End(msgspec.Struct, frozen=True):
    """Where a journal ends: the number of the last group, of the last entry with its hash, and of the last event."""

    batch: int
    seq: int
    hash: bytes
    event: int


class PostgresDatabase(JournalReader):
    """An open journal.

    Args:
        take: Whether to own it: an earlier owner can write nothing more. Otherwise it is only read.
        name: The organism that it must be of; empty if that does not matter.
        lease: Where the database holds a cluster's journals: which of them, by right of a lease.

    Raises:
        JournalError: If the server cannot be reached or is refused, or the tables are a newer program's or another
            organism's.
        FencedError: If the lease is another owner's by now.
    """

    def __init__(self, url: str, *, take: bool = True, name: str = "", lease: Lease | None = None) -> None:
        super().__init__(url, place_of(url), lease.partition if lease else 0)
        self._lock = Lock()
        self._writer: Connection | None = None
        self._warned = False
        self._unsure: tuple[_End, int] | None = None
        purpose = Purpose(name=name, partitions=lease.partitions if lease else 1, take=take)
        with explained(self.place):
            first = connected(url, self.place, self._warn)
            try:
                prepare(first, self.place, purpose)
                self._epoch, self._end = self._take(first) if take and lease is None else self._look(first)
                if take and lease is not None and self._epoch != lease.epoch:
                    raise FencedError(self.place, lease.epoch, self._epoch)
                ((self._next_piece,),) = first.execute(
                    "SELECT coalesce(max(seq), 0) + 1 FROM organism.pieces WHERE p = %s", (self.partition,)
                )
            except BaseException:
                first.close()
                raise
        self._writer = first

    def close(self) -> None:
        """Let go of the server."""
        self._forsake()
        super().close()

    def _warn(self) -> None:
        self._warned = True

    def _take(self, db: Connection) -> tuple[int, _End]:
        taken = db.execute(
            "UPDATE organism.journals SET epoch = epoch + 1 WHERE p = %s RETURNING epoch, batch, seq, hash, event",
            (self.partition,),
        ).fetchone()
        return self._read_end(taken)

    def _look(self, db: Connection) -> tuple[int, _End]:
        return self._read_end(
            db.execute(
                "SELECT epoch, batch, seq, hash, event FROM organism.journals WHERE p = %s", (self.partition,)
            ).fetchone()
        )

    def _read_end(self, row: tuple[Any, ...] | None) -> tuple[int, _End]:
        if row is None:
            raise self._damaged("the row that says where it ends is gone")
        epoch, batch, seq, digest, event = row
        return epoch, _End(batch, seq, bytes(digest), event)

    # -- writing --------------------------------------------------------------------------------------------------

    @property
    def batch_number(self) -> int:
        """The number of the last group that was written."""
        return self._end.batch

    def write(self, batch: Batch, number: int) -> None:
        """Write a group; see :meth:`organism.stores.group_storage.GroupStorage.write`."""
        with self._lock, explained(self.place):
            try:
                self._write(batch, number)
            except psycopg.OperationalError:
                if self._writer is None or not self._writer.closed:
                    raise
                # A connection that was cut while nobody wrote is noticed only now: no caller need hear of it.
                self._write(batch, number)

    def _write(self, batch: Batch, number: int) -> None:
        if self._unsure is not None and self._was_written(number):
            return
        rows = list(chained(batch.entries, self._end.hash))
        event = batch.events[-1][0] if batch.events else self._end.event
        seq, digest = (rows[-1][0], rows[-1][-1]) if rows else (self._end.seq, self._end.hash)
        end, next_piece = _End(number, seq, digest, event), self._next_piece + len(batch.kept)
        statement, values = written(batch, rows, self._next_piece)
        db = self._connected()
        # From here on until the answer nobody knows whether it was written.
        self._unsure = end, next_piece
        self._execute(db, statement, {**values, **self._fence(end), "time_ns": batch.last_time_ns})
        self._settle()

    def _fence(self, end: _End) -> dict[str, object]:
        return {
            "p": self.partition,
            "epoch": self._epoch,
            "number": end.batch,
            "seq": end.seq,
            "hash": end.hash,
            "event": end.event,
        }

    def _execute(self, db: Connection, statement: str, values: dict[str, object]) -> None:
        """Execute what must answer with one row; a warning means that its commit may not be as safe as asked for."""
        self._warned = False
        try:
            rows = db.execute(statement, values, prepare=True).fetchall()
        except psycopg.errors.DivisionByZero:  # it divides by the rows of its fence
            rows = []
        if len(rows) != 1:
            raise self._damaged("the row that says where it ends is gone")
        if self._warned:
            raise JournalError(f"{self.place} has warned at a commit, so it is looked up whether it is safe")

    def _settle(self) -> None:
        """Know that the group that was under way is written."""
        if self._unsure is not None:
            (self._end, self._next_piece), self._unsure = self._unsure, None

    def reopen(self, number: int) -> bool:
        """Connect again after an error, and look whether a group was written.

        Raises:
            JournalError: If the server cannot be reached; the next use tries again.
            FencedError: If another owner has taken the journal over.
            JournalBrokenError: If what was acknowledged is not there any more.
        """
        with self._lock, explained(self.place):
            self._forsake()
            return self._was_written(number)

    def _was_written(self, number: int) -> bool:
        db = self._connected()
        epoch, found = self._look(db)
        if epoch < self._epoch:
            raise self._damaged(f"its owner is number {epoch}, and this was {self._epoch}: an older copy was restored")
        if epoch != self._epoch:
            raise FencedError(self.place, self._epoch, epoch)
        if found == self._end:
            return False
        if self._unsure is None or found != self._unsure[0] or found.batch != number:
            raise self._damaged(
                f"it ends with group {found.batch}, and group {self._end.batch} had been acknowledged: "
                "an older copy was restored, or acknowledged work is lost"
            )
        # It is visible here, but its standbys may not have it: a commit after it is answered when they have both.
        self._execute(db, CONFIRM, self._fence(found))
        self._settle()
        return True

    def _connected(self) -> Connection:
        if self._writer is None or self._writer.closed:
            self._writer = connected(self._url, self.place, self._warn)
        return self._writer

    def _forsake(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(psycopg.Error):
                writer.close()

    def forget(self, retention: Retention, rows: int = 2000) -> bool:
        """Delete what is older than it need be kept, a bounded number of rows at a time; whether there may be more."""
        with self._lock, explained(self.place):
            most = 0
            for statement in _FORGET:
                values = {
                    "p": self.partition,
                    "epoch": self._epoch,
                    "events_ns": retention.events_ns,
                    "entries_ns": retention.entries_ns,
                    "rows": rows,
                }
                most = max(most, self._connected().execute(statement, values).rowcount)
            return most >= rows


_OWNED = "(SELECT time_ns FROM organism.journals WHERE p = %(p)s AND epoch = %(epoch)s)"
"""The newest instant; nothing, and so nothing is older, where another owner has taken over."""

_OLD = {
    "events": "id FROM organism.events WHERE p = %(p)s AND time_ns < owned - %(events_ns)s ORDER BY id",
    "entries": "seq FROM organism.entries WHERE p = %(p)s AND time_ns < owned - %(entries_ns)s AND seq < "
    "(SELECT max(seq) FROM organism.entries WHERE p = %(p)s AND kind = 'Checkpoint') ORDER BY seq",
    "remembered": "key FROM organism.remembered WHERE p = %(p)s AND "
    "(until_ns < owned OR until_ns IS NULL AND time_ns < owned - %(entries_ns)s)",
}

_FORGET = tuple(
    f"DELETE FROM organism.{table} WHERE p = %(p)s AND {what.partition(' ')[0]} = "  # noqa: S608 - names written above
    f"ANY(ARRAY(SELECT {what.replace('owned', _OWNED)} LIMIT %(rows)s))"
    for table, what in _OLD.items()
)
