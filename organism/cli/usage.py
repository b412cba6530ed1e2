"""``organism usage report``: what a period or a thread has cost, as a page or as Markdown."""

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from organism.amounts import NS_PER_S
from organism.billing.bill import read_bill
from organism.billing.period import Period, report_period
from organism.billing.reconciliation import drift
from organism.billing.reports.html_report import render_html
from organism.billing.reports.markdown_report import render_markdown
from organism.cli import exits
from organism.cli.output import note, print_json, print_text
from organism.cli.recorded import read_text
from organism.errors import ConfigError
from organism.usage.events import AnyEvent, UsageEvent


class ReportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about a report.

    Attributes:
        since: The first day, or an instant.
        until: The last day, which is part of the report, or an instant, which is not.
        as_json: Numbers on standard output instead.
        output: Where to: a page, or Markdown if it ends in ``.md``; Markdown on standard output unless given.
    """

    since: str | None = None
    until: str | None = None
    thread: str | None = None
    time_zone: str = "UTC"
    bill: Path | None = None
    output: Path | None = None
    as_json: bool = False


def write_report(events: Iterator[AnyEvent], options: ReportOptions) -> int:
    """Write a report of events and return the exit code.

    Raises:
        ConfigError: If an option is wrong, or a file cannot be read or written.
    """
    zone = _zone(options.time_zone)
    period = Period(
        since_ns=_instant(options.since, zone, "--since", whole_day=False),
        until_ns=_instant(options.until, zone, "--until", whole_day=True),
        thread_id=options.thread,
        time_zone=zone,
    )
    kept = list(events)
    report = report_period(kept, period)
    drifts = None
    if options.bill is not None:
        used = (event for event in kept if isinstance(event, UsageEvent) and period.holds(event))
        drifts = drift(used, read_bill(read_text(options.bill)), period)
    if options.as_json:
        return print_json({"report": report, "drift": drifts}, _plain)
    if options.output is None:
        return print_text(render_markdown(report, drifts).rstrip("\n"))
    render = render_markdown if options.output.suffix in (".md", ".markdown") else render_html
    try:
        options.output.write_text(render(report, drifts), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write: {error.strerror}", where=str(options.output)) from None
    note(str(options.output))
    return exits.OK


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


def _instant(text: str | None, zone: ZoneInfo, option: str, *, whole_day: bool) -> int | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} must be a day or an instant such as 2026-11-24 or 2026-11-24T18:00") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=zone)
    if whole_day and "T" not in text and " " not in text.strip():
        instant += timedelta(days=1)
    return int(instant.timestamp()) * NS_PER_S
