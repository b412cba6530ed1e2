"""A report as people see it: one page that needs nothing else, and Markdown, from the same numbers."""

import html
import re
from decimal import Decimal
from random import Random
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace

from organism.amounts import NANOUSD_PER_USD, TokenUsage
from organism.billing.bill import BillLine
from organism.billing.period import Period, PeriodReport, report_period
from organism.billing.reconciliation import reconcile
from organism.billing.reports.csv_report import csv_rows
from organism.billing.reports.html_report import render_html
from organism.billing.reports.markdown_report import render_markdown
from organism.billing.reports.report_tables import ROWS_MAX, headline, tables
from organism.text.plain_text import csv_lines
from organism.usage.attempts import Outcome
from organism.usage.events import UsageEvent

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
    drifts = reconcile(events(), bill, Period())
    page, markdown = render_html(report(), drifts), render_markdown(report(), drifts)

    cells = re.findall(r"<td[^>]*>([^<]+)", page)
    assert len(cells) > 30
    plain = html.unescape(markdown.replace("\\", ""))
    assert not [cell for cell in cells if html.unescape(cell) not in plain]
    assert "billed more than recorded" in markdown


@pytest.mark.parametrize("seed", range(10))
def test_rows_of_every_table_add_up_to_the_total(seed: int) -> None:
    """What is shown adds up to the cost at the head to the last digit, however many rows there would be."""
    chance = Random(seed)
    made = [
        replace(
            events()[0],
            id=str(number),
            time_ns=START_NS + chance.randrange(90) * DAY_NS,
            agent=f"a{chance.randrange(80)}",
            model="" if (tool := chance.choice(["", "", "search"])) else f"m{chance.randrange(70)}",
            tool=tool,
            labels={"tenant": str(chance.randrange(60))} if chance.random() < 0.8 else {},
            cost_nanousd=chance.choice([chance.randrange(1, 10**11), chance.randrange(1, 10**8), 3]),
        )
        for number in range(300)
    ]
    found = report_period(made, Period())
    total = dict(headline(found))["cost"]
    cuts = [table for table in tables(found, None) if table.title.startswith("By ")]
    assert {table.title for table in cuts} == {
        "By agent", "By model", "By tool", "By provider", "By label tenant", "By day"
    }  # fmt: skip
    for table in cuts:
        assert len(table.rows) <= ROWS_MAX + 1
        assert sum(Decimal(re.sub("[$,]", "", row[1])) for row in table.rows) == Decimal(re.sub("[$,]", "", total))


@pytest.mark.parametrize(
    "label",
    [
        "<img src=x onerror=alert(1)>",
        "&lt;img&gt;",
        "![x](http://evil/x.png)",
        "[x](javascript:alert(1))",
        "http://evil.example www.evil.example me@evil.example",
        "a|b\n| forged | row |",
        "`code` **bold** ~~gone~~ # head",
        "\x1b[2J\u202eback\u2066",
        "a\u2028b\x85c\x0bd",
        '" onmouseover="alert(1)',
        "' style='x",
    ],
)
def test_label_is_text_in_every_form(label: str) -> None:
    """HTML, links, pictures, mentions, rows and what a terminal obeys are letters in a page and in Markdown."""
    named = [msgspec.structs.replace(event, labels={"tenant": label, f"<{label}>": "x"}) for event in events()]
    found = report_period(named, Period())
    page, markdown = render_html(found), render_markdown(found)

    for text in (page, markdown):
        assert not re.search(r"<(?:img|script|x)|onerror=alert\(1\)>", text)
        assert all(one.isprintable() or one == "\n" for one in text)
    assert 'onmouseover="' not in page
    assert not re.search(r"(?<!\\)[`*~\[\]](?:code|bold|gone|x)", markdown)
    assert not re.search(r"https?://evil|www\.evil|me@evil", markdown)
    assert not any(line.startswith("| forged") for line in markdown.splitlines())
    assert len(markdown.splitlines()) == len(render_markdown(report()).splitlines()) + 6


def test_rows_for_spreadsheets_add_up_to_the_total() -> None:
    """Each way to cut the whole adds up to it, to the nano-dollar, and no name becomes a formula."""
    head, total, *rows = csv_rows(report())
    cost, calls = head.index("cost_nanousd"), head.index("calls")
    for by in ("day", "agent"):
        assert sum(cast("int", row[cost]) for row in rows if row[0] == by) == total[cost]
        assert sum(cast("int", row[calls]) for row in rows if row[0] == by) == total[calls]
    assert {len(row) for row in (total, *rows)} == {len(head)}
    text = csv_lines([["agent", "=1+1", 0.5], *rows])
    assert "'=1+1" in text
    assert "E-" not in text


def usage(cost: int | None, outcome: Outcome = "settled") -> UsageEvent:
    return replace(events()[0], cost_nanousd=cost, outcome=outcome)


