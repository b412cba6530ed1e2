"""A second set of books: ledger entries folded by other code than the ledger's own, which notes what is not right.

It shares no line with :mod:`organism.ledger.ledger`, so a mistake there does not hide itself. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Callable

import msgspec

from organism.amounts import ZERO, Amounts, Limits
from organism.amounts.units import ceilings_of, numbers_of
from organism.ledger.entries import (
    AccountClosed,
    AccountOpened,
    Adjusted,
    AnyEntry,
    CallRecord,
    Checkpoint,
    Dispatched,
    LimitSliced,
    LimitsSet,
    Overran,
    Released,
    Reserved,
    Settled,
    ThresholdFired,
)


class Line(msgspec.Struct, kw_only=True):
    """One hold from its beginning to its end.

    Attributes:
        dispatched: Whether its call was let out.
        charged: What it cost; ``None`` until it is resolved, zero when it was released.
        source: Where these numbers come from; ``released``, or the outcome.
    """

    hold_id: str
    accounts: tuple[str, ...]
    amounts: Amounts
    call: CallRecord | None
    dispatched: bool = False
    overrun: Amounts = ZERO
    charged: Amounts | None = None
    source: str = ""


class AccountSums(msgspec.Struct, kw_only=True):
    """One scope's sums.

    Attributes:
        window_ns: The length of its rolling window; 0 if it limits each call alone, ``None`` if all spend counts.
        times: What was spent when: all of it, and so exactly what is within any window.
        slice: What a partition of a cluster may use of it; ``None`` where nothing is shared.
    """

    limits: Limits
    window_ns: int | None = None
    revision: int = 1
    spent: Amounts = ZERO
    held: Amounts = ZERO
    times: list[tuple[int, Amounts]] = []
    slice: Amounts | None = None

    @property
    def most(self) -> tuple[int | None, ...]:
        """What may be used of each unit at most."""
        most = ceilings_of(self.limits)
        if self.slice is None:
            return most
        return tuple(None if own is None else part for own, part in zip(most, numbers_of(self.slice), strict=True))

    def spend(self, amounts: Amounts, now_ns: int) -> None:
        """Add what was spent now."""
        self.spent += amounts
        if self.window_ns:
            self.times.append((now_ns, amounts))

    def used(self, now_ns: int, hold: Amounts) -> Amounts:
        """Return what a hold that was just taken brings the limited spend to."""
        if self.window_ns is None:
            return self.spent + self.held
        recent = (amounts for at, amounts in self.times if self.window_ns and at >= now_ns - self.window_ns)
        return sum(recent, ZERO) + (self.held if self.window_ns else hold)


class Books:
    """Sums of a ledger.

    Args:
        wrong: Told, in a sentence, of everything that is not right.
        enforced: Whether no limit may have been passed.

    Attributes:
        enforced: Whether no limit may be passed from here on; follows the mode where that changes.
        lines: Every hold by its id.
        accounts: The open accounts.
        final: What accounts had spent when they were closed, newest last.
    """

    def __init__(self, wrong: Callable[[str], None], *, enforced: bool = True) -> None:
        self._wrong = wrong
        self.enforced = enforced
        self._seq = 0
        self._time_ns = 0
        self._fired: Counter[tuple[str, str, int, int]] = Counter()
        self.lines: dict[str, Line] = {}
        self.accounts: dict[str, AccountSums] = {}
        self.final: dict[str, list[Amounts]] = defaultdict(list)

    @property
    def unresolved(self) -> tuple[Line, ...]:
        """The holds of calls that nothing has resolved."""
        return tuple(line for line in self.lines.values() if line.charged is None and line.call is not None)

    def enter(self, entry: AnyEntry) -> None:  # noqa: C901, PLR0912 - one arm for each kind of entry
        """Fold in the next entry."""
        if self._seq and entry.seq != self._seq + 1:
            self._wrong(f"entry {entry.seq} follows {self._seq}")
        if entry.time_ns < self._time_ns:
            self._wrong(f"entry {entry.seq} is older than the one before it")
        self._seq, self._time_ns = entry.seq, entry.time_ns
        match entry:
            case AccountOpened(account=account, limits=limits):
                if account in self.accounts:
                    self._wrong(f"{account} is opened twice")
                self.accounts[account] = AccountSums(limits=limits, window_ns=_window_ns(account))
            case LimitsSet():
                self._set_limits(entry)
            case LimitSliced(account=account):
                self.accounts[account].slice = entry.slice
            case Reserved():
                self._reserve(entry)
            case Dispatched(hold_id=hold_id):
                line = self._open_line(hold_id, "dispatched")
                if line.dispatched:
                    self._wrong(f"{hold_id} is dispatched twice")
                line.dispatched = True
            case Overran(hold_id=hold_id, amounts=amounts):
                self._open_line(hold_id, "overrun").overrun += amounts
            case Settled(hold_id=hold_id, amounts=amounts, source=source):
                self._resolve(hold_id, amounts, source)
            case Released(hold_id=hold_id):
                self._resolve(hold_id, ZERO, "released")
            case Adjusted(accounts=accounts, amounts=amounts):
                for name in accounts:
                    self.accounts[name].spend(amounts, entry.time_ns)
            case ThresholdFired():
                self._fire(entry)
            case AccountClosed(account=account, spent=spent):
                self._close(account, spent)
            case Checkpoint():
                self._compare(entry)
            case _:
                pass  # nothing in it that adds up

    def _set_limits(self, entry: LimitsSet) -> None:
        account = self.accounts[entry.account]
        if entry.revision != account.revision + 1:
            self._wrong(f"revision {entry.revision} of {entry.account} follows {account.revision}")
        account.limits, account.revision = entry.limits, entry.revision

    def _reserve(self, entry: Reserved) -> None:
        if entry.hold_id in self.lines:
            self._wrong(f"{entry.hold_id} is reserved twice")
        self.lines[entry.hold_id] = Line(
            hold_id=entry.hold_id, accounts=entry.accounts, amounts=entry.amounts, call=entry.call
        )
        refusable = self.enforced and (
            entry.call is None or entry.call.operation != "charge"
        )  # that has happened already
        for name in entry.accounts:
            account = self.accounts[name]
            account.held += entry.amounts
            used = account.used(entry.time_ns, entry.amounts)
            for amount, limit in zip(numbers_of(used), account.most, strict=True):
                if refusable and limit is not None and amount > limit:
                    self._wrong(f"{entry.hold_id} takes {name} to {amount}, above its limit of {limit}")

    def _open_line(self, hold_id: str, what: str) -> Line:
        line = self.lines[hold_id]
        if line.charged is not None:
            self._wrong(f"{hold_id} is {what} after it was resolved")
        return line

    def _resolve(self, hold_id: str, amounts: Amounts, source: str) -> None:
        line = self._open_line(hold_id, f"resolved ({source})")
        line.charged, line.source = amounts + line.overrun, source
        for name in line.accounts:
            self.accounts[name].held -= line.amounts
            self.accounts[name].spend(line.charged, self._time_ns)

    def _fire(self, entry: ThresholdFired) -> None:
        key = (entry.account, entry.dimension, entry.threshold, entry.revision)
        self._fired[key] += 1
        once = self.accounts[entry.account].window_ns is None  # spend that comes again is reported again
        if once and self._fired[key] > 1:
            self._wrong(f"{entry.threshold} % of {entry.account} in {entry.dimension} has fired twice")

    def _close(self, name: str, spent: Amounts) -> None:
        account = self.accounts.pop(name)
        if account.spent != spent:
            self._wrong(f"{name} was closed with {spent}, but its entries add up to {account.spent}")
        if account.held != ZERO:
            self._wrong(f"{name} was closed with {account.held} held")
        self.final[name].append(spent)

    def _compare(self, entry: Checkpoint) -> None:
        """A checkpoint must say what the entries before it add up to; with none before it, it is believed."""
        if entry.seq > 1 and not self.accounts and not self.lines:
            self.accounts = {
                balance.account: AccountSums(
                    limits=balance.limits,
                    window_ns=_window_ns(balance.account),
                    revision=balance.revision,
                    spent=balance.spent,
                    held=balance.held,
                    times=[(each.until_ns, each.amounts) for each in balance.recent],
                    slice=balance.slice,
                )
                for balance in entry.balances
            }
            self.lines = {
                hold.hold_id: Line(
                    hold_id=hold.hold_id,
                    accounts=hold.accounts,
                    amounts=hold.amounts,
                    call=hold.call,
                    dispatched=hold.dispatched,
                )
                for hold in entry.holds
            }
            return
        for balance in entry.balances:
            account = self.accounts.get(balance.account)
            if account is None or (account.spent, account.held) != (balance.spent, balance.held):
                self._wrong(f"checkpoint {entry.seq} does not say what the entries of {balance.account} add up to")


def _window_ns(account: str) -> int | None:
    """Read from an account's name for how long spend counts on it."""
    if account.endswith("@call"):
        return 0
    _, rolling, length = account.partition("@rolling:")
    return int(length[:-1]) * {"m": 60, "h": 3600, "d": 86_400}[length[-1]] * 10**9 if rolling else None
