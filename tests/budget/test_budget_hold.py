"""Budgets on their own: a hold as a block, for whatever costs money."""

import math
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from organism.budgets import BudgetHold, Limits, ThreadBudgetRegistry, TokenUsage
from organism.errors import BudgetExhaustedError, ConfigError, LedgerStateError, UnknownAccountError

pytestmark = pytest.mark.anyio


def budgets(**limits: Any) -> ThreadBudgetRegistry:
    """Make budgets with one open thread, ``job``."""
    made = ThreadBudgetRegistry(Limits(**limits))
    made.open_thread("job")
    return made


async def test_what_is_held_is_settled_by_what_it_cost() -> None:
    """Within the block the worst case is held; afterwards the real cost is spent and nothing is held."""
    made = budgets(tokens=1000, usd="1")
    async with made.hold("job", tokens=800, usd="0.02") as hold:
        assert (made.budget("job").held.tokens, hold.amounts.cost_nanousd) == (800, 20_000_000)
        settled = hold.settle(TokenUsage(input=500, output=150), usd="0.015")
    state = made.budget("job")
    assert (state.spent.tokens, state.spent.cost_nanousd, state.held.tokens) == (650, 15_000_000, 0)
    assert [each.spent for each in settled.budgets] == [state.spent]


async def test_what_does_not_fit_never_runs() -> None:
    """The block of a hold that is refused is not entered."""
    made, ran = budgets(tokens=100), []
    with pytest.raises(BudgetExhaustedError, match="100 tokens"):
        async with made.hold("job", tokens=101):
            ran.append(True)
    assert (ran, made.budget("job").held.tokens) == ([], 0)


async def leave(_hold: BudgetHold) -> None: ...


async def fail(_hold: BudgetHold) -> None:
    raise OSError("reset")


async def be_cancelled(_hold: BudgetHold) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.lowlevel.checkpoint()


async def release(hold: BudgetHold) -> None:
    hold.release()


async def overrun(hold: BudgetHold) -> None:
    assert hold.settle(tokens=90).overrun.tokens == 40


@pytest.mark.parametrize(("work", "spent"), [(leave, 50), (fail, 50), (be_cancelled, 50), (release, 0), (overrun, 90)])
async def test_a_block_that_says_nothing_is_charged_whole(work: Any, spent: int) -> None:
    """However a block ends, its hold is resolved once: by what it said, else at its worst case."""
    made = budgets(tokens=100)
    try:
        async with made.hold("job", tokens=50) as hold:
            await work(hold)
    except OSError:
        pass
    assert (made.budget("job").spent.tokens, made.open_holds()) == (spent, ())


async def test_a_hold_is_resolved_once() -> None:
    """A second settle is an error, and charges nothing."""
    made = budgets(tokens=100)
    async with made.hold("job", tokens=50) as hold:
        hold.settle(tokens=10)
        for again in (hold.settle, hold.release):
            with pytest.raises(LedgerStateError, match="hold"):
                again()
    assert made.budget("job").spent.tokens == 10


async def test_many_holds_at_once_never_pass_the_limit() -> None:
    """Three hundred blocks race for a hundred places: a hundred run."""
    made, ran = budgets(calls=100), []

    async def work() -> None:
        try:
            async with made.hold("job") as hold:
                await anyio.lowlevel.checkpoint()
                ran.append(hold.settle())
        except BudgetExhaustedError:
            pass

    async with anyio.create_task_group() as tasks:
        for _ in range(300):
            tasks.start_soon(work)
    assert (len(ran), made.budget("job").spent.calls) == (100, 100)


@pytest.mark.parametrize(
    "amounts",
    [{"tokens": -1}, {"tokens": 1.5}, {"tokens": True}, {"usd": "much"}, {"usd": -1}, {"usd": math.nan}, {"usd": []}],
)
async def test_what_is_no_amount_is_refused(amounts: dict[str, Any]) -> None:
    """Nonsense is refused before anything is held."""
    with pytest.raises(ValueError, match=r"tokens|dollars"):
        budgets().hold("job", **amounts)


async def test_a_thread_without_a_budget_has_no_holds() -> None:
    """Who was never given a budget, or whose budget is closed, can hold nothing."""
    made = budgets(tokens=10)
    made.cleanup_thread("job")
    with pytest.raises(UnknownAccountError, match="job"):
        async with made.hold("job", tokens=1):
            pass


@pytest.mark.parametrize(("parts", "spent"), [([{"usd": "0.01"}], (0, 10)), ([{"tokens": 5}, {"tokens": 6}], (11, 0))])
async def test_what_is_charged_in_parts_is_charged_as_said_and_nothing_beside(
    parts: list[dict[str, Any]], spent: tuple[int, int]
) -> None:
    """Dollars alone are no tokens, and tokens alone no dollars."""
    made = budgets(tokens=1000, usd="1")
    async with made.hold("job", tokens=800, usd="0.02") as hold:
        for part in parts:
            hold.charge(**part)
    state = made.budget("job")
    assert (state.spent.tokens, state.spent.cost_nanousd, state.spent.calls) == (spent[0], spent[1] * 1_000_000, 1)


async def test_a_plain_block_in_a_coroutine_is_refused_and_holds_nothing() -> None:
    """It would run without having held anything, so it does not run."""
    made, ran = budgets(tokens=100), []
    with pytest.raises(ConfigError, match="async with"), made.hold("job", tokens=50):
        ran.append(True)
    assert (ran, made.budget("job").spent.tokens) == ([], 0)
