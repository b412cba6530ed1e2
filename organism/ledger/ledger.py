"""The ledger: commands in, entries out, balances folded from the entries.

Every command first decides whether it is legal, then writes its entries, and only :mod:`organism.ledger.fold` changes a
balance, so replaying the entries cannot come out differently. Nothing here awaits, reads a clock or knows a policy:
whether a hold *should* be granted is decided in :mod:`organism.budget.policy`.

States of a hold, and what moves it on::

    (none) --reserve--> held --dispatch--> dispatched --settle--> resolved
                          |                     |
                          +------release--------+---------------> resolved

``settle`` is legal in both states: a call may fail between the mark and the wire in a way that must be charged.
"""

from collections.abc import Callable, Iterable
from copy import copy

import msgspec

from organism.amounts import ZERO, Amounts, Dimension, Limits, TokenUsage
from organism.errors import LedgerStateError, Refusal, UnknownAccountError
from organism.journal import JournalBrokenError
from organism.ledger.account_balance import Balance
from organism.ledger.amount_checks import require_amounts, require_natural
from organism.ledger.entries import (
    AccountClosed,
    AccountOpened,
    Adjusted,
    AnyEntry,
    CallRecord,
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
    decode_entry,
)
from organism.ledger.fold import LedgerState
from organism.pricing.rates import Rates

EntrySink = Callable[[AnyEntry], None]
"""Receives each entry once, in order, in the same step that applies it."""


class Cost(msgspec.Struct, frozen=True):
    """Where the numbers of a settlement come from; see :class:`~organism.ledger.entries.Settled`."""

    source: str = "settled"
    priced: bool = True
    usage: TokenUsage | None = None
    rates: Rates | None = None
    truncated: bool = False