@pytest.mark.parametrize(
    ("recorded", "billed", "reason"),
    [
        ([usage(NANOUSD_PER_USD)], NANOUSD_PER_USD, ""),
        ([usage(NANOUSD_PER_USD + 1)], NANOUSD_PER_USD, ""),
        ([], NANOUSD_PER_USD, "billed more than recorded: no call here"),
        ([usage(None)], NANOUSD_PER_USD, "billed more than recorded: 1 call without a price"),
        ([usage(1)], NANOUSD_PER_USD, "billed more than recorded: calls past organism"),
        ([usage(2 * NANOUSD_PER_USD, "worst_case")], NANOUSD_PER_USD, "$2.00 charged in full for calls whose count"),
        ([usage(2 * NANOUSD_PER_USD)], NANOUSD_PER_USD, "other prices, a discount or a credit"),
    ],
)
def test_each_line_of_a_drift_says_why(recorded: list[UsageEvent], billed: int, reason: str) -> None:
    """What was charged in doubt, what has no price, and what never came by here are told apart, line by line."""
    (drift,) = reconcile(recorded, [BillLine(Period().day_of(START_NS), "m", billed)], Period())
    assert drift.reason.startswith(reason)
    assert bool(drift.reason) == bool(reason)
    rows = list(csv_rows(report_period(recorded, Period()), [drift]))
    assert rows[-1][0] == "bill"
    assert rows[-1][-1] == drift.reason
    assert len(rows[-1]) == len(rows[0])


def with_tokens(cost: int, tokens: TokenUsage, outcome: Outcome = "settled") -> UsageEvent:
    return replace(usage(cost, outcome), usage=tokens)


SAME = TokenUsage(input=100, cached_input=20, output=10)
DOLLAR = NANOUSD_PER_USD


@pytest.mark.parametrize(
    ("recorded", "billed", "counted", "reason"),
    [
        ([with_tokens(DOLLAR, SAME)], DOLLAR, SAME, ""),
        ([with_tokens(DOLLAR, SAME)], None, SAME, ""),
        ([with_tokens(1, SAME)], DOLLAR, SAME, "billed more than recorded: the same tokens, so other prices"),
        (
            [with_tokens(1, SAME)],
            DOLLAR,
            TokenUsage(input=120, output=10),
            "billed more than recorded: the same tokens, but 20 tokens fewer read from a cache there, or other prices",
        ),
        (
            [with_tokens(1, SAME)],
            DOLLAR,
            SAME + TokenUsage(5),
            "billed more than recorded: 5 tokens more counted than recorded, by calls past organism",
        ),
        ([with_tokens(1, SAME)], DOLLAR, TokenUsage(1), "billed more than recorded: other prices"),
        ([with_tokens(2 * DOLLAR, SAME)], DOLLAR, SAME, "the same tokens, so other prices, a discount or a credit"),
        (
            [with_tokens(2 * DOLLAR, SAME)],
            DOLLAR,
            TokenUsage(129),
            "1 token fewer counted than recorded, or other prices, a discount or a credit",
        ),
        (
            [with_tokens(DOLLAR, SAME)],
            DOLLAR,
            TokenUsage(131),
            "1 token more counted than recorded: calls past organism",
        ),
        ([with_tokens(DOLLAR, SAME)], None, TokenUsage(129), "1 token fewer counted than recorded"),
        (
            [with_tokens(0, SAME), replace(with_tokens(0, SAME, "worst_case"), id="in doubt")],
            0,
            SAME,
            "130 tokens charged in full for calls whose count nobody knows",
        ),
        ([], None, SAME, "130 tokens more counted than recorded: no call here, so it was made past organism"),
    ],
)
def test_tokens_that_a_provider_has_counted_explain_a_difference(
    recorded: list[UsageEvent], billed: int | None, counted: TokenUsage, reason: str
) -> None:
    """Other prices, other tokens and calls past organism are told apart, in every form of a report."""
    day = Period().day_of(START_NS)
    bill = [BillLine(day, "m", None, counted=counted), *([] if billed is None else [BillLine(day, "m", billed)])]
    (drift,) = reconcile(recorded, bill, Period())
    assert drift.reason.startswith(reason)
    assert bool(drift.reason) == bool(reason)
    report = report_period(recorded, Period())
    head, *_, row = csv_rows(report, [drift])
    assert dict(zip(head, row, strict=True))["counted_tokens"] == counted.total
    assert f"{counted.total:,} | {drift.recorded.total:,}" in render_markdown(report, [drift])


def test_event_that_is_told_twice_counts_once_against_the_bill() -> None:
    """A stream of events that was read twice does not look like spend that nobody has billed."""
    event = replace(usage(DOLLAR), id="7")
    (drift,) = reconcile([event, event], [BillLine(Period().day_of(START_NS), "m", DOLLAR)], Period())
    assert (drift.calls, drift.difference_nanousd) == (1, 0)


def test_tokens_that_are_counted_stand_by_the_costs_of_their_model() -> None:
    """A line item with a name for people and the identifier that is counted are one line; days without models too."""
    day = Period().day_of(START_NS)
    counts = [BillLine(day, "gpt-4o-mini-2024-07-18", None, counted=SAME), BillLine(day, "o3", None, counted=SAME)]
    by_name = reconcile([], [*counts, BillLine(day, "GPT-4o mini", DOLLAR)], Period())
    assert [(line.model, line.billed_nanousd, line.counted) for line in by_name] == [
        ("GPT-4o mini", DOLLAR, SAME),
        ("o3", 0, SAME),
    ]
    (whole,) = reconcile([], [*counts, BillLine(day, None, DOLLAR)], Period())
    assert (whole.model, whole.counted) == (None, SAME + SAME)
