"""A period's report as Markdown. Pure."""

import re
from collections.abc import Sequence

from organism.exporters.report_tables import Table, describe, headline, tables
from organism.usage.drift import Drift
from organism.usage.period import PeriodReport

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def render_markdown(report: PeriodReport, drifts: Sequence[Drift] | None = None) -> str:
    """Write a report as Markdown."""
    parts = ["# Usage", _escaped(describe(report.period, report))]
    parts.append("\n".join(f"* **{value}** {name}" for name, value in headline(report)))
    parts += [_table(table) for table in tables(report, drifts)]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    rules = ["---" if place < table.words else "---:" for place in range(len(table.head))]
    rows = [table.head, tuple(rules), *(tuple(map(_escaped, row)) for row in table.rows)]
    lines = [f"## {_escaped(table.title)}", ""]
    lines += [table.note, ""] if table.note else []
    return "\n".join((*lines, *(f"| {' | '.join(row)} |" for row in rows)))


def _escaped(text: str) -> str:
    """Keep names of agents and labels from becoming markup, or from ending their cell."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
