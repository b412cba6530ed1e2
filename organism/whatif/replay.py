"""Walk through a recorded thread and have every call decided once more, by the rules that calls are decided by. Pure.

The ledger's entries are taken in order. A hold of the thread's own calls is admitted anew and its settlement charged
anew, at the prices and on the accounts of where the call would have gone; what other threads did on the accounts that
they share stands as it was recorded. So the balances are at each call what they would have been.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from organism.amounts import ZERO, Limits
from organism.amounts.account import thread_of
from organism.budget.accounts.thread_budget import ThreadBudget
from organism.errors import ConfigError, Refusal, UnknownAccountError
from organism.ledger.account_balance import Balance
from organism.ledger.entries import (
    AccountClosed,
    AccountOpened,
    Adjusted,
    AnyEntry,
    Checkpoint,
    Dispatched,
    LimitsSet,
    Overran,
    Released,
    Reserved,
    Settled,
    ShortfallReported,
    ThresholdFired,
)
from organism.ledger.ledger import Cost
from organism.whatif.changes import EVERY_MODEL, Baseline, Changes
from organism.whatif.outcome import CALLS_MAX, Compared, Replay, added_up, first_over, left_out
from organism.whatif.recording import Carve, Recording, read
from organism.whatif.replayed_calls import ReplayedCalls
from organism.whatif.repricing import names_for, target_of
from organism.whatif.simulation import Simulation


def replay(entries: Iterable[AnyEntry], thread_id: str, changes: Changes, baseline: Baseline) -> Replay:
    """Decide a thread's recorded calls anew.

    Args:
        entries: The ledger's entries in order.
        thread_id: The thread; those below it are part of it.
        baseline: How the organism is set up.

    Raises:
        UnknownAccountError: If the ledger knows no such thread.
        ConfigError: If a changed model or price is not known, or no call of the thread used it.
    """
    recording = read(entries, thread_id)
    if not recording.known:
        raise UnknownAccountError(recording.account)
    _check_models(recording, changes)
    changes.check(recording.accounts - {recording.account})
    walk = _Walk(recording, changes, baseline)
    for entry in recording.entries:
        walk.take(entry)
    return walk.outcome(thread_id)


def _check_models(recording: Recording, changes: Changes) -> None:
    """Refuse to replace a model that was not used: it would change nothing, and look as if it had."""
    used = [target_of(call) for call in recording.calls.values()]
    known = {EVERY_MODEL, *(name for went in used for name in names_for(went))}
    for name in changes.models:
        if name not in known:
            there = ", ".join(sorted({went.route for went in used})) or "none"
            raise ConfigError(f"no call of the thread was made with {name!r}; there are: {there}", path="model")


class _Walk:
    """A replay while it goes through the entries."""

    def __init__(self, recording: Recording, changes: Changes, baseline: Baseline) -> None:
        self._recording = recording
        self._changes = changes
        simulation = Simulation(changes, baseline)
        self._clock = simulation.clock
        self._ledger = simulation.ledger
        self._book = simulation.book
        self._engine = simulation.engine
        self._calls = ReplayedCalls(simulation, baseline)
        self._accounts = recording.accounts | {recording.account}
        self._closed: dict[str, Balance] = {}
        self._before = ZERO
        self._adjusted = ZERO

    def take(self, entry: AnyEntry) -> None:
        """Take the next entry."""
        self._clock.time_ns = entry.time_ns
        self._calls.serve()
        match entry:
            case Reserved(hold_id=hold_id) if (call := self._recording.calls.get(hold_id)) is not None:
                self._run_on(call.call.thread_id)
                self._calls.take(call)
            case Reserved(hold_id=hold_id) if (carve := self._recording.carves.get(hold_id)) is not None:
                self._carve(entry, carve)
            case Dispatched() | Overran() | Settled() | Released():
                self._go_on(entry)
            case AccountOpened():
                self._open(entry)
            case AccountClosed(account=account):
                self._close(account, entry)
            case LimitsSet():
                self._set_limits(entry)
            case Adjusted(accounts=accounts, amounts=amounts):
                self._ledger.restore((entry,))
                self._adjusted += amounts if self._recording.account in accounts else ZERO
                self._look_at(accounts)
            case ShortfallReported():
                self._refuse(entry)
            case Checkpoint():
                self._begin(entry)
            case ThresholdFired():
                pass  # follows from the spend, which may be another one here
            case _:
                self._ledger.restore((entry,))

    # -- the kinds of entries -------------------------------------------------------------------------------------

    def _begin(self, entry: Checkpoint) -> None:
        """Begin with the balances of a checkpoint if nothing is kept before it; any other adds nothing."""
        if entry is not self._recording.entries[0]:
            return
        self._ledger.restore((entry,))
        for balance in entry.balances:
            self._know(balance.account)
            if balance.account == self._recording.account:
                self._before = balance.spent
            if (limits := self._changed(balance.account, balance.limits)) != balance.limits:
                self._calls.warn(self._engine.revise(balance.account, limits)[1])
        for hold in entry.holds:
            if (call := self._recording.calls.get(hold.hold_id)) is not None:
                self._ledger.release(hold.hold_id, entry.time_ns)
                self._calls.take(call)

    def _open(self, entry: AccountOpened) -> None:
        if self._ledger.has(entry.account):
            return  # a call that goes elsewhere than it was recorded was there first
        self._ledger.restore((replace(entry, limits=self._changed(entry.account, entry.limits)),))
        self._know(entry.account)

    def _refuse(self, entry: ShortfallReported) -> None:
        if entry.seq in self._recording.made_over:
            return  # nothing was refused: the call itself is decided anew
        if (budget := self._book.threads.get(entry.thread_id)) is not None:
            budget.pause(entry.time_ns)
        self._calls.warn_refused(entry.shortfall)

    def _changed(self, account: str, limits: Limits) -> Limits:
        return self._changes.applied(account, self._recording.account, limits)

    def _know(self, account: str) -> None:
        """Let a thread's wall time run from here."""
        if (thread_id := thread_of(account)) is not None:
            self._book.threads[thread_id] = ThreadBudget(thread_id, None, (account,), self._clock.monotonic_ns())

    def _run_on(self, thread_id: str) -> None:
        """End the pause of a thread that was refused a call: it is at work again."""
        if (budget := self._book.threads.get(thread_id)) is not None:
            budget.resume(self._clock.monotonic_ns())

    def _close(self, account: str, entry: AccountClosed) -> None:
        self._calls.finish((account,))
        self._closed[account] = self._ledger.balance(account)
        self._ledger.restore((entry,))

    def _set_limits(self, entry: LimitsSet) -> None:
        limits = self._changed(entry.account, entry.limits)
        changed = bool(self._changes.limits_of(entry.account, self._recording.account))
        self._run_on(thread_of(entry.account) or "")
        if entry.account not in self._accounts:
            self._ledger.restore((entry,))
        elif not (changed and limits == self._ledger.balance(entry.account).limits):
            self._calls.warn(self._engine.revise(entry.account, limits)[1])
            self._calls.serve()

    def _go_on(self, entry: Dispatched | Overran | Settled | Released) -> None:
        """Go on with a hold: of one of the calls, of a child's limits, or of another thread's."""
        call, carve = self._recording.calls.get(entry.hold_id), self._recording.carves.get(entry.hold_id)
        if call is not None:
            self._run_on(call.call.thread_id)
            if isinstance(entry, Settled | Released):
                self._calls.end(call)
        elif carve is not None:
            if self._ledger.hold(entry.hold_id) is None:
                return  # the child was not made here
            if isinstance(entry, Settled):
                self._return_carve(entry.hold_id, carve)
            elif isinstance(entry, Released):
                self._ledger.restore((entry,))
        else:
            hold = self._ledger.hold(entry.hold_id)
            self._ledger.restore((entry,))
            self._look_at(hold.accounts if hold is not None else ())

    def _look_at(self, accounts: Iterable[str]) -> None:
        """Somebody else has moved these accounts: thresholds that this reaches are not a call's of the thread."""
        for account in self._accounts.intersection(accounts):
            self._engine.fire_reached(account)
        self._calls.serve()

    # -- children -------------------------------------------------------------------------------------------------

    def _carve(self, entry: Reserved, carve: Carve) -> None:
        """Hold a child's limits; what was recorded of it where the parents' limits, as they are now, do not tell."""
        if self._calls.stop is not None:
            return
        self._ledger.hold_id = entry.hold_id
        try:
            answer = self._engine.carve(carve.accounts, carve.limits)
        except ConfigError:
            answer = ""
        if isinstance(answer, Refusal) and self._changes.mode == "enforce":
            self._calls.refuse(answer, number=0, seq=entry.seq, agent="")
        elif self._ledger.hold(entry.hold_id) is None:
            self._ledger.restore((entry,))

    def _return_carve(self, hold_id: str, carve: Carve) -> None:
        child = self._closed[carve.child]
        cost = Cost("carved", priced=not child.unpriced_calls)
        _, warnings = self._engine.charge(hold_id, carve.accounts, child.spent, cost)
        self._calls.warn(warnings)
        self._calls.serve()

    # -- the end --------------------------------------------------------------------------------------------------

    def outcome(self, thread_id: str) -> Replay:
        """Sum up."""
        own = self._closed.get(self._recording.account) or self._ledger.balance(self._recording.account)
        calls = tuple(self._calls.views.values())
        return Replay(
            thread_id=thread_id,
            mode=self._changes.mode,
            limits=own.limits,
            complete=self._recording.complete,
            before=self._before,
            adjusted=self._adjusted,
            spent=own.spent,
            total=added_up(calls, lambda _: ("", ""))[""] if calls else Compared(),
            by_model=added_up(calls, lambda call: (call.route, call.to_route)),
            by_agent=added_up(calls, lambda call: (call.agent, call.agent)),
            crossings=tuple(self._calls.crossings),
            over=first_over(calls),
            stop=self._calls.stop,
            not_made=left_out(calls),
            calls=calls[:CALLS_MAX],
            calls_in_all=len(calls),
        )
