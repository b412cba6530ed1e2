"""``organism ledger``: the ledger of the running daemon, or of the journal in the state folder."""

from itertools import chain
from typing import Literal

from cyclopts import App
from msgspec.structs import replace

from organism.amounts import Amounts
from organism.cli import exit_codes
from organism.cli.ledger_sources import kept_journal, ledger_entries
from organism.cli.options import DAEMON, DaemonOptions, Json
from organism.cli.output import print_csv, print_json, print_json_text, print_line, print_text
from organism.cli.tables import instant_text
from organism.cli.terminal import Table, Terminal
from organism.journal import Pieces, StoredEntry
from organism.ledger.entries import decode_entry
from organism.ledger.verify import Anchor, verify
from organism.stores.batch import GENESIS
from organism.threads.quarantine import set_aside

app = App(name="ledger")

_COLUMNS = ("seq", "time", "kind", "hold_id", "accounts", "tokens", "cost_nanousd", "calls", "source")


@app.command(name="verify")
def verify_ledger(*, daemon: DaemonOptions = DAEMON, anchor: str | None = None, json: Json = False) -> int:
    """Verify every entry again: its hash, whether it is legal where it stands, what it cost.

    The exit code is 1 if an entry cannot be right or some are missing. An anchor is printed. Keep it elsewhere: only
    with it can a later check tell that a whole older copy was put back.

    Args:
        anchor: What an earlier check printed; then the entries up to there are proved to be those of that time.
    """
    known = Anchor.parse(anchor) if anchor is not None else None
    with ledger_entries(daemon) as (entries, chained, head):
        verdict = verify(entries, chained, GENESIS, known)
        missing = head().faults if verdict.fault_seq is None and head is not None else ()
    if missing:
        verdict = replace(verdict, fault_seq=verdict.last, fault="; ".join(missing))
    if json:
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
    return exit_codes.OK if verdict.fault_seq is None else exit_codes.FAILED


@app.command
def quarantine(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """List journal records that no start could read, with the reason.

    The state folder must not be in use: stop the daemon first. With --json, also what is in each record.
    """
    with kept_journal(daemon) as journal:
        pieces = set_aside(Pieces(journal.load().pieces))
    if json:
        return print_json(pieces)
    console = Terminal()
    words = ("thread", "since", "why")
    table = Table("piece", *words, left=words, fold=True)
    for one in pieces:
        table.add_row(one.key, one.thread_id or "-", instant_text(one.time_ns), one.reason)
    if pieces:
        console.show(table)
    else:
        console.say("nothing is set aside")
    return exit_codes.OK


@app.command
def export(*, daemon: DaemonOptions = DAEMON, form: Literal["jsonl", "csv"] = "jsonl") -> int:
    """Print every entry.

    Args:
        form: jsonl prints one JSON document a line, csv comma-separated values.
    """
    with ledger_entries(daemon) as (entries, _, _):
        if form == "jsonl":
            for stored in entries:
                print_json_text(stored.body)
        else:
            rows = (_csv_row(stored) for stored in entries)
            print_csv(chain([_COLUMNS], ([row.get(name, "") for name in _COLUMNS] for row in rows)))
    return exit_codes.OK


def _csv_row(stored: StoredEntry) -> dict[str, object]:
    entry = decode_entry(stored.body.encode())
    amounts = getattr(entry, "amounts", None) or getattr(entry, "spent", None)
    accounts = getattr(entry, "accounts", None) or (getattr(entry, "account", ""),)
    row: dict[str, object] = {
        "seq": entry.seq,
        "time": instant_text(entry.time_ns),
        "kind": type(entry).__name__,
        "hold_id": getattr(entry, "hold_id", ""),
        "accounts": " ".join(accounts),
        "source": getattr(entry, "source", ""),
    }
    if isinstance(amounts, Amounts):
        row |= {"tokens": amounts.tokens, "cost_nanousd": amounts.cost_nanousd, "calls": amounts.calls}
    return row
