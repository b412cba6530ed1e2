"""``organism ledger``: the ledger of the running daemon, of the journal in the state folder, or of a cluster."""

from collections.abc import Iterator
from typing import Literal

from cyclopts import App
from msgspec import to_builtins
from msgspec.structs import replace

from organism.amounts import Amounts
from organism.amounts.units import AMOUNT_FIELDS, numbers_of
from organism.cli import exit_codes
from organism.cli.ledger_sources import LedgerSource, kept_journal, ledger_sources
from organism.cli.options import DAEMON, DaemonOptions, Json
from organism.cli.output import print_csv, print_json, print_json_text, print_line, print_text
from organism.cli.tables import instant_text
from organism.cli.terminal import Table, Terminal
from organism.errors import ConfigError
from organism.journal import Pieces, StoredEntry
from organism.ledger.entries import decode_entry
from organism.ledger.verify import Anchor, VerificationResult, anchors_text, parse_anchors, verify
from organism.stores.batch import GENESIS
from organism.text.plain_text import counted
from organism.threads.quarantine import set_aside

app = App(name="ledger")

_COLUMNS = ("seq", "time", "kind", "hold_id", "accounts", *AMOUNT_FIELDS, "source")


@app.command(name="verify")
def verify_ledger(*, daemon: DaemonOptions = DAEMON, anchor: str | None = None, json: Json = False) -> int:
    """Verify every entry again: its hash, whether it is legal where it stands, what it cost.

    The exit code is 1 if an entry cannot be right or some are missing. An anchor is printed. Keep it elsewhere: only
    with it can a later check tell that a whole older copy was put back. Of a cluster every partition is verified, while
    its nodes go on.

    Args:
        anchor: What an earlier check printed; then the entries up to there are proved to be those of that time.
    """
    known = parse_anchors(anchor) if anchor is not None else {}
    with ledger_sources(daemon) as sources:
        checked = {source.partition: _checked(source, known.get(source.partition)) for source in sources}
    verdicts = {partition: verdict for partition, (verdict, _) in checked.items()}
    if stray := known.keys() - verdicts.keys():
        raise ConfigError(
            f"the anchor is of {', '.join(_named(number) or 'one single journal' for number in stray)}, and there is "
            f"none here: give one that was printed for this ledger"
        )
    right = all(verdict.fault_seq is None for verdict in verdicts.values())
    if json:
        print_json(verdicts[None] if None in verdicts else _partitioned(verdicts))
    else:
        for partition, (_, text) in checked.items():
            print_text(text if partition is None else f"{_named(partition)}: {text}")
        if right and (anchors := anchors_text({number: verdict.head for number, verdict in verdicts.items()})):
            print_line(f"anchor {anchors}")
    return exit_codes.OK if right else exit_codes.FAILED


def _checked(source: LedgerSource, anchor: Anchor | None) -> tuple[VerificationResult, str]:
    """Verify a ledger, and that nothing is missing at the ends of its journal; return the result and its text."""
    verdict = verify(source.entries, source.chained, GENESIS, anchor)
    if verdict.fault_seq is not None:
        return verdict, f"entry {verdict.fault_seq} {verdict.fault}"
    if missing := source.head().faults if source.head is not None else ():
        return replace(verdict, fault_seq=verdict.last, fault="; ".join(missing)), "\n".join(missing)
    older = f", numbers {verdict.first} to {verdict.last}" if verdict.first > 1 else ""
    return verdict, (
        f"{counted(verdict.entries, 'entry is right', 'entries are right')}{older}: "
        f"{counted(verdict.accounts, 'account')} open, {counted(verdict.open_holds, 'hold')} not resolved"
    )


def _named(partition: int | None) -> str:
    return "" if partition is None else f"partition {partition}"


def _partitioned(verdicts: dict[int | None, VerificationResult]) -> dict[str, object]:
    return {"partitions": [{"partition": number, **to_builtins(verdict)} for number, verdict in verdicts.items()]}


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
    """Print every entry; of a cluster those of every partition, each with its number.

    Args:
        form: jsonl prints one JSON document a line, csv comma-separated values.
    """
    with ledger_sources(daemon) as sources:
        if form == "jsonl":
            for source in sources:
                for stored in source.entries:
                    print_json_text(stored.body if source.partition is None else _placed(source.partition, stored))
        else:
            print_csv(_csv_rows(sources))
    return exit_codes.OK


def _placed(partition: int, stored: StoredEntry) -> str:
    """Return an entry of a cluster with its partition; the entry itself as it is written, for its hash."""
    return f'{{"partition":{partition},"entry":{stored.body}}}'


def _csv_rows(sources: Iterator[LedgerSource]) -> Iterator[list[object]]:
    columns: tuple[str, ...] = ()
    for source in sources:
        if not columns:
            columns = _COLUMNS if source.partition is None else ("partition", *_COLUMNS)
            yield list(columns)
        for stored in source.entries:
            row = {"partition": source.partition, **_csv_row(stored)}
            yield [row.get(name, "") for name in columns]


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
        row |= dict(zip(AMOUNT_FIELDS, numbers_of(amounts), strict=True))
    return row
