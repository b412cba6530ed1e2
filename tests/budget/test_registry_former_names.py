"""What the budgets' methods were called before works for one more release, with the new name in a warning."""

import pytest

from organism.amounts import Limits
from organism.budget.holds import Spender
from organism.budget.policy import Ask
from organism.budgets import ThreadBudgetRegistry
from organism.errors import Refusal
from organism.ledger.ledger import Ledger
from organism.testing import ManualClock, run

ME = Spender("t", "writer", "main")
LARGE = Ask(input_tokens=200, output_cap=1)


def test_last_warning_gives_the_warnings_of_warn_refused() -> None:
    """A program that asks what a refused call warns of by the former name gets the same warnings."""
    registry = ThreadBudgetRegistry(Limits(tokens=100))
    registry.open_thread("t")
    refusal = run(registry.reserve, ME, LARGE)
    assert isinstance(refusal, Refusal)

    with pytest.warns(DeprecationWarning, match="last_warning is now warn_refused"):
        warnings = registry.last_warning(ME, LARGE, refusal)

    assert [each.threshold for each in warnings] == [75, 90, 95]
    assert registry.warn_refused(ME, LARGE, refusal) == ((), False)


def test_fire_elapsed_gives_the_thresholds_in_seconds_of_warn_before() -> None:
    """A program that looks at the time before a call by the former name is warned as before."""
    clock = ManualClock()
    registry = ThreadBudgetRegistry(Limits(elapsed_ns=10_000_000_000, tokens=1, calls=1), Ledger(), clock)
    registry.open_thread("t")
    clock.advance(8)

    with pytest.warns(DeprecationWarning, match="fire_elapsed is now warn_before"):
        warnings = registry.fire_elapsed(ME)

    assert [(each.dimension, each.threshold) for each in warnings] == [("seconds", 75)]
