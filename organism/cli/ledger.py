"""Commands that read the ledger, a daemon's or a journal's: verify it, hand it out, tell where a budget has gone."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from msgspec.structs import replace

from organism.amounts import DIMENSIONS, NS_PER_S, Amounts, Limits, format_amount, format_usd
from organism.budget.scopes import thread_account
from organism.budget.thresholds import limit_of
from organism.cli import exits
from organism.cli.client import Client, UnreachableError
from organism.cli.output import print_csv, print_json, print_json_text, print_line, print_text
from organism.cli.terminal import Table, Terminal
from organism.daemon.journal_file import JOURNAL_FILE
from organism.daemon.state_folder import owned, state_folder
from organism.errors import ConfigError
from organism.journal import Pieces, StoredEntry
from organism.ledger.entries import decode_entry
from organism.ledger.explain import BudgetTrace, HoldTrace, explain
from organism.ledger.verify import Anchor, verify
from organism.stores.batch import chain_hash
from organism.stores.head import Head
from organism.stores.sqlite_file import GENESIS, SqliteFile
from organism.threads.quarantine import set_aside

_PAGE = 10_000
_ENTRIES_PATH = "/v1/ledger/entries"
_COLUMNS = ("seq", "time", "kind", "hold_id", "accounts", "tokens", "cost_nanousd", "calls", "source")

ExportFormat = Literal["jsonl", "csv"]

ChainHash = Callable[[bytes, str], bytes]


def verify_ledger(file: Path, state: Path | None, anchor: str | None, *, as_json: bool) -> int:
    """Check the ledger and say what was found; the exit code is 1 when an entry cannot be right, or some are missing.

    Args:
        file: The configuration.
        state: The state folder.
        anchor: What an earlier check has printed; then entries up to there are known to be those of that time.
        as_json: Whether to print JSON.
    """
    known = Anchor.parse(anchor) if anchor is not None else None
    with _entries(file, state) as (entries, chain, head):
        verdict = verify(entries, chain, GENESIS, known)
        missing = head().faults if verdict.fault_seq is None and head is not None else ()
    if missing:
        verdict = replace(verdict, fault_seq=verdict.last, fault="; ".join(missing))
    if as_json:
        print_json(verdict)
    elif missing:
        print_text("\n".join(missing))
    elif verdict.fault_seq is not None:
        print_line(f"entry {verdict.fault_seq} {verdict.fault}")
    else:
        older = f", numbers {verdict.first} to {verdict.last}" if verdict.first > 1 else ""
        print_line(
            f"{verdict.entries:,} entries are right{older}: "
            f"{verdict.accounts:,} accounts open, {verdict.open_holds:,} holds not resolved"
        )
        if verdict.head:
            print_line(f"anchor {verdict.head}")
    return exits.OK if verdict.fault_seq is None else exits.FAILED


def show_quarantine(file: Path, state: Path | None, *, as_json: bool) -> int:
    """List what no start could take up: its place in the journal, its thread and the reason.

    Raises:
        ConfigError: If there is no journal, or a process owns it.
    """
    with kept_journal(state_folder(file, state)) as journal:
        pieces = set_aside(Pieces(journal.load().pieces))
    if as_json:
        return print_json(pieces)
    console = Terminal()
    words = ("thread", "since", "why")
    table = Table("piece", *words, left=words, fold=True)
    for one in pieces:
        table.add_row(one.key, one.thread_id or "-", _instant(one.time_ns), one.reason)
    if pieces:
        console.show(table)
    else:
        console.say("nothing is set aside")
    return exits.OK


def export_ledger(file: Path, state: Path | None, form: ExportFormat) -> int:
    """Print every entry: as it is stored, one JSON document a line, or as a table of comma-separated values."""
    with _entries(file, state) as (entries, _, _):
        if form == "jsonl":
            for stored in entries:
                print_json_text(stored.body)
        else:
            rows = (_csv_row(stored) for stored in entries)
            print_csv(chain([_COLUMNS], ([row.get(name, "") for name in _COLUMNS] for row in rows)))
    return exits.OK


def explain_budget(thread_id: str, file: Path, state: Path | None, *, as_json: bool) -> int:
    """Tell every hold of a thread, what became of it, at which price, and what was refused.

    A daemon that runs is asked; without one the journal is read.

    Raises:
        ConfigError: If the ledger knows no such thread.
        RefusedError: If the daemon's ledger does not.
    """
    try:
        story = Client.of(file, state).ask(BudgetTrace, f"/v1/budgets/{quote(thread_id, safe='')}/story")
    except UnreachableError:
        with kept_entries(state_folder(file, state)) as entries:
            story = explain((decode_entry(stored.body.encode()) for stored in entries), thread_id)
    if not story.holds and not story.notes:
        raise ConfigError(f"the ledger knows no thread {thread_id!r}")
    if as_json:
        print_json(story)
    else:
        print_story(Terminal(), story)
    return exits.OK


def print_story(console: Terminal, story: BudgetTrace) -> None:
    """Show the story of a thread's budget."""
    words = ("agent", "call", "state", "held", "charged", "price")
    table = Table("entry", *words, left=words)
    for hold in story.holds:
        table.add_row(*_hold_row(hold))
    console.show(table)
    for note in story.notes:
        detail = f": {note.shortfall}" if note.shortfall is not None else _limits(note.limits)
        where = "" if note.account == thread_account(story.thread_id) else f"{note.account} "
        console.say("{:>6} {} {}", note.seq, _instant(note.time_ns), f"{where}{note.text}{detail}")
    console.say("charged {}; held {}", _amounts(story.charged), _amounts(story.open_held))


