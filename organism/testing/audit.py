"""An audit of a journal file whose process has ended: do entries, events and live state agree, is nothing missing?"""

from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from organism.amounts import ZERO, Amounts
from organism.amounts.account import thread_account
from organism.journal import Piece
from organism.ledger.entries import AnyEntry, decode_entry
from organism.stores.batch import GENESIS, chain_hash
from organism.stores.group_storage import GroupStorage
from organism.stores.memory import MemoryJournal
from organism.stores.sqlite_file import SqliteFile
from organism.testing.books import Books, Line
from organism.threads.records import CLOSED, MESSAGE, THREAD, ResultRecord
from organism.usage.events import AnyEvent, ThreadClosed, ThreadOpened, UsageEvent

_PAGE = 1000

Follow = Callable[[Books, AnyEntry], object]


class Audit(msgspec.Struct, kw_only=True):
    """What an audit has found.

    Attributes:
        findings: Everything that is not right, each in a sentence; empty when all is.
        entries: Ledger entries read.
        lines: Every hold, resolved or not.
        unresolved: Holds of calls that nothing has resolved.
        events: All events in order.
        opened: Threads that were opened, and how often that was told.
        closed: Threads that have ended, likewise.
        alive: Threads whose live state is kept.
        waiting: The messages that no handler has finished, by thread, as JSON objects.
        results: How threads ended, of those of which it is still kept.
    """

    findings: list[str] = []
    entries: int = 0
    lines: list[Line] = []
    unresolved: tuple[Line, ...] = ()
    events: list[AnyEvent] = []
    opened: Counter[str] = msgspec.field(default_factory=Counter)
    closed: Counter[str] = msgspec.field(default_factory=Counter)
    alive: set[str] = set()
    waiting: dict[str, list[dict[str, Any]]] = msgspec.field(default_factory=lambda: defaultdict(list))
    results: dict[str, ResultRecord] = {}

    def recorded(self) -> dict[tuple[str, str], Amounts]:
        """Return what was charged, by thread and the message whose handling asked; what is open counts as its hold."""
        sums: dict[tuple[str, str], Amounts] = defaultdict(Amounts)
        for line in self.lines:
            if line.call is not None:
                sums[line.call.thread_id, line.call.message_id] += (
                    line.amounts if line.charged is None else line.charged
                )
        return dict(sums)


def audit_journal(path: Path, *, enforced: bool = True, follow: Follow | None = None) -> Audit:
    """Audit a journal; nobody may have it open.

    Args:
        path: The file.
        enforced: Whether no limit may have been passed: it was only used in mode ``enforce``.
        follow: Called with each entry, and the books with it in them.

    Raises:
        JournalError: If it cannot be opened.
        JournalBrokenError: If it is damaged.
    """
    with closing(SqliteFile(path)) as file:
        return audit_storage(file, enforced=enforced, follow=follow)


def audit_storage(file: GroupStorage, *, enforced: bool = True, follow: Follow | None = None) -> Audit:
    """Audit an open journal that nobody writes to; see :func:`audit_journal`."""
    audit = Audit()
    books = _read_entries(file, audit, enforced=enforced, follow=follow)
    pieces = file.load().pieces
    after = ""
    while page := file.events_after(after, _PAGE):
        audit.events.extend(page)
        after = page[-1].id
    _check(audit, books, pieces)
    return audit


def audit_memory(kept: MemoryJournal, books: Books) -> Audit:
    """Audit what a journal in memory has kept, whose entries these books have."""
    stored = kept.load()
    audit = Audit(entries=len(books.lines), events=list(kept.events()))
    _check(audit, books, stored.pieces)
    return audit


def _check(audit: Audit, books: Books, pieces: tuple[Piece, ...]) -> None:
    audit.lines = list(books.lines.values())
    audit.unresolved = books.unresolved
    _check_events(audit, books)
    _check_pieces(audit, pieces)


