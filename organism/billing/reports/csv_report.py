"""A period's report as rows for a spreadsheet: one table, in which each row says what it is a part of. Pure."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from msgspec.structs import astuple

from organism.amounts import TokenUsage, dollars_of
from organism.billing.period import Cut, PeriodReport
from organism.billing.reconciliation import BillDifference
from organism.usage.totals import UsageTotals

HEAD = (
    "by",
    "name",
    "cost_usd",
    "cost_nanousd",
    "calls",
    "unpriced_calls",
    *TokenUsage.__struct_fields__,
    "tool_uses",
    "tool_nanousd",
    "billed_usd",
    "counted_tokens",
    "why",
)
"""Names of the columns."""


def csv_rows(report: PeriodReport, drifts: Sequence[BillDifference] | None = None) -> Iterator[tuple[object, ...]]:
    """Yield the rows, the heading and the total first: each of the others is a part of it, once for each ``by``."""
    yield HEAD
    yield _row("total", "", report.totals)
    cuts: dict[str, tuple[Cut, ...]] = {
        "day": report.by_day,
        "agent": report.by_agent,
        "model": report.by_model,
        "provider": report.by_provider,
        "tool": report.by_tool,
        **{f"label:{name}": parts for name, parts in report.by_label.items()},
    }
    for by, parts in cuts.items():
        yield from (_row(by, cut.name, cut.totals) for cut in parts)
    for drift in drifts or ():
        name = f"{drift.day.isoformat()} {drift.model or 'all'}"
        recorded = (_usd(drift.recorded_nanousd), drift.recorded_nanousd, drift.calls, drift.unpriced_calls)
        billed = "" if drift.billed_nanousd is None else _usd(drift.billed_nanousd)
        counted = "" if drift.counted is None else drift.counted.total
        yield ("bill", name, *recorded, *astuple(drift.recorded), "", "", billed, counted, drift.reason)


def _row(by: str, name: str, totals: UsageTotals) -> tuple[object, ...]:
    costs = (_usd(totals.cost_nanousd), totals.cost_nanousd, totals.calls, totals.unpriced_calls)
    return (by, name, *costs, *astuple(totals.usage), totals.tool_uses, totals.tool_nanousd, "", "", "")


def _usd(cost_nanousd: int) -> str | Decimal:
    """Return dollars as spreadsheets read them: no exponent, and no text that could be a formula."""
    amount = dollars_of(cost_nanousd)
    return amount if cost_nanousd < 0 else f"{amount:f}"
