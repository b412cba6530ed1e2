"""A period's report as Markdown. Pure."""

import re
from collections.abc import Sequence

from organism.billing.period import PeriodReport
from organism.billing.reconciliation import BillDifference
from organism.billing.reports.report_tables import ReportTable, describe, headline, tables
from organism.text.plain_text import one_line

_PUNCTUATION = re.compile(r"[\\`*_{}\[\]|#~^!]")
"""What a backslash makes plain in every dialect of Markdown."""

_MORE = re.compile(r"[<>&@]|(?<=:)/|(?<=www)\.|^[-+=](?=\s|$)")
"""HTML, addresses, mentions, lists: some dialects find them behind a backslash too."""


def render_markdown(report: PeriodReport, drifts: Sequence[BillDifference] | None = None) -> str:
    """Write a report as Markdown."""
    parts = ["# Usage", _escaped(describe(report.period, report))]
    parts.append("\n".join(f"* **{value}** {name}" for name, value in headline(report)))
    parts += [_table(table) for table in tables(report, drifts)]
    return "\n\n".join(parts) + "\n"


def _table(table: ReportTable) -> str:
    rules = ["---" if place < table.words else "---:" for place in range(len(table.head))]
    rows = [tuple(map(_escaped, table.head)), tuple(rules), *(tuple(map(_escaped, row)) for row in table.rows)]
    lines = [f"## {_escaped(table.title)}", ""]
    lines += [_escaped(table.note), ""] if table.note else []
    return "\n".join((*lines, *(f"| {' | '.join(row)} |" for row in rows)))


def _escaped(text: str) -> str:
    """Keep names of agents and labels from becoming markup, HTML or links, or from ending their cell."""
    referred = _MORE.sub(lambda found: f"&\0{ord(found[0])};", one_line(text))
    return _PUNCTUATION.sub(r"\\\g<0>", referred).replace("\0", "#")
