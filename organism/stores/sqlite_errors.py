"""What SQLite and the system say, in sentences that say what to do; and transactions that are whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from organism.journal import JournalBrokenError, JournalError, JournalFullError
from organism.stores.private_files import UnsafeFileError

RESCUE = (
    "'organism ledger verify' says what is wrong with it; keep a copy of the folder, then restore a backup or start "
    "with another --state"
)


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
        raise damaged(path, str(error)) from None
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


def damaged(path: Path, what: str) -> JournalBrokenError:
    """Return the error for a file that does not hold what was written."""
    return JournalBrokenError(f"the journal {path} is damaged ({what}); {RESCUE}")


_UNSURE = frozenset((apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC))
