"""One SQLite file with a journal in it: opened by one owner, checked, brought up to date, written in whole batches.

Everything here blocks; :mod:`organism.stores.sqlite` calls it on a worker thread.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import apsw
import msgspec

from organism.journal import JournalBrokenError, JournalError, JournalFullError, Piece, Stored, StoredEntry
from organism.private_files import UnsafeFileError, open_private
from organism.stores.batch import Batch, EntryRow, chain_hash, chained, checksum
from organism.stores.schema import APPLICATION_ID, MIGRATIONS, PRAGMAS, VERSION
from organism.usage.event_log import check_kept
from organism.usage.events import AnyEvent, decode_event

GENESIS = bytes(32)
"""What the hash of the first entry is chained to."""

_RESCUE = "keep a copy of the folder, then restore a backup or start with another --state"


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What is forgotten when; open threads and the balances of open accounts never are.

    Attributes:
        events_ns: How long events are kept.
        entries_ns: How long ledger entries are kept, once a checkpoint stands for them.
    """

    events_ns: int = 90 * 86_400 * 1_000_000_000
    entries_ns: int = 400 * 86_400 * 1_000_000_000


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
        _make_private(self.path)
        _refuse_emptied(self.path)
        db = apsw.Connection(str(self.path), vfs=self._vfs)
        try:
            for pragma in PRAGMAS:
                db.execute(pragma).fetchall()
            if check:
                self._check(db)
            with transaction(db):  # takes the lock now, so that a second owner learns of the first at once
                self._migrate(db)
            found = _rows(db, "SELECT hash FROM entries ORDER BY seq DESC LIMIT 1")
        except BaseException:
            db.close(True)
            raise
        self._connection = db
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
        for check in ("quick_check(1)", "integrity_check(pieces)", "integrity_check(meta)"):
            faults = [str(row[0]) for row in db.execute(f"PRAGMA {check}") if row[0] != "ok"]
            if faults:
                raise _damaged(self.path, faults[0])

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
            last = self._last_batch()
            if last >= number:
                self._expect(last, number)
                return
            rows = list(chained(batch.entries, self._hash))
            with transaction(self._db):
                self._insert(batch, rows)
                self._db.execute("UPDATE meta SET value = ? WHERE key = 'batch'", (number,))
            self._hash = rows[-1][-1] if rows else self._hash

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
        if batch.ended:
            db.executemany("DELETE FROM pieces WHERE thread_id = ?", ((thread_id,) for thread_id in batch.ended))
        if batch.gone:
            db.executemany("DELETE FROM pieces WHERE key = ?", ((key,) for key in batch.gone))
        if batch.kept:
            db.executemany(
                "INSERT INTO pieces (key, thread_id, body, checksum) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET body = excluded.body, checksum = excluded.checksum",
                ((*piece, checksum(*piece)) for piece in batch.kept),
            )
        if rows:
            db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        if batch.events:
            db.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
                ((*event, checksum(str(event[0]), event[-1])) for event in batch.events),
            )

    def forget(self, retention: Retention, rows: int = 2000) -> bool:
        """Delete what is older than it need be kept, a bounded number of rows at a time.

        Returns:
            Whether there may be more of it.
        """
        with self._lock, explained(self.path), transaction(self._db):
            db, now_ns = self._db, _last_time_ns(self._db)
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
            return rows in (gone, db.changes())

    # -- reading --------------------------------------------------------------------------------------------------

    def load(self) -> Stored:
        """Return everything that is needed to go on.

        Raises:
            JournalBrokenError: If a value in it is not the one that was written.
        """
        with self._lock, explained(self.path):
            db = self._db
            start = _one(db, "SELECT coalesce(max(seq), 1) FROM entries WHERE kind = 'Checkpoint'")
            before = _rows(db, "SELECT hash FROM entries WHERE seq = ?", start - 1)
            entries = _rows(db, "SELECT seq, body, hash FROM entries WHERE seq >= ? ORDER BY seq", start)
            pieces = _rows(db, "SELECT key, thread_id, body, checksum FROM pieces ORDER BY seq")
            last = bytes(before[0][0]) if before else GENESIS if start == 1 else None
            for expected, (seq, body, digest) in enumerate(entries, start):
                if seq != expected or (last is not None and chain_hash(last, body) != digest):
                    raise _damaged(self.path, f"ledger entry {expected} is not what was written")
                last = digest
            for key, thread_id, body, crc in pieces:
                if checksum(key, thread_id, body) != crc:
                    raise _damaged(self.path, f"{key} of thread {thread_id} is not what was written")
            return Stored(
                entries=[body.encode() for (_, body, _) in entries],
                pieces=tuple(Piece(key, thread_id, body.encode()) for key, thread_id, body, _ in pieces),
                last_event=_one(db, "SELECT coalesce(max(id), 0) FROM events"),
                last_time_ns=_last_time_ns(db),
            )

    def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return events; see :class:`organism.usage.event_log.EventLog`.

        Raises:
            JournalBrokenError: If one of them is not what was written.
        """
        with self._lock, explained(self.path):
            db = self._db
            oldest = _one(db, "SELECT coalesce(min(id), 1) FROM events")
            check_kept(after, oldest - 1, f"{oldest:016d}")
            query = "SELECT id, body, checksum FROM events WHERE id > ? ORDER BY id LIMIT ?"
            found = _rows(db, query, int(after or 0), limit)
            for number, body, crc in found:
                if checksum(str(number), body) != crc:
                    raise _damaged(self.path, f"event {number} is not what was written")
            return [decode_event(body) for (_, body, _) in found]

    def entries_after(self, after: int, limit: int) -> list[StoredEntry]:
        """Return ledger entries; see :class:`organism.journal.EntryLog`."""
        with self._lock, explained(self.path):
            query = "SELECT seq, body, hash FROM entries WHERE seq > ? ORDER BY seq LIMIT ?"
            return [StoredEntry(seq, body, digest) for seq, body, digest in _rows(self._db, query, after, limit)]


def _rows(db: apsw.Connection, query: str, *values: int | str) -> list[tuple[Any, ...]]:
    return db.execute(query, values).fetchall()


def _one(db: apsw.Connection, query: str) -> int:
    return int(_rows(db, query)[0][0])


def _last_time_ns(db: apsw.Connection) -> int:
    """Return the newest instant: time never goes back, and what is newest is never forgotten."""
    newest = (
        "SELECT time_ns FROM entries ORDER BY seq DESC LIMIT 1",
        "SELECT time_ns FROM events ORDER BY id DESC LIMIT 1",
    )
    return max((time_ns for query in newest for (time_ns,) in _rows(db, query)), default=0)


@contextmanager
def transaction(db: apsw.Connection) -> Iterator[None]:
    """Do everything inside or nothing. IMMEDIATE: one that only reads at first could not become a writer later."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk has rolled it back already
            db.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the system into ours, which say what to do."""
    try:
        yield
    except apsw.FullError as error:
        raise JournalFullError(f"the disk of {path} is full ({error}); work goes on when there is room") from None
    except apsw.BusyError:
        raise JournalError(f"the journal {path} is in use by another process") from None
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError) as error:
        raise JournalError(f"the journal {path} cannot be written ({error}); check the folder and its owner") from None
    except (apsw.NotADBError, apsw.CorruptError, apsw.FormatError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None
    except apsw.IOError as error:
        if getattr(error, "extendedresult", 0) in _UNSURE:
            # After a failed sync the system may have thrown away what it could not write: only a new start tells.
            raise JournalBrokenError(
                f"the journal {path} could not be synced ({error}); start organism again"
            ) from None
        raise JournalError(f"the journal {path} cannot be written ({error})") from None
    except apsw.Error as error:
        raise JournalBrokenError(f"the journal {path} refused a record ({type(error).__name__}: {error})") from None
    except UnsafeFileError as error:
        raise JournalError(f"the journal cannot be used: {error}") from None
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be used: {error.strerror}") from None


def _damaged(path: Path, what: str) -> JournalBrokenError:
    return JournalBrokenError(f"the journal {path} is damaged ({what}); {_RESCUE}")


_UNSURE = frozenset((apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC))


def _make_private(path: Path) -> None:
    """Make the folder and the file for their owner only, and refuse files beside it that may be somebody else's.

    SQLite follows links and takes up any log that lies beside its file; so each is looked at before it opens them.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(open_private(path, os.O_RDWR | os.O_CREAT, tighten=True))
    for end in _BESIDE:
        beside = path.with_name(path.name + end)
        if os.path.lexists(beside):
            os.close(open_private(beside, os.O_RDWR, tighten=True))


_BESIDE = ("-wal", "-shm", "-journal")


def _refuse_emptied(path: Path) -> None:
    """Refuse what SQLite would take for a new file, and throw away what is left of an old one."""
    size = path.stat().st_size
    log, undo = (path.with_name(path.name + end) for end in ("-wal", "-journal"))
    if size == 0 and log.exists() and log.stat().st_size > 0:
        raise _damaged(path, "it is empty, but its write-ahead log is not")
    if 0 < size < _PAGE_MIN and not undo.exists():
        raise _damaged(path, f"it has only {size} bytes")


_PAGE_MIN = 512
"""Bytes of SQLite's smallest page; a file is never smaller unless it is empty."""
