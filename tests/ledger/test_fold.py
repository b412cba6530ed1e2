"""What entries do to balances: that nothing is left out. What each does is shown through the ledger's commands."""

from typing import get_args

from organism.amounts import Limits
from organism.ledger.entries import AnyEntry
from organism.ledger.fold import FOLDS
from organism.ledger.ledger import Ledger


def test_every_kind_of_entry_is_folded() -> None:
    """No entry that a journal can hold is unknown to a replay."""
    assert set(FOLDS) == set(get_args(AnyEntry))


def test_of_whole_limits_passed_only_the_last_is_kept() -> None:
    """An account that is only watched does not grow with each limit that it passes, and no unit loses another's."""
    ledger = Ledger()
    ledger.open("a", Limits(tokens=10, calls=10), 0)
    for threshold in (75, 95, 200, 300, 400):
        ledger.fire("a", "tokens", threshold, 0)
    ledger.fire("a", "calls", 200, 0)

    assert ledger.balance("a").fired == {("tokens", 75), ("tokens", 95), ("tokens", 400), ("calls", 200)}


def test_of_thresholds_that_stand_under_new_limits_it_stays_known_when_they_were_reached() -> None:
    """An agent that has heard of one is not told again after a raise; of those that do not stand nothing is kept."""
    ledger = Ledger()
    ledger.open("a", Limits(tokens=100), 0)
    for threshold in (75, 90):
        ledger.fire("a", "tokens", threshold, 0, call_size=5)
    before = {each for each in ledger.balance("a").fired_seqs if each[1] == 75}

    ledger.set_limits("a", Limits(tokens=110), [("tokens", 75)], 1)

    balance = ledger.balance("a")
    assert balance.fired == {("tokens", 75)}
    assert (balance.fired_seqs, balance.ahead) == (before, {("tokens", 75, 5)})
    assert len(before) == 1
