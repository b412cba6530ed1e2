"""The line of calls that wait for room: in order, and nothing left behind."""

import asyncio

import anyio
import pytest

from organism.amounts import Amounts, Limits
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan, Per, ScopeRule
from organism.errors import Refusal
from organism.ledger.ledger import Cost, Ledger
from organism.testing import VirtualClock, run

ME = Spender("t", "writer", "main")


def opened() -> ThreadBudgetRegistry:
    """Return a registry with one thread of a hundred tokens."""
    plan = BudgetPlan(thread=Limits(tokens=100), final_reserve_percent=0)
    registry = ThreadBudgetRegistry(plan, Ledger(), VirtualClock(), wait_s=30)
    registry.open_thread("t")
    return registry


async def hold(registry: ThreadBudgetRegistry, tokens: int) -> GrantedHold:
    call = await registry.reserve(ME, Ask(input_tokens=tokens - 1, output_cap=1))
    assert isinstance(call, GrantedHold)
    return call


@pytest.mark.parametrize("seed", range(5))
def test_nobody_behind_the_first_is_served_before_it(seed: int) -> None:
    """Room that is too small for the first in line is kept for it, although another one behind would fit."""

    async def main() -> None:
        registry = opened()
        first, second = await hold(registry, 40), await hold(registry, 40)
        order: list[int] = []

        async def wait(tokens: int) -> None:
            await hold(registry, tokens)
            order.append(tokens)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, 70)
            await anyio.sleep(1)
            tasks.start_soon(wait, 25)
            await anyio.sleep(1)
            registry.settle(first, Amounts(0), Cost())  # 60 are free: not enough for the first
            await anyio.sleep(1)
            assert order == []
            assert registry.budget("t").held.tokens == 40
            registry.settle(second, Amounts(0), Cost())
        assert sorted(order) == [25, 70]

    run(main, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_who_is_served_and_cancelled_at_once_holds_nothing(seed: int) -> None:
    """A caller that goes in the very instant in which it is given room gives it back, and the next one gets it."""

    async def main() -> None:
        registry = opened()
        blocker = await hold(registry, 80)
        leaving = asyncio.create_task(hold(registry, 60))
        await anyio.sleep(1)
        registry.settle(blocker, Amounts(0), Cost())
        assert registry.budget("t").held.tokens == 60, "it was served in that step"
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert registry.budget("t").held == Amounts()
        await hold(registry, 100)

    run(main, seed=seed)


def test_who_gives_up_in_front_lets_the_next_one_in_at_once() -> None:
    """Room that the first had waited for in vain is not left lying until somebody settles."""

    async def main() -> None:
        registry, granted = opened(), list[float]()
        await hold(registry, 60)

        async def wait(tokens: int) -> None:
            await registry.reserve(ME, Ask(input_tokens=tokens - 1, output_cap=1))
            granted.append(anyio.current_time() - began)

        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, 70)
            await anyio.sleep(10)
            tasks.start_soon(wait, 20)
        assert granted == [30, 30]

    run(main)


def test_what_nobody_needs_any_more_is_not_refused() -> None:
    """A call whose own time is up while it stands in line hears that, and not that a budget has refused it."""

    async def main() -> None:
        registry = opened()
        await hold(registry, 100)
        until_s = anyio.current_time() + 5

        assert await registry.reserve(ME, Ask(input_tokens=9, output_cap=1), until_s=until_s) is None
        assert isinstance(await registry.reserve(ME, Ask(input_tokens=9, output_cap=1)), Refusal)

    run(main)


@pytest.mark.parametrize("rules", [{}, {"day": ScopeRule(mode="audit")}], ids=["no rules", "rules"])
def test_what_may_as_well_not_be_done_is_not_done_before_those_who_wait(rules: dict[Per, ScopeRule]) -> None:
    """A call that is only of use at once takes no room for which another one stands in line."""

    async def main() -> None:
        day = {"day": Limits(tokens=10_000)}
        plan = BudgetPlan(thread=Limits(tokens=100), windows=day, rules=rules, final_reserve_percent=0)
        registry = ThreadBudgetRegistry(plan, Ledger(), VirtualClock(), wait_s=30)
        registry.open_thread("t")
        spare = Ask(input_tokens=9, output_cap=1)
        first = await hold(registry, 60)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, registry, 70)
            await anyio.sleep(1)
            assert registry.reserve_now(ME, spare) is None
            registry.settle(first, Amounts(0), Cost())
            await anyio.sleep(1)
            assert registry.budget("t").held.tokens == 70
            assert registry.reserve_now(ME, spare) is not None

    run(main)
