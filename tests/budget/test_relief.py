"""When a refused call fits by itself."""

import shlex
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import pytest

from organism.amounts import Amounts, BudgetState, Dimension, Limits
from organism.budget.policy import Ask
from organism.budget.relief import (
    approval_relief,
    as_much_again,
    comes_sooner,
    lacking,
    raise_command,
    relief,
    remaining,
)
from organism.budget.scopes import BudgetPlan, ScopeRule, period, window_end_ns
from organism.errors import Refusal, Relief

ASK = Ask(input_tokens=50, output_cap=50, output_min=10, output_rate=1_000_000)
DAY_END = int(datetime(2026, 11, 25, tzinfo=UTC).timestamp()) * 10**9
MONTH_END = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 10**9
FREE = Limits()


def state(account: str, limits: Limits, *, spent: int = 0, held: int = 0, calls: int = 0) -> BudgetState:
    return BudgetState(account, limits, Amounts(spent, spent, calls), Amounts(held, held, calls and 1))


@pytest.mark.parametrize(
    ("dimension", "limit", "more"),
    [
        ("usd", 5 * 10**9, 5 * 10**9),
        ("usd", 0, 10**9),
        ("tokens", 0, 10_000),
        ("calls", 0, 10),
        ("seconds", 0, 60 * 10**9),
        ("seconds", 90 * 10**9, 90 * 10**9),
    ],
)
def test_what_is_offered_to_go_on_with_is_never_nothing(dimension: Dimension, limit: int, more: int) -> None:
    """As much again, and where the limit was nothing an amount that a call can be made with."""
    assert as_much_again(dimension, limit) == more


@pytest.mark.parametrize(
    ("account", "limit", "reserve", "more"),
    [
        ("thread:t", 1_000, 0, 50),
        ("thread:t", 1_000, 50, 107),  # of 1,107 tokens 5 % are kept: 55
        ("thread:t", 1_000, 500, 1_101),  # half: of 2,101 tokens 1,051 are kept
        ("thread:t", 1_000, 800, 850),  # no per cent: as large as a call
        ("thread:t", 1_000, 1_000, 1_050),
        ("thread:t", 1_000, 5_000, 5_050),
        ("organism@day:2026-11-24", 1_000, 50, 100),
        ("organism@day:2026-11-24", 1_000, 1_000, 1_050),
    ],
)
def test_raise_that_is_offered_has_room_for_the_call_and_what_is_kept(
    account: str, limit: int, reserve: int, more: int
) -> None:
    """What is kept may be a per cent of a thread's limit, or a call, which may be as large as the limit itself."""
    assert lacking(Refusal(account, "tokens", limit, 950, 0, 100, reserve)) == more


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param([state("thread:t", Limits(tokens=100), spent=60)], None, id="thread spent"),
        pytest.param([state("thread:t", Limits(tokens=100), held=60)], Relief(), id="thread held"),
        pytest.param([state("thread:t", Limits(tokens=60), held=60)], None, id="held, and only the slice would do"),
        pytest.param([state("agent:a@thread:t", Limits(calls=1), calls=1)], None, id="calls of an agent per thread"),
        pytest.param([state("organism@day:2026-11-24", Limits(tokens=100), spent=60)], Relief(DAY_END), id="day"),
        pytest.param([state("agent:a@day:2026-11-24", Limits(calls=1), calls=1)], Relief(DAY_END), id="agent per day"),
        pytest.param([state("model:m@month:2026-11", Limits(tokens=70), spent=60)], Relief(MONTH_END), id="model"),
        pytest.param([state("provider:p@day:2026-11-24", Limits(tokens=70), held=60)], Relief(), id="provider, held"),
        pytest.param([state("organism@day:2026-11-24", Limits(tokens=59))], None, id="too large for any day"),
        pytest.param([state("organism@day:2026-11-24", Limits(calls=0))], None, id="a day of nothing"),
        pytest.param(
            [state("organism@day:2026-11-24", Limits(tokens=100), spent=60),
             state("organism@month:2026-11", Limits(tokens=100), spent=60)],
            Relief(MONTH_END), id="day and month",
        ),
        pytest.param(
            [state("thread:t", Limits(tokens=100), spent=60),
             state("organism@day:2026-11-24", Limits(tokens=100), spent=90)],
            None, id="the day refuses more, the thread for ever",
        ),
        pytest.param(
            [state("thread:t", Limits(tokens=100), held=60),
             state("organism@day:2026-11-24", Limits(tokens=100), spent=60)],
            Relief(DAY_END), id="held and day",
        ),
        pytest.param(
            [state("thread:t", Limits(tokens=100, cost_nanousd=9), held=60)], None, id="held, and no money"
        ),
        pytest.param([state("thread:t", FREE), state("organism@day:2026-11-24", FREE)], Relief(), id="room came back"),
    ],
)  # fmt: skip
def test_relief_is_when_the_last_scope_in_the_way_lets_the_call_in(
    states: list[BudgetState], expected: Relief | None
) -> None:
    """All that refuses counts, not only the scope that is named; what never comes back by itself says so."""
    assert relief(states, ASK, BudgetPlan()) == expected


