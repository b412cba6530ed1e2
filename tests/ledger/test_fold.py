"""What entries do to balances: that nothing is left out. What each does is shown through the ledger's commands."""

from typing import get_args

from organism.ledger.entries import AnyEntry
from organism.ledger.fold import FOLDS


def test_every_kind_of_entry_is_folded() -> None:
    """No entry that a journal can hold is unknown to a replay."""
    assert set(FOLDS) == set(get_args(AnyEntry))
