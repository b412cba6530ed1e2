"""A period's report as titled tables of text, which HTML and Markdown only have to draw. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo

import msgspec

from organism.amounts import NS_PER_S, format_usd, format_usd_estimate
from organism.billing.forecast import Forecast
from organism.billing.period import Cut, Period, PeriodReport, Warned
from organism.billing.reconciliation import BillDifference
from organism.usage.totals import UsageTotals, remainder

ROWS_MAX = 50
"""Rows of one table; what goes beyond is added up in one more."""


class ReportTable(msgspec.Struct, frozen=True, kw_only=True):
    """One table.

    Attributes:
        note: A sentence below the title.
        head: Names of the columns.
        rows: Cells; as many in each row as there are columns.
        words: How many columns from the left are words; the others are numbers.
        weights: For a table that shows shares, each row's part of the largest row, from 0 to 100.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words: int = 1
    weights: tuple[int, ...] = ()


def headline(report: PeriodReport) -> tuple[tuple[str, str], ...]:
    """Return the few numbers that matter, each with its name."""
    totals = report.totals
    return (
        ("cost", cost(totals)),
        ("tokens", f"{totals.usage.total:,}"),
        ("model calls", f"{totals.calls:,}"),
        *((("paid tools", format_usd(totals.tool_nanousd)),) if totals.tool_uses else ()),
        ("threads", f"{report.threads:,}"),
        ("warnings", f"{sum(w.count for w in report.warned if w.level != 'refused'):,}"),
        ("refusals", f"{sum(w.count for w in report.warned if w.level == 'refused'):,}"),
    )


def describe(period: Period, report: PeriodReport) -> str:
    """Say in one line what a report is about."""
    zone = period.time_zone
    since = _instant(report.first_ns if period.since_ns is None else period.since_ns, zone)
    until = _instant(report.last_ns if period.until_ns is None else period.until_ns, zone)
    about = f"thread {period.thread_id} and its descendants, " if period.thread_id is not None else ""
    gone = f"; events before {_instant(report.kept_from_ns, zone)} are not kept any more" if report.kept_from_ns else ""
    return f"{about}{since} to {until} ({zone}){gone}" if report.last_ns else f"{about}no events{gone}"


def tables(report: PeriodReport, drifts: Sequence[BillDifference] | None) -> tuple[ReportTable, ...]:
    """Return every table that has something to say."""
    zone = report.period.time_zone
    found = [
        _forecast_table(report.forecasts, zone),
        _cut_table("By agent", "agent", report.by_agent, report.totals),
        _cut_table("By model", "model", report.by_model, report.totals, "tools"),
        _cut_table("By tool", "tool", report.by_tool, report.totals, "model calls"),
        _cut_table("By provider", "provider and model", report.by_provider, report.totals, "tools"),
        *(_cut_table(f"By label {key}", key, cuts, report.totals) for key, cuts in report.by_label.items()),
        _warned_table(report.warned),
        _waste_table(report),
        _drift_table(drifts or ()),
        _cut_table("By day", "day", report.by_day[-ROWS_MAX:], report.totals, "earlier days"),
    ]
    return tuple(table for table in found if table.rows)


def cost(totals: UsageTotals) -> str:
    """Write a sum's cost; ``~`` says that calls without a price are missing from it."""
    return f"{'~' if totals.unpriced_calls else ''}{format_usd(totals.cost_nanousd)}"