class Ledger:
    """Accounts and holds of one organism.

    Args:
        sink: Called with every new entry; it must not raise. Replayed entries are not sent again.
    """

    def __init__(self, sink: EntrySink | None = None) -> None:
        self._sink = sink
        self._state = LedgerState()

    @classmethod
    def replay(cls, entries: Iterable[AnyEntry], sink: EntrySink | None = None) -> "Ledger":
        """Build a ledger from what an earlier one wrote; new entries go on after the last."""
        ledger = cls(sink)
        ledger.restore(entries)
        return ledger

    def restore(self, entries: Iterable[AnyEntry]) -> None:
        """Fold in entries that are written down already."""
        for entry in entries:
            self._state.fold(entry)

    def take_up(self, body: bytes) -> None:
        """Fold in the next entry of a journal.

        Raises:
            JournalBrokenError: If it is none, or names what none before it has opened.
        """
        entry = decode_entry(body)
        try:
            self._state.fold(entry)
        except LookupError as error:
            raise JournalBrokenError(
                f"entry {entry.seq} of the ledger names {error}, which is not open; 'organism ledger verify' says more"
            ) from None

    # -- reading --------------------------------------------------------------------------------------------------

    def has(self, account: str) -> bool:
        """Whether the account is open."""
        return account in self._state.balances

    def balance(self, account: str) -> Balance:
        """Return the account's state; it changes with later commands.

        Raises:
            UnknownAccountError: If it is not open.
        """
        try:
            return self._state.balances[account]
        except KeyError:
            raise UnknownAccountError(account) from None

    def hold(self, hold_id: str) -> Hold | None:
        """Return an open hold, or ``None`` once it is resolved."""
        return self._state.holds.get(hold_id)

    def new_id(self, prefix: str) -> str:
        """Return an id for the next hold: the number of the entry that will take it, which no other hold ever has."""
        return f"{prefix}_{self._state.seq + 1}"

    @property
    def accounts(self) -> tuple[str, ...]:
        """The open accounts, oldest first."""
        return tuple(self._state.balances)

    @property
    def open_holds(self) -> tuple[Hold, ...]:
        """The unresolved holds, oldest first."""
        return tuple(self._state.holds.values())

    @property
    def since_checkpoint(self) -> int:
        """How many entries a replay would have to fold."""
        return self._state.seq - self._state.checkpoint_seq

    # -- commands -------------------------------------------------------------------------------------------------

    def open(self, account: str, limits: Limits, time_ns: int) -> None:
        """Open an account; opening it again changes nothing."""
        if account not in self._state.balances:
            self._write(AccountOpened(seq=self._state.seq + 1, time_ns=time_ns, account=account, limits=limits))

    def set_limits(
        self,
        account: str,
        limits: Limits,
        carried: Iterable[tuple[Dimension, int]],
        time_ns: int,
        *,
        configured: bool = False,
    ) -> Balance:
        """Begin a new revision of an account's limits.

        Args:
            limits: All of its limits from now on.
            carried: Thresholds that count as fired under them.
            configured: Whether the configuration changed, and not an operator.
        """
        balance = self.balance(account)
        self._write(
            LimitsSet(
                seq=self._state.seq + 1,
                time_ns=time_ns,
                account=account,
                limits=limits,
                revision=balance.revision + 1,
                carried=tuple(sorted(carried)),
                configured=configured,
            )
        )
        return balance

    def slice(self, account: str, amounts: Amounts, elsewhere: Amounts, agreed: Limits, time_ns: int) -> None:
        """Note what this partition of a cluster may use of an account's limits; see :class:`LimitSliced`.

        Raises:
            UnknownAccountError: If the account is not open.
            LedgerStateError: If an amount is negative.
        """
        self.balance(account)
        for each in (amounts, elsewhere):
            require_natural(account, "slice", each)
        seq = self._state.seq + 1
        self._write(
            LimitSliced(seq=seq, time_ns=time_ns, account=account, slice=amounts, elsewhere=elsewhere, agreed=agreed)
        )

    def reserve(
        self, hold_id: str, accounts: tuple[str, ...], amounts: Amounts, time_ns: int, call: CallRecord | None = None
    ) -> Hold:
        """Take an amount on all of these accounts together, for a call or a carved child.

        Raises:
            LedgerStateError: If the hold exists, or an amount is negative.
            UnknownAccountError: If one of the accounts is not open; then none is touched.
        """
        if hold_id in self._state.holds:
            raise LedgerStateError(hold_id, "reserve", "open already")
        require_natural(hold_id, "reserve", amounts)
        for account in accounts:
            if account not in self._state.balances:
                raise UnknownAccountError(account)
        self._write(
            Reserved(
                seq=self._state.seq + 1, time_ns=time_ns, hold_id=hold_id, accounts=accounts, amounts=amounts, call=call
            )
        )
        return self._state.holds[hold_id]

    def dispatch(self, hold_id: str, time_ns: int) -> None:
        """Mark that the call leaves the machine.

        Raises:
            LedgerStateError: If the hold is not open, or marked already.
        """
        if self._open_hold(hold_id, "dispatch").dispatched:
            raise LedgerStateError(hold_id, "dispatch", "dispatched already")
        self._write(Dispatched(seq=self._state.seq + 1, time_ns=time_ns, hold_id=hold_id))

    def settle(self, hold_id: str, actual: Amounts, cost: Cost, time_ns: int) -> Amounts:
        """Charge what the call really cost and give back the rest of its hold.

        Args:
            cost: Where these numbers come from.

        Returns:
            What was charged above the hold, zero as a rule.

        Raises:
            LedgerStateError: If the hold is not open, or an amount is negative.
        """
        hold = self._open_hold(hold_id, "settle")
        require_natural(hold_id, "settle", actual)
        covered = actual.within(hold.amounts)
        overrun = ZERO
        if covered is not actual:
            overrun = actual - covered
            self._write(Overran(seq=self._state.seq + 1, time_ns=time_ns, hold_id=hold_id, amounts=overrun))
        self._write(
            Settled(
                seq=self._state.seq + 1,
                time_ns=time_ns,
                hold_id=hold_id,
                amounts=covered,
                source=cost.source,
                priced=cost.priced,
                usage=cost.usage,
                rates=cost.rates,
                truncated=cost.truncated,
            )
        )
        return overrun

    def release(self, hold_id: str, time_ns: int) -> Hold:
        """Give a hold back untouched, and return it.

        Raises:
            LedgerStateError: If the hold is not open.
        """
        hold = self._open_hold(hold_id, "release")
        self._write(Released(seq=self._state.seq + 1, time_ns=time_ns, hold_id=hold_id))
        return hold

    def fire(
        self,
        account: str,
        dimension: Dimension,
        threshold: int,
        time_ns: int,
        *,
        agent: str = "",
        final: bool = False,
        call_size: int = 0,
    ) -> bool:
        """Note that a threshold is warned of; ``False`` if that was noted before under this revision."""
        balance = self.balance(account)
        if (dimension, threshold) in balance.fired_at(time_ns):
            return False
        self._write(
            ThresholdFired(
                seq=self._state.seq + 1,
                time_ns=time_ns,
                account=account,
                dimension=dimension,
                threshold=threshold,
                revision=balance.revision,
                agent=agent,
                final=final,
                call_size=call_size,
            )
        )
        return True

    def report(self, shortfall: Refusal, thread_id: str, time_ns: int) -> bool:
        """Note that a refusal has had its event; ``False`` if one had before, under the account's present revision."""
        balance = self.balance(shortfall.account)
        if balance.reported and not balance.notes_lapsed(time_ns):
            return False
        self._write(
            ShortfallReported(
                seq=self._state.seq + 1,
                time_ns=time_ns,
                account=balance.account,
                revision=balance.revision,
                shortfall=shortfall,
                thread_id=thread_id,
            )
        )
        return True

    def adjust(self, accounts: tuple[str, ...], amounts: Amounts, reason: str, time_ns: int) -> None:
        """Correct spend after the fact.

        Raises:
            UnknownAccountError: If one of the accounts is not open; then none is touched.
            LedgerStateError: If spend would fall below zero.
        """
        require_amounts(accounts[0], "adjust", amounts)
        for account in accounts:
            require_natural(account, "adjust", self.balance(account).spent + amounts)
        self._write(
            Adjusted(seq=self._state.seq + 1, time_ns=time_ns, accounts=accounts, amounts=amounts, reason=reason)
        )

    def let_pass(self, account: str, threshold: int, by: str, time_ns: int) -> None:
        """Let an account go on at a threshold.

        Raises:
            UnknownAccountError: If the account is not open.
        """
        self.balance(account)
        seq = self._state.seq + 1
        self._write(ThresholdPassed(seq=seq, time_ns=time_ns, account=account, threshold=threshold, by=by))

    def remark(self, account: str, text: str, time_ns: int) -> None:
        """Note something that was decided about an account and moves no money.

        Raises:
            UnknownAccountError: If the account is not open.
        """
        self.balance(account)
        self._write(Remarked(seq=self._state.seq + 1, time_ns=time_ns, account=account, text=text))

    def checkpoint(self, time_ns: int) -> int:
        """Write down everything that is open, so that a replay may begin here; returns the entry's number."""
        self._write(
            Checkpoint(
                seq=self._state.seq + 1,
                time_ns=time_ns,
                balances=tuple(copy(balance) for balance in self._state.balances.values()),
                holds=tuple(copy(hold) for hold in self._state.holds.values()),
            )
        )
        return self._state.seq

    def close(self, account: str, time_ns: int) -> None:
        """Close an account.

        Raises:
            UnknownAccountError: If it is not open.
            LedgerStateError: If it still carries a hold.
        """
        balance = self.balance(account)
        if balance.open_holds:
            raise LedgerStateError(account, "close", f"carrying {balance.open_holds} open holds")
        self._write(AccountClosed(seq=self._state.seq + 1, time_ns=time_ns, account=account, spent=balance.spent))

    def _write(self, entry: AnyEntry) -> None:
        self._state.fold(entry)
        if self._sink is not None:
            self._sink(entry)

    def _open_hold(self, hold_id: str, verb: str) -> Hold:
        hold = self._state.holds.get(hold_id)
        if hold is None:
            raise LedgerStateError(hold_id, verb, "not open: resolved already or never reserved")
        return hold
