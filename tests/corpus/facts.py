"""What a journal says, as a text to compare byte for byte, and journals packed and unpacked."""

import lzma
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import msgspec

from organism.ledger.entries import ThresholdFired, decode_entry
from organism.ledger.ledger import Ledger
from organism.stores.sqlite_file import SqliteFile

JOURNALS = Path(__file__).parent / "journals"
_PAGE = 1_000


def facts(path: Path) -> str:
    """Return balances, warnings, open holds, live state and events of a journal.

    Only what the program that wrote it can have known: a field that is new today changes nothing here.

    Raises:
        JournalError: It cannot be read.
    """
    with closing(apsw.Connection(str(path))) as connection:
        kept: dict[int, str] = dict(connection.execute("SELECT id, body FROM events").fetchall())
    file = SqliteFile(path)
    try:
        return "\n".join([*_balances(file), *_events(file, kept)]) + "\n"
    finally:
        file.close()


def _balances(file: SqliteFile) -> Iterator[str]:
    stored = file.load()
    ledger, fired = Ledger(), []
    for body in stored.entries:
        ledger.take_up(body)
        fired += [body.decode()] if isinstance(decode_entry(body), ThresholdFired) else []
    yield f"entries {len(stored.entries)}, events to {stored.last_event}, pieces {len(stored.pieces)}"
    for account in sorted(ledger.accounts):
        balance = ledger.balance(account)
        told = (f"{name} {_amounts(getattr(balance, name))}" for name in ("limits", "spent", "held"))
        yield f"balance {account} revision {balance.revision}: {', '.join(told)}"
    yield from (f"warning {body}" for body in fired)
    yield from (f"hold {hold.hold_id}" for hold in ledger.open_holds)
    yield from (f"piece {piece.key} of {piece.thread_id}" for piece in stored.pieces)


def _amounts(amounts: object) -> str:
    return " ".join(f"{getattr(amounts, name)}" for name in ("tokens", "cost_nanousd", "calls"))


def _events(file: SqliteFile, kept: dict[int, str]) -> Iterator[str]:
    after = ""
    while page := file.events_after(after, _PAGE):
        after = page[-1].id
        for event in page:
            body = kept.pop(int(event.id))
            read = msgspec.json.decode(msgspec.json.encode(event))
            yield f"event {body}" if holds(read, msgspec.json.decode(body)) else f"event read otherwise: {body}"
    yield from (f"event not read: {body}" for body in kept.values())


def holds(read: object, written: object) -> bool:
    """Whether all that was written stands in what was read, which may have more to it."""
    if isinstance(written, dict):
        return isinstance(read, dict) and all(holds(read.get(name), each) for name, each in written.items())
    if isinstance(written, list):
        return isinstance(read, list) and len(read) == len(written) and all(map(holds, read, written))
    return read == written


def unpack(name: str, path: Path) -> None:
    """Write a journal of the corpus to a file."""
    path.write_bytes(lzma.decompress((JOURNALS / f"{name}.db.xz").read_bytes()))


def pack(path: Path, name: str) -> None:
    """Put a journal into the corpus as it is, with what it says today, which opening it may change the file for."""
    JOURNALS.joinpath(f"{name}.db.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9))
    JOURNALS.joinpath(f"{name}.txt").write_text(facts(path), encoding="utf-8")
