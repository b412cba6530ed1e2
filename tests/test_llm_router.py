"""The router on its own: budgets and providers for a program that has no agents."""

from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, ConfigError, Limits, ThreadBudgetRegistry, UsageEvent, UsageTracker
from organism.budgets import llm_router
from organism.errors import UnknownAccountError
from organism.testing import ScriptedProvider

pytestmark = pytest.mark.anyio


@pytest.fixture
def budgets() -> ThreadBudgetRegistry:
    """Make budgets with one thread that may make three calls."""
    made = ThreadBudgetRegistry(Limits(calls=3))
    made.open_thread("job")
    return made


async def test_calls_are_held_settled_and_told(budgets: ThreadBudgetRegistry) -> None:
    """A call in plain words is charged to its thread by what the provider billed, and told with its metadata."""
    told: list[UsageEvent] = []
    usage, provider = UsageTracker(), ScriptedProvider(["blue"])
    usage.subscribe(told.append, UsageEvent)
    async with llm_router({"main": "s/any"}, {"s": provider}, budgets, usage=usage) as router:
        answer = await router.complete("which?", model="main", thread_id="job", metadata={"team": "a"})
    assert (answer.text, budgets.budget("job").spent.tokens) == ("blue", provider.billed.total)
    assert (told[0].total_tokens, told[0].labels, told[0].agent) == (provider.billed.total, {"team": "a"}, "")


async def test_no_more_calls_leave_than_fit(budgets: ThreadBudgetRegistry) -> None:
    """Of ten calls at once three leave; the others are refused with every number."""
    refused: list[BudgetExhaustedError] = []
    provider = ScriptedProvider(["blue"], latency_s=0.01)

    async def call() -> None:
        try:
            await router.complete("which?", model="main", thread_id="job")
        except BudgetExhaustedError as error:
            refused.append(error)

    async with llm_router({"main": "s/any"}, {"s": provider}, budgets) as router, anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(call)
    assert (len(provider.bill), len(refused)) == (3, 7)


@pytest.mark.parametrize(
    ("about", "error"),
    [
        ({"thread_id": "job"}, ConfigError),
        ({"model": "main"}, ConfigError),
        ({"model": "nobody's", "thread_id": "job"}, ConfigError),
        ({"model": "main", "thread_id": "other"}, UnknownAccountError),
    ],
)
async def test_a_call_says_who_pays_and_which_model(
    budgets: ThreadBudgetRegistry, about: dict[str, Any], error: type[Exception]
) -> None:
    """What is missing or unknown is an error, and nothing leaves."""
    provider = ScriptedProvider(["blue"])
    async with llm_router({"main": "s/any"}, {"s": provider}, budgets) as router:
        with pytest.raises(error, match=r"model|thread"):
            await router.complete("which?", **about)
    assert provider.bill == []
