"""The steps of the engine that nothing may repeat and nothing may pass."""

import pytest

from organism.amounts import Amounts, Limits
from organism.budget.account_book import AccountBook
from organism.budget.engine import BudgetEngine
from organism.budget.guards.freezes import Freeze
from organism.budget.holds import Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.errors import LedgerStateError, Refusal
from organism.ledger.ledger import Cost, Ledger
from organism.testing import ManualClock


def opened(ledger: Ledger) -> tuple[AccountBook, BudgetEngine]:
    """Return the accounts and the engine of a registry with one thread of a hundred tokens."""
    plan = BudgetPlan(thread=Limits(tokens=100), final_reserve_percent=0, warn_ahead=0)
    registry = ThreadBudgetRegistry(plan, ledger, ManualClock())
    registry.open_thread("t")
    return registry.accounts, registry._engine


def test_a_carve_is_returned_once() -> None:
    """What was carved for a child goes back to its parent once; asking again is an error and moves nothing."""
    ledger = Ledger()
    book, engine = opened(ledger)
    hold_id = engine.carve(("thread:t",), Limits(tokens=60))
    assert isinstance(hold_id, str)
    final = book.state("thread:t")
    engine.return_carve(hold_id, final)

    with pytest.raises(LedgerStateError, match="not open"):
        engine.return_carve(hold_id, final)

    assert (ledger.balance("thread:t").spent, ledger.balance("thread:t").held) == (final.spent, Amounts())


def test_a_frozen_thread_carves_nothing() -> None:
    """Under a freeze no child is given a limit of its own: it could spend it."""
    ledger = Ledger()
    _, engine = opened(ledger)
    engine.freezes.add(Freeze(by="operator", since_ns=0))

    refusal = engine.carve(("thread:t",), Limits(tokens=60))

    assert isinstance(refusal, Refusal)
    assert (refusal.cause, ledger.open_holds) == ("freeze", ())


def test_a_frozen_thread_holds_nothing() -> None:
    """Under a freeze the engine itself grants no hold, whatever else would stop the call before it leaves."""
    ledger = Ledger()
    book, engine = opened(ledger)
    engine.freezes.add(Freeze(by="operator", since_ns=0))
    spender = Spender("t", "writer", "main")

    refusal = engine.admit(spender, Ask(input_tokens=1, output_cap=1), None, book.accounts(spender))

    assert isinstance(refusal, Refusal)
    assert (refusal.cause, ledger.open_holds) == ("freeze", ())


def test_a_threshold_that_comes_late_is_not_made_up_for() -> None:
    """One below what was reported already, new since a reload, would only frighten: the higher one was told."""
    ledger = Ledger()
    book, _ = opened(ledger)
    ledger.reserve("h", ("thread:t",), Amounts(91), 0)
    ledger.settle("h", Amounts(91), Cost(), 0)
    assert [warning.threshold for warning in book.warnings.fire_reached("thread:t")] == [75, 90]

    book.replan(book.plan, (50, 80, 90, 95))

    assert book.warnings.fire_reached("thread:t") == ()
    assert {threshold for _, threshold in ledger.balance("thread:t").fired} == {75, 90}