def _cut_table(title: str, name: str, cuts: Sequence[Cut], totals: UsageTotals, others: str = "") -> ReportTable:
    """Return a table of parts whose costs add up to the whole: what has no row of its own stands in the last.

    Args:
        title: Its title.
        name: What the parts are.
        cuts: The parts.
        totals: The whole.
        others: What is in the whole and in no part.
    """
    kept = list(cuts[:ROWS_MAX])
    if kept and (rest := remainder(totals, (cut.totals for cut in kept))) is not None:
        more = f"{len(cuts) - ROWS_MAX:,} more" if len(cuts) > ROWS_MAX else ""
        kept.append(Cut(f"({', '.join(filter(None, (more, others))) or 'others'})", rest))
    largest = max((cut.totals.cost_nanousd for cut in kept), default=0)
    return ReportTable(
        title=title,
        head=(
            name,
            "cost",
            "tokens in",
            "of them cached",
            "tokens out",
            "uses" if name == "tool" else "calls",
            "p95 latency",
        ),
        rows=tuple(
            (
                cut.name,
                cost(cut.totals),
                f"{cut.totals.usage.input_total:,}",
                f"{cut.totals.usage.cached_input:,}",
                f"{cut.totals.usage.output_total:,}",
                f"{cut.totals.tool_uses if name == 'tool' else cut.totals.calls:,}",
                f"{cut.totals.latency.p95_ns / NS_PER_S:,.2f} s" if cut.totals.latency.p95_ns else "",
            )
            for cut in kept
        ),
        weights=tuple(cut.totals.cost_nanousd * 100 // largest if largest else 0 for cut in kept),
    )


def _warned_table(warned: Sequence[Warned]) -> ReportTable:
    kept = sorted(warned, key=lambda w: (w.level != "refused", -w.count, w.agent))[:ROWS_MAX]
    left_out = len(warned) - len(kept)
    return ReportTable(
        title="Who met a limit",
        note=f"{left_out:,} more are left out." if left_out else "",
        head=("agent", "limit", "of", "reached", "times"),
        rows=tuple((w.agent, w.scope, w.dimension, w.level, f"{w.count:,}") for w in kept),
        words=4,
    )


def _waste_table(report: PeriodReport) -> ReportTable:
    whole = report.totals.cost_nanousd
    return ReportTable(
        title="Paid without use",
        note="A call can be in several rows.",
        head=("what", "cost", "of all", "tokens", "calls"),
        rows=tuple(
            (
                waste.kind,
                cost(waste.totals),
                f"{waste.totals.cost_nanousd * 100 / whole:.1f} %" if whole else "",
                f"{waste.totals.usage.total:,}",
                f"{waste.totals.calls:,}",
            )
            for waste in report.waste
            if waste.totals.calls
        ),
    )


def _forecast_table(forecasts: Iterable[Forecast], zone: tzinfo) -> ReportTable:
    return ReportTable(
        title="Forecast",
        note="If the rest of each window goes as the window so far has gone.",
        head=("window", "cost so far", "cost at its end", "limit", "limit reached", "tokens at its end"),
        rows=tuple(
            (
                f"{forecast.window} {forecast.name}",
                format_usd(forecast.spent_nanousd),
                format_usd_estimate(forecast.projected_nanousd),
                "none" if forecast.limit_nanousd is None else format_usd(forecast.limit_nanousd),
                "" if forecast.exhausted_ns is None else _instant(forecast.exhausted_ns, zone),
                f"{forecast.projected_tokens:,}",
            )
            for forecast in forecasts
        ),
    )


def _drift_table(drifts: Sequence[BillDifference]) -> ReportTable:
    """Return what differs; tokens have columns if the provider tells what it has counted."""
    counted = any(drift.counted is not None for drift in drifts)
    tokens = ("tokens counted", "tokens recorded") if counted else ()
    return ReportTable(
        title="Against the bill",
        note="Recorded above billed is expected: what was in doubt is charged in full. Below it, something is wrong.",
        head=("day", "model", "billed", "recorded", "difference", "of billed", *tokens, "why"),
        rows=tuple(
            (
                drift.day.isoformat(),
                drift.model or "all",
                *_money_cells(drift),
                *(_token_cells(drift) if counted else ()),
                drift.reason,
            )
            for drift in drifts[-ROWS_MAX:]
        ),
        words=2,
    )


def _money_cells(drift: BillDifference) -> tuple[str, str, str, str]:
    recorded = format_usd(drift.recorded_nanousd)
    if drift.billed_nanousd is None or drift.difference_nanousd is None:
        return "", recorded, "", ""
    share = f"{drift.difference_nanousd * 100 / drift.billed_nanousd:+.1f} %" if drift.billed_nanousd else ""
    return format_usd(drift.billed_nanousd), recorded, format_usd(drift.difference_nanousd), share


def _token_cells(drift: BillDifference) -> tuple[str, str]:
    return "" if drift.counted is None else f"{drift.counted.total:,}", f"{drift.recorded.total:,}"


def _instant(time_ns: int, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(time_ns // NS_PER_S, zone):%Y-%m-%d %H:%M}"
