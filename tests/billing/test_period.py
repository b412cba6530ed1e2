"""A report of a period adds up, whatever way it is cut; its forecast and its drift are plain sums."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism import ConfigError
from organism.amounts import NANOUSD_PER_USD, NS_PER_S, UNLIMITED, ZERO, Amounts, BudgetState, Limits, TokenUsage
from organism.billing.bill import read_bill
from organism.billing.period import Period, report_period
from organism.billing.reconciliation import reconcile
from organism.billing.reports.markdown_report import render_markdown
from organism.errors import Refusal
from organism.usage.events import AnyEvent, BudgetExceeded, ThreadClosed, ThresholdCrossed, UsageEvent


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS_PER_S


def used(time: str = "2026-11-10T12:00", *, usd: int = 1, **fields: object) -> UsageEvent:
    defaults: dict[str, object] = {
        "time_ns": at(time),
        "thread_id": "t",
        "root_thread_id": "t",
        "agent": "writer",
        "call_id": "c",
        "attempt": 1,
        "provider": "p",
        "model": "main",
        "request_model": "m",
        "response_model": "m-2026",
        "usage": TokenUsage(input=10, output=5),
        "cost_nanousd": usd * NANOUSD_PER_USD,
        "price_source": "test",
        "latency_ns": 1,
        "outcome": "settled",
    }
    return UsageEvent(**(defaults | fields))  # type: ignore[arg-type]


@given(
    st.lists(
        st.builds(
            used,
            st.sampled_from(["2026-11-09T23:59", "2026-11-10T00:00", "2026-11-11T08:00"]),
            usd=st.integers(0, 9),
            agent=st.sampled_from("ab"),
            model=st.sampled_from("mn"),
            labels=st.sampled_from([{}, {"tenant": "x"}, {"tenant": "y", "team": "z"}]),
        )
    )
)
def test_every_cut_makes_up_the_whole(events: list[UsageEvent]) -> None:
    """Days, agents, models, providers and the values of each label all sum to the same total."""
    report = report_period(events, Period())

    for cuts in (report.by_day, report.by_agent, report.by_model, report.by_provider, *report.by_label.values()):
        assert sum(cut.totals.cost_nanousd for cut in cuts) == report.totals.cost_nanousd
        assert sum(cut.totals.calls for cut in cuts) == report.totals.calls == len(events)


def test_period_and_thread_choose_the_events() -> None:
    """A report is about its period, its thread with descendants, and counts what is told twice once."""
    events = [
        used("2026-11-09T23:59", id="1"),
        used("2026-11-10T00:00", id="2", thread_id="child", root_thread_id="root"),
        used("2026-11-10T00:00", id="2", thread_id="child", root_thread_id="root"),
        used("2026-11-10T23:59", id="3"),
        used("2026-11-11T00:00", id="4"),
    ]

    day = report_period(events, Period(since_ns=at("2026-11-10"), until_ns=at("2026-11-11")))
    assert day.totals.calls == 2
    assert day.threads == 2
    assert report_period(events, Period(thread_id="root")).totals.calls == 1
    assert report_period([], Period()).forecasts == ()


def test_days_begin_where_the_time_zone_says() -> None:
    """The same instant is another day elsewhere."""
    report = report_period([used("2026-11-09T23:30")], Period(time_zone=ZoneInfo("Europe/Berlin")))

    assert [cut.name for cut in report.by_day] == ["2026-11-10"]


def test_who_met_a_limit_is_counted_by_kind_of_limit() -> None:
    """Warnings and refusals of many threads are one line per agent, kind of limit and level."""
    shortfall = Refusal("organism@day:2026-11-10", "usd", 10, 10, 0, 1)
    crossed = [
        ThresholdCrossed(
            agent="a",
            account=f"thread:t{n}",
            dimension="tokens",
            threshold=75,
            level="warning",
            limit=4,
            spent=3,
            id=str(n),
        )
        for n in range(3)
    ]
    events: list[AnyEvent] = [*crossed, BudgetExceeded(agent="b", shortfall=shortfall, enforced=True)]

    found = [(w.agent, w.scope, w.level, w.count) for w in report_period(events, Period()).warned]
    assert found == [("a", "thread", "75 %", 3), ("b", "organism@day", "refused", 1)]


def test_waste_is_what_was_paid_without_use() -> None:
    """Retried attempts, cancelled calls, doubtful charges and ended threads are each summed."""
    closed = ThreadClosed(thread_id="ended", outcome="terminated", budget=BudgetState("", UNLIMITED, ZERO, ZERO))
    events: list[AnyEvent] = [
        used(call_id="retried", attempt=1, outcome="worst_case", usd=1),
        used(call_id="retried", attempt=2, usd=2),
        used(call_id="cancelled", abandoned=True, usd=4),
        used(call_id="other", thread_id="ended", usd=8),
        closed,
    ]

    costs = [waste.totals.cost_nanousd // NANOUSD_PER_USD for waste in report_period(events, Period()).waste]
    assert costs == [1, 4, 1, 8, 0]


def test_forecast_goes_on_at_the_pace_so_far() -> None:
    """A quarter of the day gone and a dollar spent makes four; the limit is reached when it is proportionally due."""
    budget = BudgetState(
        "organism@day:2026-11-10", Limits(cost_nanousd=2 * NANOUSD_PER_USD), Amounts(15, 10**9, 1), ZERO
    )

    day, month = report_period([used("2026-11-10T06:00", budgets=(budget,))], Period()).forecasts

    assert (day.spent_nanousd, day.projected_nanousd) == (10**9, 4 * 10**9)
    assert day.exhausted_ns == at("2026-11-10T12:00")
    assert month.limit_nanousd is None
    assert month.name == "2026-11"


def test_month_ends_with_no_less_than_its_day_under_way() -> None:
    """A month's slow days say nothing about a fast one: what is longer never costs less than what is in it."""
    budget = BudgetState(
        "organism@month:2026-11", Limits(cost_nanousd=3 * NANOUSD_PER_USD), Amounts(0, 2 * 10**9, 2), ZERO
    )
    events = [used("2026-11-01T12:00", usd=1), used("2026-11-30T06:00", usd=1, budgets=(budget,))]

    day, month = report_period(events, Period()).forecasts

    assert (day.projected_nanousd, month.projected_nanousd) == (4 * 10**9, 5 * 10**9)
    assert month.projected_tokens >= day.projected_tokens
    assert month.exhausted_ns == at("2026-11-30T12:00"), "a dollar is left, and the day spends one in six hours"


