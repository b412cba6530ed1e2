"""Where recorded events come from: a file of lines, a journal, or the running daemon."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from organism.cli.client import Client, UnreachableError
from organism.cli.ledger_sources import events_of, partitions_of
from organism.config.file_reading import read_bounded
from organism.daemon.journal_file import JOURNAL_FILE
from organism.errors import ConfigError
from organism.usage.events import AnyEvent

_SQLITE = b"SQLite format 3\0"


class _Enveloped(msgspec.Struct):
    """An event inside a CloudEvent."""

    specversion: str
    data: AnyEvent


def recorded_events(
    source: Path | None, folder: Path, database: Callable[[], str | None] = lambda: None
) -> Iterator[AnyEvent]:
    """Return recorded events, oldest first.

    Args:
        source: A file of events as ``organism events`` prints them or as CloudEvents, one a line; ``-`` for standard
            input; or a journal. Without it, the state folder is asked: its daemon if one runs, else its journal.
        folder: The state folder.
        database: Returns the URL of the database that the journal is in, if it is in none of the folder; asked for
            only if no daemon runs.

    Raises:
        ConfigError: If there is nothing, or it cannot be read.
        JournalError: If a journal is in use or damaged.
    """
    if source is None:
        try:
            return _of_daemon(Client.of(folder))
        except UnreachableError:
            url = database()
            return _of_journal(folder / JOURNAL_FILE) if url is None else _of_database(url)
    if str(source) != "-" and _is_journal(source):
        return _of_journal(source)
    return _of_lines(source)


def _of_daemon(client: Client) -> Iterator[AnyEvent]:
    """Read a daemon's pages; the first at once, so that a daemon that is gone is noticed here."""
    first = client.page("")

    def pages() -> Iterator[AnyEvent]:
        page = first
        while True:
            yield from (envelope.data for envelope in page.events)
            if not page.more:
                return
            page = client.page(page.next)

    return pages()


def _of_journal(path: Path) -> Iterator[AnyEvent]:
    if not path.is_file():
        raise ConfigError(
            "nothing is recorded here; name a file of events, or the --state folder of a daemon", where=str(path)
        )
    from organism.stores.sqlite_file import SqliteFile

    with closing(SqliteFile(path)) as journal:
        yield from events_of(journal)


def _of_database(url: str) -> Iterator[AnyEvent]:
    from organism.stores.postgres.database import PostgresDatabase
    from organism.stores.postgres.preparation import layout_of

    if (layout := layout_of(url)).partitions > 1:
        # One after the other: all at once would take as many connections as a node has.
        found = (event for _, journal in partitions_of(url, layout) for event in events_of(journal))
        yield from sorted(found, key=lambda event: event.time_ns)
        return
    with closing(PostgresDatabase(url, take=False)) as database:
        yield from events_of(database)


def _of_lines(path: Path) -> Iterator[AnyEvent]:
    plain = msgspec.json.Decoder(AnyEvent)
    enveloped = msgspec.json.Decoder(_Enveloped)
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield plain.decode(line)
        except msgspec.MsgspecError as error:
            try:
                yield enveloped.decode(line).data
            except msgspec.MsgspecError:
                raise ConfigError(f"not an event: {error}", where=f"{path}:{number}") from None


def _is_journal(path: Path) -> bool:
    if not path.is_file():
        return False  # a pipe, of which these bytes would be missing then; reading it says what is wrong
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _text(path: Path) -> str:
    return sys.stdin.read() if str(path) == "-" else read_text(path)


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return read_bounded(path, sys.maxsize - 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"cannot be read: {reason}", where=str(path)) from None
