"""A period's report as one HTML page without scripts, fonts or anything else from elsewhere. Pure."""

import html
from collections.abc import Sequence

from organism.billing.period import Cut, PeriodReport
from organism.billing.reconciliation import BillDifference
from organism.billing.reports.report_tables import ReportTable, cost, describe, headline, tables
from organism.text.plain_text import one_line

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #dfe4ea; --paper: #ffffff; --tint: #f5f7f9;
  --bar: #2f6fed; --warn: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa5b4; --line: #2d3643; --paper: #12171e;
  --tint: #1a212b; --bar: #6ea0ff; --warn: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 2.25rem 0 .25rem; font-size: 1.1rem; }
p { margin: .25rem 0 .75rem; color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
dl div { padding: .75rem 1rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--tint); }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-size: .85rem; font-weight: 600; } .word { text-align: left; }
td.word { max-width: 22rem; overflow: hidden; text-overflow: ellipsis; }
.share { display: block; height: 3px; margin-top: 2px; border-radius: 2px; background: var(--bar); }
td.alarm { color: var(--warn); font-weight: 600; }
svg { width: 100%; height: auto; display: block; } svg rect { fill: var(--bar); } svg line { stroke: var(--line); }
svg text { fill: var(--soft); font-size: 11px; }
@media print { body { max-width: none; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""

_CHART_WIDTH = 960
_CHART_HEIGHT = 180
_CHART_DAYS = 62


def _escape(text: str) -> str:
    """Return text as HTML has it, in one line and without what nobody sees."""
    return html.escape(one_line(text))


def render_html(report: PeriodReport, drifts: Sequence[BillDifference] | None = None) -> str:
    """Write a report as a page."""
    tiles = "".join(f"<div><dt>{_escape(name)}</dt><dd>{_escape(value)}</dd></div>" for name, value in headline(report))
    body = [
        "<h1>Usage</h1>",
        f"<p>{_escape(describe(report.period, report))}</p>",
        f"<dl>{tiles}</dl>",
        _chart(report.by_day),
        *(_table(table) for table in tables(report, drifts)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Usage, {_escape(describe(report.period, report))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _table(table: ReportTable) -> str:
    head = "".join(f"<th{_word(table, place)}>{_escape(name)}</th>" for place, name in enumerate(table.head))
    rows = "\n".join(
        f"<tr>{''.join(_cell(table, number, place, cell) for place, cell in enumerate(row))}</tr>"
        for number, row in enumerate(table.rows)
    )
    note = f"<p>{_escape(table.note)}</p>" if table.note else ""
    return (
        f'<h2>{_escape(table.title)}</h2>{note}<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _cell(table: ReportTable, number: int, place: int, text: str) -> str:
    if text.startswith("billed more") or text == "refused":
        return f'<td class="alarm{" word" if place < table.words else ""}">{_escape(text)}</td>'
    share = ""
    if place == 0 and table.weights:
        share = f'<span class="share" style="width:{table.weights[number]}%"></span>'
    title = f' title="{_escape(text)}"' if place < table.words else ""
    return f"<td{_word(table, place)}{title}>{_escape(text)}{share}</td>"


def _word(table: ReportTable, place: int) -> str:
    return ' class="word"' if place < table.words else ""


def _chart(days: Sequence[Cut]) -> str:
    """Draw cost by day as bars; with a single day there is nothing to compare."""
    shown = days[-_CHART_DAYS:]
    largest = max((day.totals.cost_nanousd for day in shown), default=0)
    if len(shown) < 2 or not largest:  # noqa: PLR2004
        return ""
    step = _CHART_WIDTH / len(shown)
    bars = []
    for place, day in enumerate(shown):
        height = day.totals.cost_nanousd * (_CHART_HEIGHT - 40) / largest
        left, top = place * step, _CHART_HEIGHT - 20 - height
        bars.append(
            f'<rect x="{left + step * 0.1:.1f}" y="{top:.1f}" width="{step * 0.8:.1f}" height="{height:.1f}" rx="2">'
            f"<title>{_escape(day.name)}: {_escape(cost(day.totals))}</title></rect>"
        )
        if place % max(1, len(shown) // 8) == 0:
            bars.append(f'<text x="{left + step * 0.1:.1f}" y="{_CHART_HEIGHT - 4}">{_escape(day.name[5:])}</text>')
    base = f'<line x1="0" x2="{_CHART_WIDTH}" y1="{_CHART_HEIGHT - 20}" y2="{_CHART_HEIGHT - 20}"/>'
    top_line = (
        f'<text x="0" y="12">{_escape(cost(max(shown, key=lambda d: d.totals.cost_nanousd).totals))} a day</text>'
    )
    label = "Cost by day"
    return (
        f'<svg viewBox="0 0 {_CHART_WIDTH} {_CHART_HEIGHT}" role="img" aria-label="{label}">'
        f"{base}{top_line}{''.join(bars)}</svg>"
    )