@given(st.lists(st.tuples(st.integers(0, 29 * 24), st.integers(0, 9)), min_size=1), st.integers(0, 24))
def test_longer_window_is_never_projected_below_the_shorter(uses: list[tuple[int, int]], later: int) -> None:
    """Whatever was spent when, and whenever one asks."""
    hour = 3_600 * NS_PER_S
    begin = at("2026-11-01T00:00")
    events = [msgspec.structs.replace(used(usd=usd), time_ns=begin + hours * hour) for hours, usd in sorted(uses)]

    day, month = report_period(events, Period(), events[-1].time_ns + later * hour).forecasts

    assert day.projected_nanousd <= month.projected_nanousd
    assert day.projected_tokens <= month.projected_tokens


def test_bill_is_compared_by_day_and_model() -> None:
    """A provider's own CSV beside what was recorded, by the model that answered or the one that was asked."""
    bill = read_bill(
        "\ufeffDate,Model,Cost-USD\n2026-11-10,m-2026,1.50\n2026-11-10,other,$0.25\n\n2026-11-11T00:00:00Z,m,-0.10\n"
    )
    events = [used(usd=1), used(usd=1), used("2026-11-11T01:00", usd=0)]

    found = [(d.day, d.model, d.difference_nanousd) for d in reconcile(events, bill, Period())]

    assert found == [
        (date(2026, 11, 10), "m-2026", 500_000_000),
        (date(2026, 11, 10), "other", -250_000_000),
        (date(2026, 11, 11), "m", 100_000_000),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model,cost\n", "no column with a day"),
        ("date,model\n", "no column with dollars"),
        ("date,cost\n2026-11-10,1\nyesterday,2\n", "line 3"),
        ("date,cost\n2026-11-10,much\n", "line 2"),
        ("date,cost\n2026-11-10,NaN\n", "line 2"),
        ("date,cost\n2026-11-10\n", "line 2"),
        ("", "no column"),
    ],
)
def test_bill_that_cannot_be_read_says_where(text: str, complaint: str) -> None:
    """A wrong bill is refused with its line, not read half."""
    with pytest.raises(ConfigError, match=complaint):
        read_bill(text)


def test_report_says_what_is_not_kept_any_more() -> None:
    """A period that begins before the oldest event that is kept does not pass for a whole one; a later one does."""
    oldest = at("2026-11-10")
    early = report_period([used()], Period(since_ns=at("2026-11-01")), kept_from_ns=oldest)
    assert early.kept_from_ns == oldest
    assert "events before 2026-11-10 00:00 are not kept any more" in render_markdown(early)
    late = report_period([used()], Period(since_ns=at("2026-11-10T06:00")), kept_from_ns=oldest)
    assert late.kept_from_ns == report_period([used()], Period(since_ns=oldest)).kept_from_ns == 0
    assert "not kept" not in render_markdown(late)


def test_attempts_of_a_call_are_told_apart_in_any_order() -> None:
    """A hedged call's attempts may be settled in either order: the first of them is what another followed."""
    one, two = used(call_id="c", attempt=1, usd=1), used(call_id="c", attempt=2, usd=2)
    for events in ([one, two], [two, one]):
        followed = report_period(events, Period()).waste[0]
        assert followed.totals.cost_nanousd == NANOUSD_PER_USD


def test_cost_that_comes_after_the_end_of_a_failed_thread_is_waste_too() -> None:
    """What a call has cost may be known when its thread has ended already."""
    end = ThreadClosed(thread_id="t", outcome="failed", budget=BudgetState("", UNLIMITED, ZERO, ZERO))
    report = report_period([used(usd=1), end, used(call_id="late", usd=2)], Period())
    assert report.waste[-1].totals.cost_nanousd == 3 * NANOUSD_PER_USD
