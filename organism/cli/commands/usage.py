"""``organism usage``: what was used since the daemon started, and reports of a period or a thread."""

from collections.abc import Iterator, Sequence
from datetime import UTC
from itertools import starmap
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from organism.amounts import NS_PER_S, TokenUsage, format_usd
from organism.billing.period import GroupedSums, Period, report_period
from organism.billing.reconciliation import reconcile
from organism.billing.reports.report_formats import SUFFIXES, ReportFormat, write_report
from organism.cli import exit_codes
from organism.cli.commands.usage_bill import NO_BILL, BillOptions
from organism.cli.completion import ThreadName
from organism.cli.event_sources import recorded_events
from organism.cli.ledger_sources import NamedConfig
from organism.cli.options import DAEMON, DaemonOptions, Json
from organism.cli.output import note, print_csv, print_json, print_line, print_text
from organism.cli.recorded_state import answer_of
from organism.cli.tables import USAGE_HEADINGS, instant_text, state_table, usage_row
from organism.cli.terminal import Table, Terminal
from organism.clock import SystemClock
from organism.control.views import By, Usage
from organism.errors import ConfigError
from organism.usage.events import AnyEvent
from organism.usage.instants import zone_of
from organism.usage.series import Measure, SeriesStep, UsageSeries
from organism.usage.totals import UsageTotals, remainder

app = App(name="usage")


@app.default
def show_usage(
    *,
    daemon: DaemonOptions = DAEMON,
    by: Literal["agent", "model", "tool", "day", "thread", "label"] = "agent",
    since: str | None = None,
    until: str | None = None,
    json: Json = False,
    csv: bool = False,
) -> int:
    """Show usage and cost of all that is recorded, or of a period.

    Without a daemon the journal of the state folder is read.

    Args:
        by: Broken down by this.
        since: The first day, an instant, or so long ago, such as 7d.
        until: The last day, which is part of it, or an instant, which is not.
        csv: Print CSV.
    """
    period = Period.asked(since, until, UTC, SystemClock().now_ns(), mark="--")
    usage = answer_of(
        daemon,
        lambda client: client.ask(Usage, "/v1/usage", by=by, since=since, until=until),
        lambda found: found.usage(by) if since is None and until is None else _recorded_usage(daemon, period, by),
    )
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
def series(
    *,
    daemon: DaemonOptions = DAEMON,
    measure: Measure = "cost",
    by: str = "agent",
    since: str | None = None,
    until: str | None = None,
    step: SeriesStep | None = None,
    json: Json = False,
    csv: bool = False,
) -> int:
    """Show usage over time, in steps of a minute, an hour or a day.

    Without a daemon the journal of the state folder is read.

    Args:
        measure: What is counted: cost, calls, tokens, refusals, or latency, the mean of a step's calls.
        by: Broken down by agent, model, key, or label:NAME, for the values of that label.
        since: The first day, an instant, or so long ago, such as 1h; the last 24 hours unless given.
        until: The last day, which is part of it, or an instant, which is not.
        step: 6 hours of minutes are kept, 32 days of hours, 400 days; the finest that fits unless given.
        csv: Print CSV, with every step and every name.
    """
    if by not in ("agent", "model", "key") and not by.startswith("label:"):
        raise ConfigError(f"{by!r} is nothing to break down by; write agent, model, key, or label:NAME", path="--by")
    asked = {"since": since, "until": until, "step": step}
    found = answer_of(
        daemon,
        lambda client: client.ask(UsageSeries, "/v1/usage/series", measure=measure, by=by, **asked),
        lambda recorded: recorded.usage_over_time(measure, by, since=since, until=until, step=step),
    )
    if json:
        return print_json(found)
    if csv:
        head = ["start", *(line.name for line in found.series)]
        values = zip(*(line.values for line in found.series), strict=True) if found.series else ()
        starts = map(instant_text, found.starts_ns)
        return print_csv([head, *([start, *row] for start, row in zip(starts, values, strict=False))])
    if not found.series:
        return print_line("nothing in this time")
    Terminal().show(_series_table(found))
    return exit_codes.OK


