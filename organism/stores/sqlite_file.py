"""One SQLite file with a journal in it: opened by one owner, checked, brought up to date, written in whole batches.

Everything here blocks; :mod:`organism.stores.group_journal` calls it on a worker thread.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import apsw
import msgspec

from organism.journal import JournalBrokenError, JournalError, Stored, StoredEntry
from organism.stores.batch import GENESIS, Batch, EntryRow, EventRow, chained, checksum
from organism.stores.group_storage import Retention
from organism.stores.head import Head, first_fault, missing, newest_ns, read_head
from organism.stores.reading import check_complete, next_events
from organism.stores.schema import APPLICATION_ID, MIGRATIONS, PRAGMAS, VERSION
from organism.stores.sqlite_errors import damaged, explained, transaction
from organism.stores.sqlite_place import identity_of, made, make_private, refuse_emptied
from organism.stores.stored import checked_entries, checked_pieces
from organism.usage.events import AnyEvent

_CHECKED_WHOLE_MAX = 16 << 20
"""Bytes of a file that a start checks whole. Of a larger one it checks what it takes up, and each value when it is
read: a start must not take longer with each day. ``organism ledger verify`` checks the whole of any."""


class SqliteFile:
    """An open file.

    Args:
        path: Where it is; made with its folder if it is not there, for its owner only.
        vfs: The name of an apsw VFS to open it through; the system's own unless given.

    Raises:
        JournalError: If it cannot be opened, is in use, of a newer program, or no journal.
        JournalBrokenError: If it is damaged.
    """

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self.path = path
        self._vfs = vfs
        self._lock = Lock()
        self._connection: apsw.Connection | None = None
        self._hash = GENESIS
        self._identity: tuple[int, int] | None = None
        with explained(path):
            self._connect(check=True)

    def close(self) -> None:
        """Close it; the write-ahead log is folded into it."""
        with self._lock, explained(self.path):
            self._disconnect()

    # -- opening --------------------------------------------------------------------------------------------------

    @property
    def _db(self) -> apsw.Connection:
        """The connection; made anew where an error has taken it away."""
        return self._connection or self._connect(check=False)

    def _connect(self, *, check: bool) -> apsw.Connection:
        if self._identity is not None:
            self._refuse_removed()  # opened anew after an error: never a fresh file in the place of one that is gone
        make_private(self.path)
        refuse_emptied(self.path)
        db = apsw.Connection(str(self.path), vfs=self._vfs)
        try:
            for pragma in PRAGMAS:
                db.execute(pragma).fetchall()
            if check:
                self._check(db)
            with transaction(db):  # takes the lock now, so that a second owner learns of the first at once
                self._migrate(db)
            made(self.path)
            found = _rows(db, "SELECT hash FROM entries ORDER BY seq DESC LIMIT 1")
        except BaseException:
            db.close(True)
            raise
        self._connection = db
        self._identity = identity_of(self.path)
        self._hash = bytes(found[0][0]) if found else GENESIS
        return db

    def _disconnect(self) -> None:
        db, self._connection = self._connection, None
        if db is not None:
            try:
                db.close()
            finally:
                db.close(True)

    def _check(self, db: apsw.Connection) -> None:
        """Refuse what is no journal, newer than this program, or damaged."""
        version, application = _one(db, "PRAGMA user_version"), _one(db, "PRAGMA application_id")
        if version == 0 and application == 0 and not _one(db, "SELECT count(*) FROM sqlite_schema"):
            return
        if application != APPLICATION_ID:
            raise JournalError(f"{self.path} is a database, but not a journal of organism; use another --state")
        if version > VERSION:
            raise JournalError(
                f"the journal {self.path} has version {version}, but this organism knows versions up to {VERSION}; "
                f"upgrade organism"
            )
        if self.path.stat().st_size <= _CHECKED_WHOLE_MAX and (fault := first_fault(db, "quick_check(1)")):
            raise self._damaged(fault)
        for table in ("pieces", "meta", *(("head",) if version > 1 else ())):
            if fault := first_fault(db, f"integrity_check({table})"):
                raise self._damaged(fault)

    def _migrate(self, db: apsw.Connection) -> None:
        """Take the steps that this file has not taken yet, all of them or none."""
        version = _one(db, "PRAGMA user_version")
        for step in MIGRATIONS[version:]:
            db.execute(step)
        if version < VERSION:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")

    # -- writing --------------------------------------------------------------------------------------------------

    @property
    def batch_number(self) -> int:
        """The number of the last batch that was written."""
        with self._lock, explained(self.path):
            return self._last_batch()

    def _last_batch(self) -> int:
        return _one(self._db, "SELECT value FROM meta WHERE key = 'batch'")

    def write(self, batch: Batch, number: int) -> None:
        """Write a batch, whole or not at all. One that was written before, by its number, is not written again.

        Raises:
            JournalFullError: If there is no room for it.
            JournalError: If it could not be written, or it is not known whether it was: :meth:`reopen`, and look.
            JournalBrokenError: If the file cannot be trusted any more.
        """
        with self._lock, explained(self.path):
            self._refuse_removed()
            last = self._last_batch()
            if last >= number:
                self._expect(last, number)
                return
            rows = list(chained(batch.entries, self._hash))
            with transaction(self._db):
                self._insert(batch, rows)
                self._db.execute("UPDATE meta SET value = ? WHERE key = 'batch'", (number,))
            self._hash = rows[-1][-1] if rows else self._hash

    def _refuse_removed(self) -> None:
        """Notice that the file was removed or replaced: what is written then goes where nobody finds it again.

        Raises:
            JournalBrokenError: If so.
        """
        if self._vfs is None and identity_of(self.path) != self._identity:
            raise JournalBrokenError(
                f"the journal {self.path} was removed or replaced while it was in use, so nothing can be kept; "
                "put it back if you can, and start organism again"
            )

    def before_commit(self, reached: Callable[[], None]) -> None:
        """Call back between the last write of a transaction and its commit; must not raise."""

        def let_go_on() -> bool:
            reached()
            return False

        self._db.set_commit_hook(let_go_on)

    def reopen(self, number: int) -> bool:
        """Open the file anew after an error of which nobody knows what it has left behind.

        Args:
            number: The number of the batch that was being written.

        Returns:
            Whether it was written after all.

        Raises:
            JournalError: If it cannot be opened; the next use tries again.
            JournalBrokenError: If somebody else has written to it meanwhile.
        """
        with self._lock, explained(self.path):
            self._forsake()
            last = self._last_batch()
            self._expect(last, number)
            return last == number

    def _forsake(self) -> None:
        """Let go of the connection without writing anything more through it, whatever it says."""
        db, self._connection = self._connection, None
        if db is not None:
            with suppress(apsw.Error):
                db.close(True)

    def _expect(self, last: int, number: int) -> None:
        if last > number:
            raise JournalBrokenError(f"another process has written to the journal {self.path}; start organism again")

    def _insert(self, batch: Batch, rows: list[tuple[*EntryRow, bytes]]) -> None:
        db = self._db
        self._insert_pieces(batch)
        if rows:
            db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        if batch.events:
            db.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
                ((*event, checksum(str(event[0]), event[-1])) for event in batch.events),
            )
        if batch.remembered:
            db.executemany("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?, ?, ?)", batch.remembered)
        self._move_head(rows, batch.events)

    def _move_head(self, rows: list[tuple[*EntryRow, bytes]], events: list[EventRow]) -> None:
        """Say which entry and which event are the last now, in one statement: most batches have both."""
        if not (rows or events):
            return
        seq, digest = (rows[-1][0], rows[-1][-1]) if rows else (None, None)
        event = events[-1][0] if events else None
        moved = "UPDATE head SET seq = coalesce(?, seq), hash = coalesce(?, hash), event = coalesce(?, event)"
        self._db.execute(moved, (seq, digest, event))

    def _insert_pieces(self, batch: Batch) -> None:
        """Bring the live state up to date, and with it how much of it there is: what is missing later is detected."""
        if not (batch.ended or batch.gone or batch.kept):
            return
        db = self._db
        fresh = [(*piece, checksum(*piece)) for piece in batch.kept]
        ended = ((thread_id,) for thread_id in batch.ended)
        old = [crc for (crc,) in db.executemany("DELETE FROM pieces WHERE thread_id = ? RETURNING checksum", ended)]
        gone = ((key,) for key in batch.gone)
        old += [crc for (crc,) in db.executemany("DELETE FROM pieces WHERE key = ? RETURNING checksum", gone)]
        replaced = ((piece[0],) for piece in fresh)
        old += [crc for (crc,) in db.executemany("SELECT checksum FROM pieces WHERE key = ?", replaced)]
        db.executemany(
            "INSERT INTO pieces (key, thread_id, body, checksum) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET body = excluded.body, checksum = excluded.checksum",
            fresh,
        )
        more, total = len(fresh) - len(old), sum(piece[-1] for piece in fresh) - sum(old)
        db.execute("UPDATE head SET pieces = pieces + ?, pieces_sum = pieces_sum + ?", (more, total))

    def forget(self, retention: Retention, rows: int = 2000) -> bool:
        """Delete what is older than it need be kept, a bounded number of rows at a time.

        Returns:
            Whether there may be more of it.
        """
        with self._lock, explained(self.path), transaction(self._db):
            db, now_ns = self._db, newest_ns(self._db)
            db.execute(
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE time_ns < ? ORDER BY id LIMIT ?)",
                (now_ns - retention.events_ns, rows),
            )
            gone = db.changes()
            db.execute(
                "DELETE FROM entries WHERE seq IN (SELECT seq FROM entries WHERE time_ns < ? AND seq < "
                "(SELECT max(seq) FROM entries WHERE kind = 'Checkpoint') ORDER BY seq LIMIT ?)",
                (now_ns - retention.entries_ns, rows),
            )
            most = max(gone, db.changes())
            db.execute(
                "DELETE FROM remembered WHERE key IN (SELECT key FROM remembered WHERE until_ns < ? LIMIT ?)",
                (now_ns, rows),
            )
            most = max(most, db.changes())
            db.execute(
                "DELETE FROM remembered WHERE key IN "
                "(SELECT key FROM remembered WHERE until_ns IS NULL AND time_ns < ? LIMIT ?)",
                (now_ns - retention.entries_ns, rows),
            )
            return max(most, db.changes()) >= rows

    def _damaged(self, what: str) -> JournalBrokenError:
        return damaged(self.path, what)

    # -- reading --------------------------------------------------------------------------------------------------

    def load(self) -> Stored:
        """Return everything that is needed to go on.

        Raises:
            JournalBrokenError: If a value in it is not the one that was written.
        """
        with self._lock, explained(self.path):
            db = self._db
            check_complete(missing(db), str(self.path), self._damaged)
            start = _one(db, "SELECT coalesce(max(seq), 1) FROM entries WHERE kind = 'Checkpoint'")
            before = _rows(db, "SELECT hash FROM entries WHERE seq = ?", start - 1)
            entries = _rows(db, "SELECT seq, body, hash FROM entries WHERE seq >= ? ORDER BY seq", start)
            pieces = _rows(db, "SELECT key, thread_id, body, checksum FROM pieces ORDER BY seq")
            last = bytes(before[0][0]) if before else GENESIS if start == 1 else None
            return Stored(
                entries=checked_entries(entries, start, last, self._damaged),
                pieces=checked_pieces(pieces, self._damaged),
                # Not the newest that is there: an id whose event was taken out must not be given again.
                last_event=_one(db, "SELECT max(event, (SELECT coalesce(max(id), 0) FROM events)) FROM head"),
                last_time_ns=newest_ns(db),
            )

    def head(self) -> Head:
        """Read the whole file, and return where the journal ends and what is wrong with it or missing."""
        with self._lock, explained(self.path):
            head, fault = read_head(self._db), first_fault(self._db, "quick_check(1)")
            return (
                msgspec.structs.replace(head, faults=(*head.faults, f"the file is damaged: {fault}")) if fault else head
            )

    def remembered(self, key: str) -> str | None:
        """Return what is remembered under a key; see :meth:`organism.journal.Journal.remembered`.

        Raises:
            JournalBrokenError: If it is not what was written.
        """
        with self._lock, explained(self.path):
            db = self._db
            found = _rows(db, "SELECT until_ns, value, checksum FROM remembered WHERE key = ?", key)
            if not found or (found[0][0] is not None and found[0][0] < newest_ns(db)):
                return None
            _, value, crc = found[0]
            if value and checksum(key, value) != crc:
                raise self._damaged(f"{key} is not what was written")
            return str(value)

    def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return events; see :class:`organism.usage.event_log.EventLog`.

        Raises:
            EventsGoneError: If some after that one have been forgotten.
            JournalBrokenError: If one of them is not what was written.
        """
        with self._lock, explained(self.path):
            db = self._db
            oldest = _one(db, "SELECT coalesce(min(id), 1) FROM events")
            query = "SELECT id, body, checksum FROM events WHERE id > ? ORDER BY id LIMIT ?"
            return next_events(after, oldest, lambda last: _rows(db, query, last, limit), self._damaged)

    def entries_after(self, after: int, limit: int) -> list[StoredEntry]:
        """Return ledger entries; see :class:`organism.journal.EntryLog`."""
        with self._lock, explained(self.path):
            query = "SELECT seq, body, hash FROM entries WHERE seq > ? ORDER BY seq LIMIT ?"
            return [StoredEntry(seq, body, digest) for seq, body, digest in _rows(self._db, query, after, limit)]


def _rows(db: apsw.Connection, query: str, *values: int | str) -> list[tuple[Any, ...]]:
    return db.execute(query, values).fetchall()


def _one(db: apsw.Connection, query: str) -> int:
    return int(_rows(db, query)[0][0])
