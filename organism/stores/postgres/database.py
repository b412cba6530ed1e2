"""One journal in a PostgreSQL database: taken over by one owner, checked, written in whole groups.

Everything here blocks; :mod:`organism.stores.group_journal` calls it on worker threads. The writer has a connection of
its own; readers share another, so that nobody who reads waits for a commit.
"""

from contextlib import suppress
from threading import Lock
from typing import Any

import msgspec
import psycopg

from organism.journal import FencedError, JournalBrokenError, JournalError, Stored, StoredEntry
from organism.stores.batch import GENESIS, Batch, chained, checksum
from organism.stores.group_storage import Retention
from organism.stores.head import Contents, Head, differences
from organism.stores.postgres.postgres_connection import Connection, connected
from organism.stores.postgres.postgres_errors import explained, place_of
from organism.stores.postgres.postgres_schema import LOCK, MIGRATIONS, VERSION
from organism.stores.postgres.statement import CONFIRM, quoted, unquoted, written
from organism.stores.reading import check_complete, next_events
from organism.stores.stored import checked_entries, checked_pieces
from organism.usage.events import AnyEvent

_RESCUE = "stop here, keep a copy of the database, and restore a newer backup, or use another database"


class _End(msgspec.Struct, frozen=True):
    """Where a journal ends: the number of the last group, of the last entry with its hash, and of the last event."""

    batch: int
    seq: int
    hash: bytes
    event: int