@pytest.mark.parametrize(
    ("account", "zone", "end"),
    [
        ("organism@day:2026-11-24", "UTC", "2026-11-25T00:00:00+00:00"),
        ("agent:a@day:2026-12-31", "Europe/Berlin", "2027-01-01T00:00:00+01:00"),
        ("model:m@month:2026-12", "America/New_York", "2027-01-01T00:00:00-05:00"),
        ("organism@month:2028-02", "Asia/Kathmandu", "2028-03-01T00:00:00+05:45"),
        ("organism@day:2026-03-29", "Europe/Berlin", "2026-03-30T00:00:00+02:00"),
        ("organism@day:2026-10-25", "Europe/Berlin", "2026-10-26T00:00:00+01:00"),
        ("provider:a:b@c@day:2026-04-23", "Africa/Cairo", "2026-04-24T01:00:00+03:00"),
    ],
)
def test_window_ends_where_the_next_one_begins(account: str, zone: str, end: str) -> None:
    """Long and short days, leap years and time zones included: one nanosecond before, the old window is in force."""
    where = ZoneInfo(zone)
    end_ns = window_end_ns(account, where)
    assert end_ns is not None
    assert datetime.fromtimestamp(end_ns // 10**9, where).isoformat() == end
    window: Literal["day", "month"] = "day" if "@day:" in account else "month"
    assert account.endswith(period(window, end_ns - 1, where))
    assert not account.endswith(period(window, end_ns, where))


@pytest.mark.parametrize("account", ["thread:day:2026-11-24", "agent:a@thread:t", "thread:x@y", "provider:p@thread:t"])
def test_account_that_counts_no_window_has_no_end(account: str) -> None:
    """A thread's name cannot make its account look like a day's."""
    assert window_end_ns(account, UTC) is None


def test_what_comes_never_comes_last() -> None:
    """Of several refusals the one that passes soonest is told: calls under way before days before months."""
    order: list[Relief | None] = [Relief(), Relief(DAY_END), Relief(MONTH_END), None]
    for place, one in enumerate(order):
        assert [comes_sooner(one, other) for other in order] == [place < at for at in range(4)]


@pytest.mark.parametrize("account", ["thread:th_1", "label:team=a b@day", "label:team=a';reboot;'@month", "agent:$(x)"])
@pytest.mark.parametrize(("dimension", "amount", "option"), [("usd", 1, "--usd 0.01"), ("calls", 3, "--calls 3")])
def test_command_that_raises_is_one_when_pasted(account: str, dimension: Dimension, amount: int, option: str) -> None:
    """A label's value comes from outside: a shell reads it as one argument, whatever it contains."""
    words = shlex.split(raise_command(account, dimension, amount))
    assert words == ["organism", "budget", "raise", account, *option.split()]


def test_raise_that_is_offered_where_the_limit_was_nothing_is_enough_to_begin_with() -> None:
    """Twice what the call takes, or what calls are begun with: nobody knows what a higher limit would keep."""
    assert lacking(Refusal("organism@day:2026-11-24", "tokens", 0, 0, 0, 6_000)) == 12_000
    assert lacking(Refusal("organism@day:2026-11-24", "tokens", 0, 0, 0, 60)) == 10_000


def test_an_account_comes_below_its_threshold_when_enough_of_its_spend_counts_no_more() -> None:
    """At 75 % a person must say a word: 90 of 100 are spent, and it takes the second hour's end to be below."""
    day, rolling = "organism@day:2026-11-24", "agent:a@rolling:1h"
    refusal = Refusal(rolling, "tokens", 100, 90, 0, 0, threshold=75)
    steps = [(1, Amounts(10)), (2, Amounts(15)), (3, Amounts(16)), (4, Amounts(90))]

    assert approval_relief(state(rolling, Limits(tokens=100), spent=90), refusal, BudgetPlan(), steps) == Relief(3)
    assert approval_relief(state(day, Limits(tokens=100), spent=90), refusal, BudgetPlan(), ()) == Relief(DAY_END)
    assert approval_relief(state("thread:t", Limits(tokens=100), spent=90), refusal, BudgetPlan(), ()) is None


def test_what_only_watches_is_told_where_nothing_refuses() -> None:
    """What is left of a budget is what a refusal is due at; a limit of each call alone is no store."""
    thread, day = (state(name, Limits(tokens=100)) for name in ("thread:t", "organism@day:2026-11-24"))
    call = state("organism@call", Limits(tokens=10))
    watching = BudgetPlan(rules={"day": ScopeRule(mode="audit")})

    assert remaining([thread, day], BudgetPlan(), "enforce") == [thread, day]
    assert remaining([thread, day], watching, "enforce") == [thread]
    assert remaining([day], watching, "enforce") == [day]
    assert remaining([thread, day], BudgetPlan(), "off") == []
    assert remaining([call], BudgetPlan(), "enforce") == []
