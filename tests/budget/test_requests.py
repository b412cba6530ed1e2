"""What a thread gets whose opener asks for limits: never more than is configured, unless that may operate."""

from typing import Any

import pytest

from organism.amounts import AMOUNT_MAX, Limits
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.requests import LimitsRequest, grant_limits
from organism.budget.scopes import BudgetPlan
from organism.errors import ConfigError
from organism.ledger.ledger import Ledger
from organism.testing import ManualClock

SET = Limits(tokens=100, calls=2)

ASKED: list[Any] = [
    ("nothing", None, SET, SET),
    ("an empty request", LimitsRequest(), SET, SET),
    ("empty limits", Limits(), SET, SET),
    ("less of one", Limits(tokens=40), Limits(tokens=40, calls=2), Limits(tokens=40, calls=2)),
    ("more of one", Limits(tokens=900), SET, Limits(tokens=900, calls=2)),
    ("as much as there is", Limits(tokens=AMOUNT_MAX), SET, Limits(tokens=AMOUNT_MAX, calls=2)),
    ("another unit", Limits(elapsed_ns=5), *[Limits(tokens=100, calls=2, elapsed_ns=5)] * 2),
    ("one removed", LimitsRequest(tokens="unlimited"), SET, Limits(calls=2)),
    ("all removed", LimitsRequest(tokens="unlimited", calls="unlimited"), SET, Limits()),
    ("one removed, one more", LimitsRequest(tokens="unlimited", calls=9), SET, Limits(calls=9)),
]


@pytest.mark.parametrize(("asked", "capped", "raised"), [row[1:] for row in ASKED], ids=[row[0] for row in ASKED])
def test_a_request_lifts_a_limit_only_for_whoever_may_operate(asked: Any, capped: Limits, raised: Limits) -> None:
    """What is not named stays, the lower of both holds, and only an operator gets more or removes one by saying so."""
    assert grant_limits(asked, SET, may_raise=False) == capped
    assert grant_limits(asked, SET, may_raise=True) == raised


@pytest.mark.parametrize("wrong", [-1, AMOUNT_MAX + 1, 1.5, True, "12", [1]])
@pytest.mark.parametrize("may_raise", [False, True])
def test_what_is_no_amount_is_refused_before_anything_is_opened(wrong: Any, may_raise: bool) -> None:
    """A limit that the journal could not hold, or that is no number, never becomes one."""
    with pytest.raises(ConfigError, match="whole number from 0 to"):
        grant_limits(LimitsRequest(tokens=wrong), SET, may_raise=may_raise)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(None, 6), (Limits(tokens=10), 6), (Limits(tokens=10, elapsed_ns=2_000_000_000), 2)]
    + [(Limits(tokens=10, elapsed_ns=far), 6) for far in (7_000_000_000, AMOUNT_MAX)],
)
def test_a_carved_child_has_no_more_time_than_is_left_above_it(asked: Limits | None, seconds: int) -> None:
    """A child that a limit is carved out for holds on its own account only, and still ends with its parent's time."""
    clock = ManualClock()
    plan = BudgetPlan(thread=Limits(tokens=None if asked is None else 100, elapsed_ns=10_000_000_000))
    registry = ThreadBudgetRegistry(plan, Ledger(), clock)
    registry.open_thread("t")
    clock.advance(4)

    registry.open_thread("child", parent="t", limits=asked, child_budget="carved")

    assert registry.budget("child").limits.elapsed_ns == seconds * 1_000_000_000