def _hold_row(hold: HoldTrace) -> tuple[str, ...]:
    call = hold.call
    if call is None:
        return (str(hold.seq), "", "a child's limits", hold.state, _amounts(hold.held), _amounts(hold.charged), "")
    name = f"{call.provider}/{call.request_model} #{call.attempt}" + (" (last call)" if call.wrap_up else "")
    over = f", {hold.overrun.tokens} above the hold" if hold.overrun.tokens else ""
    price = (hold.rates.source if hold.rates is not None else call.price_source) if hold.priced else "unknown"
    return (
        str(hold.seq),
        call.agent,
        name,
        hold.state,
        _amounts(hold.held),
        _amounts(hold.charged) + over,
        price or "unknown",
    )


def _limits(limits: Limits | None) -> str:
    """Write limits, unit by unit; nothing for a note that is about something else."""
    if limits is None:
        return ""
    given = ((dimension, limit_of(limits, dimension)) for dimension in DIMENSIONS)
    return ": " + (", ".join(format_amount(unit, limit) for unit, limit in given if limit is not None) or "unlimited")


def _amounts(amounts: Amounts) -> str:
    return f"{format_amount('tokens', amounts.tokens)}, {format_usd(amounts.cost_nanousd)}"


def _instant(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _csv_row(stored: StoredEntry) -> dict[str, object]:
    entry = decode_entry(stored.body.encode())
    amounts = getattr(entry, "amounts", None) or getattr(entry, "spent", None)
    accounts = getattr(entry, "accounts", None) or (getattr(entry, "account", ""),)
    row: dict[str, object] = {
        "seq": entry.seq,
        "time": _instant(entry.time_ns),
        "kind": type(entry).__name__,
        "hold_id": getattr(entry, "hold_id", ""),
        "accounts": " ".join(accounts),
        "source": getattr(entry, "source", ""),
    }
    if isinstance(amounts, Amounts):
        row |= {"tokens": amounts.tokens, "cost_nanousd": amounts.cost_nanousd, "calls": amounts.calls}
    return row


@contextmanager
def _entries(
    file: Path, state: Path | None
) -> Iterator[tuple[Iterator[StoredEntry], ChainHash, Callable[[], Head] | None]]:
    """Read a ledger from its first entry: from the daemon that runs, or else from the journal it has left.

    Of the journal's file it can also be told where it should end; a daemon has looked at that when it started.
    Entries that a daemon keeps in memory only have no hashes: nobody could change them unseen.
    """
    try:
        client = Client.of(file, state)
        first = client.ask(list[StoredEntry], _ENTRIES_PATH, limit=1)
    except UnreachableError:
        with kept_journal(state_folder(file, state)) as journal:
            yield _paged(lambda after: journal.entries_after(after, _PAGE)), chain_hash, journal.head
    else:
        entries = _paged(lambda after: client.ask(list[StoredEntry], _ENTRIES_PATH, after=after, limit=_PAGE))
        yield entries, chain_hash if first and first[0].hash else lambda _last, _body: b"", None


@contextmanager
def kept_entries(folder: Path) -> Iterator[Iterator[StoredEntry]]:
    """Own a state folder and read the entries of its journal; see :func:`kept_journal` for what it raises."""
    with kept_journal(folder) as journal:
        yield _paged(lambda after: journal.entries_after(after, _PAGE))


@contextmanager
def kept_journal(folder: Path) -> Iterator[SqliteFile]:
    """Own a state folder and open its journal.

    Raises:
        ConfigError: If there is none, or another process owns it.
    """
    path = folder / JOURNAL_FILE
    if not path.is_file():
        raise ConfigError("there is no journal here; runs and the daemon make one", where=str(path))
    with owned(folder), closing(SqliteFile(path)) as journal:
        yield journal


def _paged(page_after: Callable[[int], list[StoredEntry]]) -> Iterator[StoredEntry]:
    after = 0
    while page := page_after(after):
        yield from page
        after = page[-1].seq
