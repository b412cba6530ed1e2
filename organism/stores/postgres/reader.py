"""What is read of one journal in a PostgreSQL database, on a connection that no commit waits for. Everything blocks."""

from threading import Lock
from typing import Any

import psycopg

from organism.journal import JournalBrokenError, Stored, StoredEntry
from organism.stores.batch import GENESIS, checksum
from organism.stores.head import Contents, Head, differences
from organism.stores.postgres.postgres_connection import Connection, connected
from organism.stores.postgres.postgres_errors import explained
from organism.stores.reading import check_complete, next_events
from organism.stores.shared.quoted_text import quoted, unquoted
from organism.stores.stored import checked_entries, checked_pieces
from organism.usage.events import AnyEvent

_RESCUE = "stop here, keep a copy of the database, and restore a newer backup, or use another database"


class JournalReader:
    """Reads one journal; the connection is made at the first use, and again when it was lost."""

    def __init__(self, url: str, place: str, partition: int) -> None:
        self.place = place
        self.partition = partition
        self._url = url
        self._read_lock = Lock()
        self._reader: Connection | None = None

    def close(self) -> None:
        """Let go of the server."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _damaged(self, what: str) -> JournalBrokenError:
        return JournalBrokenError(f"the journal in {self.place} is damaged ({what}); {_RESCUE}")

    def _rows(self, query: str, *values: object, at: int | None = None) -> list[tuple[Any, ...]]:
        """Read rows of its partition, or another; once more, connected anew, where that was lost or a table changed."""
        with self._read_lock, explained(self.place):
            for last in (False, True):
                if self._reader is None or self._reader.closed:
                    self._reader = connected(self._url, self.place)
                try:
                    return self._reader.execute(query, (self.partition if at is None else at, *values)).fetchall()
                except (psycopg.OperationalError, psycopg.errors.FeatureNotSupported):
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
        if not (rows := self._rows(_HEAD)):
            raise self._damaged("the row that says what it holds is gone")
        seq, digest, event, pieces, pieces_sum, last, last_hash, newest, count, total = rows[0]
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
