"""What headers beside an answer say is left: of what ends the spending, and when it begins anew."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from organism import Limits
from organism.amounts import NS_PER_S
from organism.budget.scopes import BudgetPlan, LabelLimits, ScopedLimits, ScopeRule
from organism.testing import ManualClock
from tests.gateway.conftest import KEY, key

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
BODY = {"model": "main", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 10}
NOW_NS = int(datetime(2026, 11, 24, 18, 30, tzinfo=UTC).timestamp()) * NS_PER_S
BERLIN = ZoneInfo("Europe/Berlin")
AUDIT, HALF = ScopeRule(mode="audit"), ScopeRule(thresholds=(100,), actions=((50, "park"),))
FREE, TEN, FOUR = Limits(tokens=100_000), Limits(calls=10), Limits(calls=4)


async def headers(served: Serve, plan: BudgetPlan, **options: object) -> dict[str, str]:
    """Make one call and return the headers about budgets."""
    clock = ManualClock(NOW_NS)
    named = {"keys": (key("ci", KEY, labels={"tenant": "acme"}),)}
    async with served(limits=plan, clock=clock, gateway=named, **options) as gateway:
        answer = await gateway.http.post("/v1/chat/completions", json=BODY)
    assert answer.status_code == 200, answer.text
    begin = "organism-budget-"
    return {name.removeprefix(begin): text for name, text in answer.headers.items() if name.startswith(begin)}


LABELS = {"tenant": LabelLimits(each=ScopedLimits(FOUR, "day"))}
RESETS: dict[str, tuple[BudgetPlan, str | None]] = {
    "thread": (BudgetPlan(thread=FOUR), None),
    "hour": (BudgetPlan(thread=FREE, windows={"hour": FOUR}, time_zone=BERLIN), "2026-11-24T19:00:00+00:00"),
    "day": (BudgetPlan(thread=FREE, windows={"day": FOUR}, time_zone=BERLIN), "2026-11-24T23:00:00+00:00"),
    "month": (BudgetPlan(thread=FREE, windows={"month": FOUR}, time_zone=BERLIN), "2026-11-30T23:00:00+00:00"),
    "label": (BudgetPlan(thread=FREE, labels=LABELS, time_zone=BERLIN), "2026-11-24T23:00:00+00:00"),
    "lifetime": (BudgetPlan(thread=FREE, windows={"lifetime": FOUR}), None),
    "the nearest": (BudgetPlan(thread=FREE, windows={"day": TEN, "month": FOUR}), "2026-12-01T00:00:00+00:00"),
}


@pytest.mark.parametrize(("plan", "resets"), RESETS.values(), ids=RESETS)
async def test_window_of_the_nearest_limit_says_when_it_ends(
    served: Serve, plan: BudgetPlan, resets: str | None
) -> None:
    """In UTC, to the second, of days that begin in the configured zone; what never begins anew says nothing."""
    said = await headers(served, plan)
    assert (said.get("window-resets-at"), said["remaining-calls"]) == (resets, "3")


async def test_rolling_window_is_free_when_its_last_call_is_old(served: Serve) -> None:
    """Of a rolling window that is when all that is spent counts no more."""
    said = await headers(served, BudgetPlan(thread=FREE, windows={"6h": FOUR}))
    at = datetime.fromisoformat(said["window-resets-at"])
    assert 0 <= at.timestamp() - NOW_NS // NS_PER_S - 6 * 3600 <= 120


LEFT: dict[str, tuple[BudgetPlan, dict[str, str]]] = {
    "per call": (BudgetPlan(thread=TEN, windows={"call": Limits(tokens=500)}), {"calls": "9", "percent": "10"}),
    "audit": (
        BudgetPlan(thread=TEN, windows={"day": Limits(calls=1)}, rules={"day": AUDIT}),
        {"calls": "9", "percent": "10"},
    ),
    "ends at half": (
        BudgetPlan(thread=TEN, windows={"day": FOUR}, rules={"day": HALF}),
        {"calls": "1", "percent": "50"},
    ),
}


@pytest.mark.parametrize(("plan", "left"), LEFT.values(), ids=LEFT)
async def test_left_is_what_a_program_may_still_spend(served: Serve, plan: BudgetPlan, left: dict[str, str]) -> None:
    """A limit of each call is not used up, one in audit refuses nothing, and one that ends at half has half."""
    said = await headers(served, plan)
    assert {"calls": said["remaining-calls"], "percent": said["used-percent"]} == left
    assert "remaining-tokens" not in said


async def test_where_nothing_refuses_the_headers_say_what_would(served: Serve) -> None:
    """An organism in audit tells how far its limits are used: there is nothing else that it could tell."""
    said = await headers(served, BudgetPlan(thread=TEN), mode="audit")
    assert (said["remaining-calls"], said["used-percent"]) == ("9", "10")
