"""What PostgreSQL and the network say, in sentences that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from organism.journal import JournalBrokenError, JournalError, JournalFullError


def place_of(url: str) -> str:
    """Return what to call a database: never its password.

    Raises:
        JournalError: If it is no address of a database.
    """
    parts: dict[str, Any] = {}
    reason = "there is an @ where none can be" if _has_stray_at(url) else ""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        # Not what it quotes: a password with such a character is read as something else.
        reason = _line(error).partition('"')[0].strip(" :")
    if reason:
        raise JournalError(
            f"the database's URL cannot be read ({reason}); write postgresql://user@host:port/database, and "
            "%25, %2F, %40 for each %, / and @ of a password"
        )
    host, port = parts.get("host") or "this machine", parts.get("port")
    return f"PostgreSQL at {host}{f':{port}' if port else ''}, database {parts.get('dbname') or 'of the user'}"


def _has_stray_at(url: str) -> bool:
    """Whether there is an ``@`` in an address, or behind it, where only one that ends a name and a password can be."""
    _, scheme, rest = url.partition("://")
    names, at, address = rest.partition("?")[0].partition("@")
    return bool(scheme and at) and ("/" in names or "@" in address)


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn errors of the driver into ours, which say what to do."""
    try:
        yield
    except errors.DiskFull as error:
        raise JournalFullError(f"{place} has no room ({_cause(error)}); work goes on when there is") from None
    except errors.InsufficientPrivilege as error:
        raise JournalError(
            f"{place} does not let this user ({_line(error)}); the user must own the schema 'organism' or be allowed "
            "to make it: GRANT CREATE ON DATABASE"
        ) from None
    except errors.ReadOnlySqlTransaction as error:
        raise JournalError(f"{place} takes no writes now ({_line(error)}); connect to the primary") from None
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName) as error:
        what = error.diag.message_primary
        raise JournalBrokenError(
            f"{place} has lost tables of organism ({what}); restore the newest copy of the database"
        ) from None
    except (errors.DataError, errors.IntegrityError, errors.ProgrammingError) as error:
        if isinstance(error, errors.CheckViolation) and error.diag.constraint_name == "fenced":
            raise JournalError(f"{place} did not take a group that is not the next one of its owner") from None
        raise JournalBrokenError(f"{place} refused a record ({type(error).__name__}: {_line(error)})") from None
    except (psycopg.Error, OSError) as error:
        raise JournalError(
            f"{place} cannot be reached or has failed ({_cause(error)}); it is tried again, and what waits is kept"
        ) from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _cause(error: BaseException) -> str:
    """Return what the server or the network says of itself, without colons: a log line shows nothing behind one."""
    quotes_nobody = isinstance(error, psycopg.OperationalError | OSError)
    return _line(error).replace(": ", ", ") if quotes_nobody else _line(error)