_COLUMNS_MAX = 4
"""So many names are columns of a table, the largest; all others are one."""


def _series_table(found: UsageSeries) -> Table:
    """Return a row for each step in which anything was, times in UTC, and the sums of what can be added up."""
    adds_up = found.measure != "latency"
    shown, others = found.series[:_COLUMNS_MAX], found.series[_COLUMNS_MAX:]
    columns = {line.name: line.values for line in shown}
    if others and adds_up:
        columns[f"{len(others)} others"] = tuple(map(sum, zip(*(line.values for line in others), strict=True)))
    every = tuple(columns.values())
    table = Table("from (UTC)", *columns, *(["all"] if adds_up else []), title_column=True)
    for start_ns, row in zip(found.starts_ns, zip(*every, strict=True), strict=True):
        if any(row):
            table.add_row(instant_text(start_ns)[:-3], *_amounts(found.measure, row, adds_up=adds_up))
    if adds_up:
        table.add_row("all", *_amounts(found.measure, tuple(map(sum, every)), adds_up=True), style="bold")
    return table


def _amounts(measure: Measure, row: tuple[int, ...], *, adds_up: bool) -> list[str]:
    values = [*row, sum(row)] if adds_up else row
    match measure:
        case "cost":
            return [format_usd(value) if value else "" for value in values]
        case "latency":
            return [f"{value / NS_PER_S:.2f} s" if value else "" for value in values]
        case _:
            return [f"{value:,}" if value else "" for value in values]


@app.command
def report(
    events: Path | None = None,
    *,
    daemon: DaemonOptions = DAEMON,
    since: str | None = None,
    until: str | None = None,
    thread: ThreadName | None = None,
    time_zone: str = "UTC",
    billed: BillOptions = NO_BILL,
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
        output: Where to: an .html page, .md, .csv or .json; Markdown on standard output unless given.
        csv: Print CSV.
    """
    recorded = list(recorded_events(events, daemon.folder, lambda: NamedConfig.read(daemon.file).database()))
    zone, now_ns = zone_of(time_zone, path="--time-zone"), SystemClock().now_ns()
    period = Period.asked(since, until, zone, now_ns, thread=thread, mark="--")
    made = report_period(recorded, period, kept_from_ns=_kept_from(recorded) if events is None else 0)
    drifts = None
    if (lines := billed.lines(period, made, now_ns, daemon.file.parent)) is not None:
        drifts = reconcile(recorded, lines, period)
    if output is None:
        form: ReportFormat = "json" if json else "csv" if csv else "markdown"
        return print_text(write_report(made, drifts, form).rstrip("\n"))
    text = write_report(made, drifts, SUFFIXES.get(output.suffix.lower(), "html"))
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write: {error.strerror}", where=str(output)) from None
    note(str(output))
    return exit_codes.OK


def _kept_from(recorded: Sequence[AnyEvent]) -> int:
    """Return when the oldest event happened that is kept, if it is not the first there ever was; else 0."""
    return recorded[0].time_ns if recorded and int(recorded[0].id or 0) > 1 else 0


def _recorded_usage(daemon: DaemonOptions, period: Period, by: By) -> Usage:
    sums = GroupedSums(period, by)
    for event in recorded_events(None, daemon.folder, lambda: NamedConfig.read(daemon.file).database()):
        sums.add(event)
    return Usage(sums.total, by, sums.groups, since_ns=period.since_ns, until_ns=period.until_ns)


def _csv_row(name: str, totals: UsageTotals) -> tuple[object, ...]:
    tokens = msgspec.structs.astuple(totals.usage)
    costs = (totals.cost_nanousd, totals.unpriced_calls, totals.tool_uses, totals.tool_nanousd)
    return (name, totals.calls, *tokens, *costs)
