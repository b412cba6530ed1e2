"""Calls that were under way when the process ended: what had left is charged, what had not is given back."""

import pytest

from organism.amounts import Amounts, Limits
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.ledger.entries import AnyEntry, CallRecord
from organism.ledger.ledger import Ledger
from organism.messages import BudgetWarning
from organism.router.orphaned_holds import resolve_orphans
from organism.stores.memory import MemoryJournal
from organism.testing import ManualClock, run
from organism.usage.events import UsageEvent
from organism.usage.outbox import Outbox

PLAN = BudgetPlan(thread=Limits(tokens=100), final_reserve_percent=0)
ME = Spender("t", "writer", "main")
CALL = CallRecord(
    thread_id="t", root_thread_id="t", agent="writer", message_id="", call_id="c", attempt=1, provider="p",
    model="main", request_model="m", input_tokens=60, output_cap=20, price_source=None,
)  # fmt: skip


def restarted(*, left: bool) -> tuple[ThreadBudgetRegistry, Ledger]:
    """Return the budgets of a process that begins after one that died with a call of eighty tokens under way."""
    entries: list[AnyEntry] = []
    registry = ThreadBudgetRegistry(PLAN, Ledger(entries.append), ManualClock())
    registry.open_thread("t")
    held = run(registry.reserve, ME, Ask(input_tokens=60, output_cap=20), CALL)
    assert isinstance(held, GrantedHold)
    if left:
        registry.dispatch(held.hold_id)
    ledger = Ledger.replay(entries)
    again = ThreadBudgetRegistry(PLAN, ledger, ManualClock())
    again.restore_thread("t", parent=None, carve=None, open_ns=0)
    return again, ledger


@pytest.mark.parametrize("left", [True, False], ids=["had left", "had not left"])
def test_what_had_left_is_charged_and_what_had_not_is_given_back(*, left: bool) -> None:
    """Nobody knows what became of a call that was let out, so all that it held is charged, told and warned of."""
    registry, ledger = restarted(left=left)
    events: list[object] = []
    warned: list[BudgetWarning] = []
    outbox = Outbox(MemoryJournal(), events.append, ManualClock())

    resolved = resolve_orphans(registry, outbox, lambda _thread: {"tenant": "a"}, lambda _me, it: warned.append(it))

    state = registry.budget("t")
    assert (resolved, ledger.open_holds, state.held) == (1, (), Amounts())
    assert state.spent == (Amounts(80, 0, 1) if left else Amounts())
    usage = [event for event in events if isinstance(event, UsageEvent)]
    assert [(event.outcome, event.usage.total, event.labels, event.abandoned, event.latency_ns) for event in usage] == (
        [("worst_case", 80, {"tenant": "a"}, True, 0)] if left else []
    )
    assert [warning.threshold for warning in warned] == ([75] if left else [])