def _read_entries(file: GroupStorage, audit: Audit, *, enforced: bool, follow: Follow | None) -> Books:
    books = Books(audit.findings.append, enforced=enforced)
    last: bytes | None = None
    after = 0
    while page := file.entries_after(after, _PAGE):
        for stored in page:
            if last is None and stored.seq == 1:
                last = GENESIS
            if last is not None and chain_hash(last, stored.body) != stored.hash:
                audit.findings.append(f"entry {stored.seq} is not what was written, or the one before it is missing")
            last = stored.hash
            entry = decode_entry(stored.body.encode())
            books.enter(entry)
            if follow is not None:
                follow(books, entry)
            audit.entries += 1
        after = page[-1].seq
    return books


def _check_events(audit: Audit, books: Books) -> None:
    """Every resolved call has one event, as it was charged; every thread's beginning and end has one."""
    lines = {(line.call.call_id, line.call.attempt): line for line in books.lines.values() if line.call is not None}
    told: Counter[tuple[str, int]] = Counter()
    last = int(audit.events[0].id) - 1 if audit.events else 0
    for event in audit.events:
        if int(event.id) != last + 1:
            audit.findings.append(f"event {event.id} follows {last}")
        last = int(event.id)
        match event:
            case ThreadOpened(thread_id=thread_id):
                audit.opened[thread_id] += 1
            case ThreadClosed(thread_id=thread_id):
                audit.closed[thread_id] += 1
                if event.budget.spent not in books.final.get(thread_account(thread_id), ()):
                    audit.findings.append(f"the end of thread {thread_id} tells another budget than the ledger")
            case UsageEvent(call_id=call_id, attempt=attempt):
                told[call_id, attempt] += 1
                _compare(event, lines.get((call_id, attempt)), audit)
            case _:
                pass
    for key, line in lines.items():
        resolved = line.charged is not None
        # A call that was called off before it left is nobody's news.
        if told[key] != resolved and (line.source != "released" or told[key] > 1):
            audit.findings.append(f"attempt {key[1]} of {key[0]} ({line.source or 'open'}) was told {told[key]} times")
    audit.findings.extend(
        f"thread {name} was opened {times} times" for name, times in audit.opened.items() if times > 1
    )
    audit.findings.extend(
        f"thread {name} was closed {times} times" for name, times in audit.closed.items() if times > 1
    )


def _compare(event: UsageEvent, line: Line | None, audit: Audit) -> None:
    if line is None:
        audit.findings.append(f"attempt {event.attempt} of {event.call_id} was told, but nothing was held for it")
        return
    charged = line.charged or ZERO
    if event.usage.total != charged.tokens or (event.cost_nanousd or 0) != charged.cost_nanousd:
        audit.findings.append(
            f"attempt {event.attempt} of {event.call_id} was told as {event.usage.total} tokens and "
            f"{event.cost_nanousd} nano-USD, but charged as {charged}"
        )


def _check_pieces(audit: Audit, pieces: tuple[Piece, ...]) -> None:
    """Live state is kept of open threads, of all of them, and of no others."""
    ends = (msgspec.json.decode(p.body, type=ResultRecord) for p in pieces if p.key.startswith(f"{CLOSED}:"))
    audit.results = {end.thread_id: end for end in ends}
    audit.alive = {piece.thread_id for piece in pieces if piece.key.startswith(f"{THREAD}:")}
    for piece in pieces:
        if piece.key.startswith(f"{MESSAGE}:"):
            audit.waiting[piece.thread_id].append(msgspec.json.decode(piece.body))
    supposed = set(audit.opened) - set(audit.closed)
    audit.findings.extend(f"thread {name} was opened, never closed, and is lost" for name in supposed - audit.alive)
    audit.findings.extend(f"thread {name} is kept, but not open" for name in audit.alive - supposed)
    strays = {piece.thread_id for piece in pieces if piece.thread_id} - audit.alive
    audit.findings.extend(f"something is left of thread {name}, which is not open" for name in strays)
