"""A report as people see it: one page that needs nothing else, and Markdown, from the same numbers."""

import re

from organism.amounts import NANOUSD_PER_USD, TokenUsage
from organism.exporters.report_html import render_html
from organism.exporters.report_markdown import render_markdown
from organism.exporters.report_tables import usd
from organism.usage.drift import BillLine, drift
from organism.usage.events import UsageEvent
from organism.usage.period import Period, PeriodReport, report_period

NASTY = "<script>|x|*y*</script>"
DAY_NS = 86_400 * 1_000_000_000
START_NS = 1_793_491_200 * 1_000_000_000


def events() -> list[UsageEvent]:
    return [
        UsageEvent(
            id=str(day),
            time_ns=START_NS + day * DAY_NS,
            thread_id="t",
            root_thread_id="t",
            agent="writer",
            call_id=str(day),
            attempt=1,
            provider="p",
            model="main",
            request_model="m",
            response_model="m",
            usage=TokenUsage(input=1000, cached_input=500, output=100),
            cost_nanousd=NANOUSD_PER_USD * (day + 1),
            price_source="test",
            latency_ns=1_500_000_000,
            outcome="settled",
            labels={"tenant": NASTY},
        )
        for day in range(3)
    ]


def report() -> PeriodReport:
    return report_period(events(), Period())


def test_page_needs_nothing_from_elsewhere() -> None:
    """The page has its style and its chart inside, no script, and loads nothing."""
    page = render_html(report())

    assert page.startswith("<!doctype html>")
    assert "<svg" in page
    assert "$6.00" in page
    assert not re.search(r"<script|<link|<img|https?://|@import|url\(", page)


def test_names_from_outside_stay_text() -> None:
    """A label cannot become markup, in either form."""
    page, markdown = render_html(report()), render_markdown(report())

    assert NASTY not in page
    assert "&lt;script&gt;" in page
    assert NASTY not in markdown
    for line in markdown.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) in (6, 7, 8)


def test_both_forms_tell_the_same() -> None:
    """Every number of the page's tables is in the Markdown."""
    bill = [BillLine(Period().day_of(START_NS), "m", 2 * NANOUSD_PER_USD)]
    drifts = drift(events(), bill, Period())
    page, markdown = render_html(report(), drifts), render_markdown(report(), drifts)

    cells = re.findall(r"<td[^>]*>([^<]+)", page)
    assert len(cells) > 30
    plain = markdown.replace("\\", "")
    assert not [cell for cell in cells if cell.replace("&lt;", "<").replace("&gt;", ">") not in plain]
    assert "billed more than recorded" in markdown


def test_dollars_are_readable_at_any_size() -> None:
    """Large sums show cents, small ones show as many digits as they have."""
    assert usd(1_234_567_890_000_000) == "$1,234,567.89"
    assert usd(-25_000_000) == "-$0.03"
    assert usd(1_500) == "$0.0000015"
    assert usd(0) == "$0.00"
