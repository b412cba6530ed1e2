"""Money that is spent beside model calls goes through one door, on the windows of the moment at which it is let out."""

import anyio
import msgspec
import pytest

from organism.amounts import Limits
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.errors import Refusal
from organism.journal import JournalError, Then
from organism.ledger.entries import CallRecord
from organism.ledger.ledger import Cost, Ledger
from organism.router.call_events import CallEvents
from organism.router.spending.expense import Expense, ExpensePayer
from organism.router.spending.expenses import Expenses
from organism.stores.memory import MemoryJournal
from organism.testing import ManualClock, SequentialIds
from organism.usage.outbox import Outbox

pytestmark = pytest.mark.anyio

DAY_S = 86_400
DOLLAR = 10**9


def record(tool: str) -> CallRecord:
    return CallRecord(
        thread_id="t", root_thread_id="t", agent="a", message_id="", call_id=tool, attempt=1, provider="", model="",
        request_model="", input_tokens=0, output_cap=0, price_source=None, operation="execute_tool", tool=tool,
    )  # fmt: skip


def ask(usd: float) -> Ask:
    return Ask(input_tokens=0, output_cap=0, output_min=0, request_cost=round(usd * DOLLAR), calls=0)


async def held_over_midnight() -> tuple[GrantedHold | Refusal, ThreadBudgetRegistry]:
    """Wait in line for ninety cents of a day's dollar, get them, and find the day over before going on."""
    clock = ManualClock()
    plan = BudgetPlan(thread=Limits(usd=100), windows={"day": Limits(usd=1)}, final_reserve_percent=0)
    registry = ThreadBudgetRegistry(plan, clock=clock, wait_s=30)
    registry.open_thread("t")
    me = Spender("t", "a", "")
    first = await registry.reservations.take(me, ask(0.9), record("first"), wait_s=0)
    assert isinstance(first, GrantedHold)
    answers: list[GrantedHold | Refusal] = []

    async def second() -> None:
        answers.append(await registry.reservations.take(me, ask(0.9), record("second"), wait_s=30))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        registry.release(first.hold_id)  # the second is given it in this step, and runs on in a later one
        clock.advance(DAY_S)
        registry.serve_lines()
    return answers[0], registry


async def test_what_is_let_out_after_midnight_counts_on_the_new_day() -> None:
    """A hold that was granted a moment before midnight is held on the day on which the money is spent."""
    answer, registry = await held_over_midnight()

    assert isinstance(answer, GrantedHold)
    held = {str(state.account): state.held.cost_nanousd for state in registry.states() if state.held.cost_nanousd}
    days = [name for name in held if "organism@day" in name]
    assert [held[name] for name in days] == [9 * DOLLAR // 10]
    assert [str(name) for name in answer.accounts if "organism@day" in str(name)] == days
    (hold,) = registry.open_holds()
    assert (hold.hold_id, hold.dispatched) == (answer.hold_id, True)


async def test_charges_count_on_the_new_day_as_well() -> None:
    """What a handler has spent counts on the windows of the moment at which it says so."""
    _, registry = await held_over_midnight()

    settled = registry.charge(Spender("t", "a", ""), ask(0.1).amounts(0), record("post"), cost=Cost())

    on = [str(state.account) for state in settled.budgets if "organism@day" in str(state.account)]
    assert len(on) == 1
    assert settled.overrun.cost_nanousd == 0


async def test_what_costs_money_is_held_durably_before_it_is_bought() -> None:
    """A process that dies while a tool is being paid for finds the hold again: it was committed before."""
    journal = Committing()
    registry = ThreadBudgetRegistry(BudgetPlan(thread=Limits(usd=1)), Ledger(journal.append), ManualClock())
    registry.open_thread("t")
    call_events = CallEvents(Outbox(journal, lambda _event: None, ManualClock()))
    expenses = Expenses(registry, call_events, journal, ManualClock(), SequentialIds())
    payer = ExpensePayer(spender=Spender("t", "a", ""), root_thread_id="t", labels={}, message_id="m")

    held = await expenses.hold(Expense(what="search", cost_nanousd=DOLLAR // 10), payer)

    assert journal.durable_kinds[-2:] == ["Reserved", "Dispatched"]
    journal.broken = True
    with pytest.raises(JournalError, match="no room"):
        await expenses.hold(Expense(what="search", cost_nanousd=DOLLAR // 10), payer)
    assert [hold.hold_id for hold in registry.open_holds()] == [held.held.hold_id], "what was not kept is not held"


class Committing(MemoryJournal):
    """A journal that remembers what had been appended when it was asked to commit, and may be broken."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[str] = []
        self.durable_kinds: list[str] = []
        self.broken = False

    def append(self, record: msgspec.Struct, then: Then | None = None) -> None:
        self.appended.append(type(record).__name__)
        super().append(record, then)

    async def commit(self) -> None:
        if self.broken:
            raise JournalError("no room")
        self.durable_kinds = list(self.appended)
        await super().commit()
