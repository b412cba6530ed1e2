"""``organism usage``: what was used since the daemon started, and reports of a period or a thread."""

from collections.abc import Iterator
from datetime import tzinfo
from itertools import starmap
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cyclopts import App, Parameter

from organism.amounts import TokenUsage
from organism.billing.bill import read_bill
from organism.billing.period import Period, report_period
from organism.billing.reconciliation import BillDifference, reconcile
from organism.billing.reports.csv_report import csv_rows
from organism.billing.reports.html_report import render_html
from organism.billing.reports.markdown_report import render_markdown
from organism.cli import exit_codes
from organism.cli.completion import ThreadName
from organism.cli.event_sources import read_text, recorded_events
from organism.cli.ledger_sources import configured_database
from organism.cli.options import DAEMON, DaemonOptions, Json
from organism.cli.output import note, print_csv, print_json, print_text
from organism.cli.recorded_state import answer_of
from organism.cli.tables import USAGE_HEADINGS, state_table, usage_row
from organism.cli.terminal import Terminal
from organism.clock import SystemClock
from organism.control.views import Usage
from organism.errors import ConfigError
from organism.text.plain_text import csv_lines
from organism.usage.events import UsageEvent
from organism.usage.instants import instant_of
from organism.usage.totals import UsageTotals, remainder

app = App(name="usage")


@app.default
def show_usage(
    *,
    daemon: DaemonOptions = DAEMON,
    by: Literal["agent", "model", "tool", "day", "thread", "label"] = "agent",
    json: Json = False,
    csv: bool = False,
) -> int:
    """Show usage and cost of all that is recorded.

    Without a daemon the journal of the state folder is read.

    Args:
        by: Broken down by this.
        csv: Print CSV.
    """
    usage = answer_of(daemon, lambda client: client.ask(Usage, "/v1/usage", by=by), lambda found: found.usage(by))
    if json:
        return print_json(usage)
    if csv:
        head = [
            by,
            "calls",
            *TokenUsage.__struct_fields__,
            "cost_nanousd",
            "unpriced_calls",
            "tool_uses",
            "tool_nanousd",
        ]
        return print_csv([head, *starmap(_csv_row, usage.groups.items())])
    table = state_table(by, *USAGE_HEADINGS)
    for name, totals in usage_rows(usage):
        table.add_row(name, *usage_row(totals), style="bold" if name == "all" else None)
    Terminal().show(table)
    return exit_codes.OK


_OTHERS = {
    "agent": "(other agents)",
    "model": "(no model)",
    "tool": "(model calls)",
    "day": "(earlier days)",
    "thread": "(threads that have ended)",
}
"""What is in the sum of all, and in no row of a table."""


def usage_rows(usage: Usage) -> Iterator[tuple[str, UsageTotals]]:
    """Yield the rows of a breakdown, the dearest first, and their sum: what the rows show adds up to what it shows.

    A thread may have several labels, or none: each label has its own rows, and a sum of them.
    """
    parts: dict[str, dict[str, UsageTotals]] = {}
    for name, totals in usage.groups.items():
        parts.setdefault(name.partition("=")[0] if usage.by == "label" else "", {})[name] = totals
    for label, rows in (parts or {"": {}}).items():
        yield from sorted(rows.items(), key=lambda row: -row[1].cost_nanousd)
        if (rest := remainder(usage.total, rows.values())) is not None:
            yield (_OTHERS.get(usage.by) or (f"(without {label})" if label else "(no label)")), rest
        yield "all", usage.total


@app.command
def report(
    events: Path | None = None,
    *,
    daemon: DaemonOptions = DAEMON,
    since: str | None = None,
    until: str | None = None,
    thread: ThreadName | None = None,
    time_zone: str = "UTC",
    bill: Path | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    json: Json = False,
    csv: bool = False,
) -> int:
    """Report cost and tokens of a period or a thread, by day, agent, model and label: HTML, Markdown, CSV or JSON.

    Args:
        events: Events as 'organism events' prints them, or - for standard input, or a journal; those of the state
            folder unless given.
        since: The first day, an instant, or so long ago, such as 7d.
        until: The last day, which is part of the report, or an instant, which is not.
        thread: Only this thread and its children.
        time_zone: Where days begin.
        bill: A provider's bill as CSV, to compare with.
        output: Where to: an .html page, .md, .csv or .json; Markdown on standard output unless given.
        csv: Print CSV.
    """
    recorded = list(recorded_events(events, daemon.folder, lambda: configured_database(daemon)))
    zone, now_ns = _zone(time_zone), SystemClock().now_ns()
    period = Period(
        since_ns=None if since is None else instant_of(since, zone, now_ns, path="--since"),
        until_ns=None if until is None else instant_of(until, zone, now_ns, path="--until", ends=True),
        thread_id=thread,
        time_zone=zone,
    )
    made = report_period(recorded, period)
    drifts = None
    if bill is not None:
        used = (event for event in recorded if isinstance(event, UsageEvent) and period.holds(event))
        drifts = reconcile(used, read_bill(read_text(bill)), period)
    whole = {"report": made, "drift": None if drifts is None else tuple(map(_explained, drifts))}
    if output is None:
        if json or csv:
            return print_json(whole, _plain) if json else print_csv(csv_rows(made, drifts))
        return print_text(render_markdown(made, drifts).rstrip("\n"))
    match output.suffix.lower():
        case ".csv":
            text = csv_lines(csv_rows(made, drifts))
        case ".json":
            text = msgspec.json.encode(whole, enc_hook=_plain).decode() + "\n"
        case ".md" | ".markdown":
            text = render_markdown(made, drifts)
        case _:
            text = render_html(made, drifts)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write: {error.strerror}", where=str(output)) from None
    note(str(output))
    return exit_codes.OK


def _explained(drift: BillDifference) -> dict[str, object]:
    return {**msgspec.to_builtins(drift), "difference_nanousd": drift.difference_nanousd, "reason": drift.reason}


def _csv_row(name: str, totals: UsageTotals) -> tuple[object, ...]:
    tokens = msgspec.structs.astuple(totals.usage)
    costs = (totals.cost_nanousd, totals.unpriced_calls, totals.tool_uses, totals.tool_nanousd)
    return (name, totals.calls, *tokens, *costs)


def _plain(value: object) -> str:
    """Write what JSON has no word for: a time zone by its name, ``UTC`` or ``Europe/Berlin``."""
    if isinstance(value, tzinfo):
        return str(value)
    raise NotImplementedError(f"a report has no words for a {type(value).__name__}")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"--time-zone: no time zone is called {name!r}; try UTC or Europe/Berlin") from None