class PostgresDatabase:
    """An open journal.

    Args:
        url: The database.
        take: Whether to own it: an earlier owner can write nothing more. Otherwise it is only read.

    Raises:
        JournalError: If the server cannot be reached or is refused, or the tables are a newer program's.
    """

    partition = 0

    def __init__(self, url: str, *, take: bool = True) -> None:
        self.place = place_of(url)
        self._url = url
        self._lock, self._read_lock = Lock(), Lock()
        self._reader: Connection | None = None
        self._writer: Connection | None = None
        self._warned = False
        self._unsure: tuple[_End, int] | None = None
        with explained(self.place):
            first = connected(url, self.place, self._warn)
            try:
                self._prepare(first, take=take)
                self._epoch, self._end = self._take(first) if take else self._look(first)
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
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _warn(self) -> None:
        self._warned = True

    # -- opening --------------------------------------------------------------------------------------------------

    def _prepare(self, db: Connection, *, take: bool) -> None:
        """Make the tables or bring them up to date, and refuse those of others."""
        found = db.execute(
            "SELECT to_regclass('organism.cluster') IS NOT NULL, "
            "EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('organism'))"
        ).fetchone()
        ours, anything = found or (False, False)
        if anything and not ours:
            raise JournalError(
                f"{self.place} has a schema 'organism' that is not a journal of organism; use another database"
            )
        if not ours:
            if not take:
                raise JournalError(f"{self.place} has no journal of organism; the daemon makes one")
            self._migrate(db, 0)
        ((partitions, version),) = db.execute("SELECT partitions, schema FROM organism.cluster")
        if version > VERSION:
            raise JournalError(
                f"the journal in {self.place} has version {version}, but this organism knows versions up to {VERSION}; "
                "upgrade organism"
            )
        if partitions != 1:
            raise JournalError(
                f"{self.place} belongs to a cluster of {partitions} partitions; one daemon alone needs another database"
            )
        if version < VERSION and take:
            self._migrate(db, version)

    def _migrate(self, db: Connection, version: int) -> None:
        """Take the steps that these tables have not taken yet; as one command they are taken together or not at all."""
        steps = "".join(MIGRATIONS[version:])
        db.execute(
            f"SELECT pg_advisory_xact_lock({LOCK});{steps};UPDATE organism.cluster SET schema = {VERSION}"  # noqa: S608
        )

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
        rows = db.execute(statement, values, prepare=True).fetchall()
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

    def _damaged(self, what: str) -> JournalBrokenError:
        return JournalBrokenError(f"the journal in {self.place} is damaged ({what}); {_RESCUE}")

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

    # -- reading --------------------------------------------------------------------------------------------------

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read rows; a connection that was lost since the last time is made anew, once."""
        with self._read_lock, explained(self.place):
            for last in (False, True):
                if self._reader is None or self._reader.closed:
                    self._reader = connected(self._url, self.place)
                try:
                    return self._reader.execute(query, (self.partition, *values)).fetchall()
                except psycopg.OperationalError:
                    self._reader.close()
                    if last:
                        raise
            raise AssertionError

    def load(self) -> Stored:
        """Return everything that is needed to go on.

        Raises:
            JournalBrokenError: If a value in it is not the one that was written.
        """
        said, found = self._contents()
        check_complete(differences(said, found), self.place, self._damaged)
        ((start,),) = self._rows(
            "SELECT coalesce(max(seq), 1) FROM organism.entries WHERE p = %s AND kind = 'Checkpoint'"
        )
        before = self._rows("SELECT hash FROM organism.entries WHERE p = %s AND seq = %s", start - 1)
        last = bytes(before[0][0]) if before else GENESIS if start == 1 else None
        entries = self._rows(
            "SELECT seq, body, hash FROM organism.entries WHERE p = %s AND seq >= %s ORDER BY seq", start
        )
        pieces = self._rows("SELECT key, thread_id, body, checksum FROM organism.pieces WHERE p = %s ORDER BY seq")
        ((event, time_ns),) = self._rows("SELECT event, time_ns FROM organism.journals WHERE p = %s")
        return Stored(
            entries=checked_entries(entries, start, last, self._damaged),
            pieces=checked_pieces(
                [(unquoted(key), unquoted(thread_id), body, crc) for key, thread_id, body, crc in pieces], self._damaged
            ),
            last_event=event,
            last_time_ns=time_ns,
        )

    def head(self) -> Head:
        """Return where the journal ends, and what of it is missing."""
        said, found = self._contents()
        return Head(seq=said.seq, hash=said.hash, faults=tuple(differences(said, found).values()))

    def _contents(self) -> tuple[Contents, Contents]:
        """Return what the journal is said to hold, and what is found."""
        ((seq, digest, event, pieces, pieces_sum, last, last_hash, newest, count, total),) = self._rows(_HEAD)
        said = Contents(seq=seq, hash=bytes(digest), event=event, pieces=pieces, pieces_sum=pieces_sum)
        found = Contents(seq=last, hash=bytes(last_hash or GENESIS), event=newest, pieces=count, pieces_sum=total)
        return said, found

    def remembered(self, key: str) -> str | None:
        """Return what is remembered under a key; see :meth:`organism.journal.Journal.remembered`.

        Raises:
            JournalBrokenError: If it is not what was written.
        """
        found = self._rows(
            "SELECT until_ns < journals.time_ns, value, checksum FROM organism.remembered JOIN organism.journals "
            "USING (p) WHERE p = %s AND key = %s",
            quoted(key),
        )
        if not found or found[0][0]:
            return None
        value, crc = unquoted(found[0][1]), found[0][2]
        if value and checksum(key, value) != crc:
            raise self._damaged(f"{key} is not what was written")
        return value

    def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return events; see :class:`organism.usage.event_log.EventLog`.

        Raises:
            EventsGoneError: If some after that one have been forgotten.
            JournalBrokenError: If one of them is not what was written.
        """
        ((oldest,),) = self._rows("SELECT coalesce(min(id), 1) FROM organism.events WHERE p = %s")
        query = "SELECT id, body, checksum FROM organism.events WHERE p = %s AND id > %s ORDER BY id LIMIT %s"
        return next_events(after, oldest, lambda last: self._rows(query, last, limit), self._damaged)

    def entries_after(self, after: int, limit: int) -> list[StoredEntry]:
        """Return ledger entries; see :class:`organism.journal.EntryLog`."""
        query = "SELECT seq, body, hash FROM organism.entries WHERE p = %s AND seq > %s ORDER BY seq LIMIT %s"
        return [StoredEntry(seq, body, bytes(digest)) for seq, body, digest in self._rows(query, after, limit)]


_HEAD = """
    SELECT journals.seq, hash, event, pieces, pieces_sum,
        (SELECT coalesce(max(seq), 0) FROM organism.entries e WHERE e.p = journals.p),
        (SELECT e.hash FROM organism.entries e WHERE e.p = journals.p ORDER BY seq DESC LIMIT 1),
        (SELECT coalesce(max(id), 0) FROM organism.events v WHERE v.p = journals.p),
        (SELECT count(*) FROM organism.pieces c WHERE c.p = journals.p),
        (SELECT coalesce(sum(checksum), 0) FROM organism.pieces c WHERE c.p = journals.p)
    FROM organism.journals JOIN organism.live USING (p) WHERE p = %s"""

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
