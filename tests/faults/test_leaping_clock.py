"""A day's budget on a machine whose clock leaps: no day is opened twice, and none is overspent."""

import random
from collections.abc import Callable

import pytest

from organism.amounts import Amounts, Limits
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.clock import SteadyClock
from organism.ledger.entries import AccountOpened, AnyEntry
from organism.ledger.ledger import Cost, Ledger
from organism.testing import run

Record = Callable[[str, object], None]
S = 1_000_000_000
START = 1_700_000_000 * S
LEAPS = (-86_400, -3_600, -299, -1, 0, 0, 0, 1, 299, 3_600, 86_400)


class Machine:
    """The machine's two clocks, each moved by hand."""

    def __init__(self) -> None:
        self.wall, self.monotonic = START, 0

    def now_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic


@pytest.mark.parametrize("seed", range(6))
def test_no_day_is_opened_twice_whatever_the_clock_does(seed: int, record_property: Record) -> None:
    """Leaps over midnight and back give nobody yesterday's budget again, nor tomorrow's today."""
    chance, machine = random.Random(seed), Machine()
    clock = SteadyClock(machine)
    entries: list[AnyEntry] = []
    plan = BudgetPlan(thread=Limits(tokens=10**9), windows={"day": Limits(tokens=100)}, final_reserve_percent=0)
    registry = ThreadBudgetRegistry(plan, Ledger(entries.append), clock, wait_s=0)
    registry.open_thread("t")
    made, overspent = 0, 0
    for _ in range(400):
        machine.monotonic += (passed := chance.randint(0, 4_000)) * S
        machine.wall += (passed + chance.choice(LEAPS)) * S
        held = run(registry.reserve, Spender("t", "a", "m"), Ask(input_tokens=29, output_cap=1))
        if isinstance(held, GrantedHold):
            made += 1
            registry.settle(held, Amounts(30, 0, 1), Cost())
        registry.accounts.close_idle()
        for state in registry.states():
            if state.account.startswith("organism@day"):
                overspent = max(overspent, state.spent.tokens + state.held.tokens - 100)

    days = [entry.account for entry in entries if isinstance(entry, AccountOpened) and "@day" in entry.account]
    record_property("days opened twice", len(days) - len(set(days)))
    record_property("overspent tokens", max(0, overspent))
    assert days == sorted(set(days))
    assert overspent <= 0
    assert 0 < made <= 3 * len(days)
