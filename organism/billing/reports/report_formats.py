"""A period's report in each of the forms that it is given out in. Pure."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Literal, get_args

import msgspec

from organism.billing.period import PeriodReport
from organism.billing.reconciliation import BillDifference
from organism.billing.reports.csv_report import csv_rows
from organism.billing.reports.html_report import render_html
from organism.billing.reports.markdown_report import render_markdown
from organism.text.plain_text import csv_lines, visible_json

ReportFormat = Literal["json", "csv", "markdown", "html"]
"""In which form."""

MEDIA_TYPES: dict[ReportFormat, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "markdown": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
}

SUFFIXES: dict[str, ReportFormat] = {".json": "json", ".csv": "csv", ".md": "markdown", ".markdown": "markdown"}
"""Of files; all others are HTML."""


def write_report(report: PeriodReport, drifts: Sequence[BillDifference] | None, form: ReportFormat) -> str:
    """Write a report in a form.

    Args:
        report: It.
        drifts: How a bill differs from what was recorded; ``None`` if there is no bill.
        form: In which form.
    """
    match form:
        case "json":
            whole = {"report": report, "drift": None if drifts is None else tuple(map(explained, drifts))}
            return visible_json(msgspec.json.encode(whole, enc_hook=_plain).decode()) + "\n"
        case "csv":
            return csv_lines(csv_rows(report, drifts))
        case "markdown":
            return render_markdown(report, drifts)
        case "html":
            return render_html(report, drifts)


def accepted_format(accept: str) -> ReportFormat:
    """Return the form that an ``Accept`` header likes best; JSON if it likes none, or all the same."""
    liked = {_media_range(each) for each in accept.split(",")}
    forms: tuple[ReportFormat, ...] = get_args(ReportFormat)
    best = max(forms, key=lambda form: _quality(MEDIA_TYPES[form].partition(";")[0], liked))
    return best if _quality(MEDIA_TYPES[best].partition(";")[0], liked) > 0 else "json"


def _media_range(text: str) -> tuple[str, float]:
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    given = next((each.removeprefix("q=") for each in parameters if each.startswith("q=")), "1")
    try:
        quality = float(given)
    except ValueError:
        quality = 0.0
    return kind, quality if 0 < quality <= 1 else 0.0


def _quality(media_type: str, liked: set[tuple[str, float]]) -> float:
    """Return how much a type is liked: as itself, else as one of its kind, else as anything."""
    kind = media_type.partition("/")[0]
    for name in (media_type, f"{kind}/*", "*/*"):
        if found := [quality for liked_name, quality in liked if liked_name == name]:
            return max(found)
    return 0.0


def explained(drift: BillDifference) -> dict[str, object]:
    """Return a difference as JSON has it, with what follows from its figures."""
    derived = ("difference_nanousd", "difference_tokens", "reason")
    return {**msgspec.to_builtins(drift), **{name: getattr(drift, name) for name in derived}}


def _plain(value: object) -> str:
    """Write what JSON has no word for: a time zone by its name, ``UTC`` or ``Europe/Berlin``."""
    if isinstance(value, tzinfo):
        return str(value)
    raise NotImplementedError(f"a report has no words for a {type(value).__name__}")
