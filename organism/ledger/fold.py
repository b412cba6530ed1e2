"""What each kind of entry does to balances and holds: the only place where they change. Pure.

A table by kind and not a ``match``: a struct's class takes 130 ns for each "no", and the kinds are fourteen.
"""

from collections.abc import Callable
from copy import copy
from typing import Any

from organism.amounts import ZERO
from organism.ledger.account_balance import Balance
from organism.ledger.entries import (
    CARVED,
    AccountClosed,
    AccountOpened,
    Adjusted,
    AnyEntry,
    Checkpoint,
    Dispatched,
    Hold,
    LimitSliced,
    LimitsSet,
    Overran,
    Released,
    Remarked,
    Reserved,
    Settled,
    ShortfallReported,
    ThresholdFired,
    ThresholdPassed,
)
from organism.ledger.rolling import with_spend
from organism.ledger.windows import counted_ns
from organism.tables import pop_and_shrink

WHOLE = 100
"""Per cent of a limit."""


class LedgerState:
    """Balances and open holds, as the entries so far have made them.

    Attributes:
        balances: The open accounts, oldest first.
        holds: The unresolved holds, oldest first.
        seq: The number of the newest entry.
        checkpoint_seq: The number of the newest checkpoint; 0 without one.
    """

    __slots__ = ("balances", "checkpoint_seq", "holds", "seq")

    def __init__(self) -> None:
        self.balances: dict[str, Balance] = {}
        self.holds: dict[str, Hold] = {}
        self.seq = 0
        self.checkpoint_seq = 0

    def fold(self, entry: AnyEntry) -> None:
        """Take an entry in."""
        self.seq = entry.seq
        FOLDS[type(entry)](self, entry)


def _opened(state: LedgerState, entry: AccountOpened) -> None:
    state.balances[entry.account] = Balance(
        entry.account, entry.limits, entry.limits, counted_ns=counted_ns(entry.account)
    )


def _closed(state: LedgerState, entry: AccountClosed) -> None:
    pop_and_shrink(state.balances, entry.account)


def _limits_set(state: LedgerState, entry: LimitsSet) -> None:
    balance = state.balances[entry.account]
    balance.limits, balance.revision, balance.fired = entry.limits, entry.revision, frozenset(entry.carried)
    balance.ahead = frozenset(each for each in balance.ahead if each[:2] in balance.fired)
    balance.fired_seqs = frozenset(each for each in balance.fired_seqs if each[:2] in balance.fired)
    if entry.configured:
        balance.configured = entry.limits
    balance.final_to, balance.final_reserve_used, balance.reported = None, False, False
    balance.final_reserve_hold, balance.passed = "", frozenset()


def _sliced(state: LedgerState, entry: LimitSliced) -> None:
    balance = state.balances[entry.account]
    balance.slice, balance.elsewhere, balance.agreed = entry.slice, entry.elsewhere, entry.agreed


def _reserved(state: LedgerState, entry: Reserved) -> None:
    amounts, call = entry.amounts, entry.call
    state.holds[entry.hold_id] = Hold(entry.hold_id, entry.accounts, amounts, call=call)
    for account in entry.accounts:
        balance = state.balances[account]
        balance.held += amounts
        balance.open_holds += 1
    if call is not None and call.final_reserve_of:
        own = state.balances[call.final_reserve_of]
        own.final_reserve_used, own.final_reserve_hold = True, entry.hold_id


def _dispatched(state: LedgerState, entry: Dispatched) -> None:
    hold = state.holds[entry.hold_id]
    hold.dispatched, hold.dispatched_ns = True, entry.time_ns


def _settled(state: LedgerState, entry: Settled) -> None:
    hold = state.holds[entry.hold_id]
    size = entry.amounts if hold.overran is ZERO else entry.amounts + hold.overran
    took_ns = max(0, entry.time_ns - hold.dispatched_ns) if hold.dispatched_ns else 0
    is_call = hold.amounts.calls > 0 and entry.source != CARVED
    for balance in _take_hold_off(state, entry.hold_id):
        _spend(balance, entry)
        balance.unpriced_calls += not entry.priced
        if is_call:
            balance.last_call, balance.last_call_ns = size, took_ns


def _released(state: LedgerState, entry: Released) -> None:
    # What was not charged has not used the final reserve either. By the hold and not by the call's word alone: under
    # other limits, set meanwhile, another call may have taken it since.
    for balance in _take_hold_off(state, entry.hold_id):
        if balance.final_reserve_hold == entry.hold_id:
            balance.final_reserve_used, balance.final_reserve_hold = False, ""


def _take_hold_off(state: LedgerState, hold_id: str) -> list[Balance]:
    """Take a hold off all of its accounts, and return them."""
    hold = state.holds.pop(hold_id)
    balances = [state.balances[account] for account in hold.accounts]
    for balance in balances:
        balance.held -= hold.amounts
        balance.open_holds -= 1
    return balances


def _overran(state: LedgerState, entry: Overran) -> None:
    hold = state.holds[entry.hold_id]
    hold.overran = entry.amounts
    for account in hold.accounts:
        _spend(state.balances[account], entry)


def _spend(balance: Balance, entry: Settled | Overran | Adjusted) -> None:
    balance.spent += entry.amounts
    if balance.counted_ns:
        balance.recent = with_spend(balance.recent, entry.amounts, entry.time_ns, balance.counted_ns)


def _forget_lapsed_reports(balance: Balance, entry: ThresholdFired | ShortfallReported) -> None:
    """Begin anew with the reports about an account, if they are out of date."""
    if balance.notes_lapsed(entry.time_ns):
        balance.fired, balance.reported, balance.noted_ns = frozenset(), False, entry.time_ns
        balance.ahead = balance.fired_seqs = frozenset()


def _fired(state: LedgerState, entry: ThresholdFired) -> None:
    balance = state.balances[entry.account]
    _forget_lapsed_reports(balance, entry)
    # Of whole limits passed in audit only the last one is kept: there is no end to them.
    balance.fired = frozenset(each for each in balance.fired if each[0] != entry.dimension or each[1] <= WHOLE) | {
        (entry.dimension, entry.threshold)
    }
    kept = frozenset(each for each in balance.fired_seqs if each[:2] in balance.fired)
    balance.fired_seqs = kept | {(entry.dimension, entry.threshold, entry.seq)}
    if entry.call_size:
        balance.ahead |= {(entry.dimension, entry.threshold, entry.call_size)}
    if entry.threshold > WHOLE:
        balance.reported = False
    if entry.final:
        balance.final_to = entry.agent


def _reported(state: LedgerState, entry: ShortfallReported) -> None:
    balance = state.balances[entry.account]
    _forget_lapsed_reports(balance, entry)
    balance.reported = True


def _adjusted(state: LedgerState, entry: Adjusted) -> None:
    for account in entry.accounts:
        _spend(state.balances[account], entry)


def _passed(state: LedgerState, entry: ThresholdPassed) -> None:
    balance = state.balances[entry.account]
    balance.passed, balance.passed_ns = balance.passed_at(entry.time_ns) | {entry.threshold}, entry.time_ns


def _remarked(_state: LedgerState, _entry: Remarked) -> None:
    """It moves no money."""


def _checkpoint(state: LedgerState, entry: Checkpoint) -> None:
    state.checkpoint_seq = entry.seq
    state.balances = {balance.account: copy(balance) for balance in entry.balances}
    state.holds = {hold.hold_id: copy(hold) for hold in entry.holds}


FOLDS: dict[type[AnyEntry], Callable[[LedgerState, Any], None]] = {
    AccountOpened: _opened,
    AccountClosed: _closed,
    LimitsSet: _limits_set,
    LimitSliced: _sliced,
    Reserved: _reserved,
    Dispatched: _dispatched,
    Settled: _settled,
    Released: _released,
    Overran: _overran,
    ThresholdFired: _fired,
    ShortfallReported: _reported,
    Adjusted: _adjusted,
    Remarked: _remarked,
    ThresholdPassed: _passed,
    Checkpoint: _checkpoint,
}
