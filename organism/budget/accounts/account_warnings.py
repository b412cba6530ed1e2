"""The budget thresholds of an account: a warning is issued once for each, and early for the first.

A threshold is due when spend reaches its per cent of a limit. An agent is warned early, at the first threshold, when
fewer than ``warn_ahead`` calls of the present size still fit: before a call its size is the least that it can take,
afterwards what it has cost. When a call does not fit at all, every threshold not issued so far is issued at once.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, Protocol

from organism.amounts import Amounts, Dimension, Limits
from organism.amounts.units import amount_of, limit_of
from organism.budget.accounts.shared_limits import SharedLimits
from organism.budget.scopes import BudgetPlan
from organism.budget.thresholds import Due, calls_left, level_of, reached, running_short, whole_limits
from organism.clock import Clock
from organism.errors import Refusal
from organism.ledger.account_balance import Balance
from organism.ledger.fold import WHOLE
from organism.ledger.ledger import Ledger
from organism.messages import BudgetWarning


class KnownAccounts(Protocol):
    """What is known of accounts beside their balances."""

    plan: BudgetPlan
    shared: SharedLimits | None

    def thresholds_of(self, account: str) -> tuple[int, ...]:
        """Return at which per cents of its limits an account warns, ascending."""
        ...

    def elapsed_ns(self, account: str) -> int:
        """Return nanoseconds a thread's own account has been open and not parked; 0 for other scopes."""
        ...


class Unheard(NamedTuple):
    """What an agent has not heard of yet.

    Attributes:
        warnings: One for each unit of an account, of the highest threshold.
        noted: The numbers of the entries of all thresholds that are noted on its accounts.
    """

    warnings: tuple[BudgetWarning, ...]
    noted: frozenset[int]


class AccountWarnings:
    """Notes thresholds in the ledger, and makes the warnings of them.

    Args:
        accounts: Their thresholds and times.
        ledger: Their balances, with what was noted.
        clock: For instants.
    """

    def __init__(self, accounts: KnownAccounts, ledger: Ledger, clock: Clock) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._clock = clock

    def carried(self, account: str, limits: Limits) -> set[tuple[Dimension, int]]:
        """Return the thresholds that were given and stand under other limits still.

        What came ahead stands as long as no more calls fit than at the time of its warning.
        """
        balance, now_ns = self._ledger.balance(account), self._clock.now_ns()
        spent, elapsed_ns = balance.total_at(now_ns), self._accounts.elapsed_ns(account)
        thresholds = self._accounts.thresholds_of(account)
        standing = set(reached(limits, spent, elapsed_ns, thresholds))
        for dimension, threshold, call_size in balance.ahead:
            calls = self._accounts.plan.warn_ahead if threshold == thresholds[0] else 1
            limit = limit_of(limits, dimension)
            if limit and limit - amount_of(spent, dimension, elapsed_ns) < call_size * calls:
                standing.add((dimension, threshold))
        return standing & balance.fired_at(now_ns)

    def fire_reached(self, account: str, agent: str = "", *, beyond: bool = False) -> tuple[BudgetWarning, ...]:
        """Note the thresholds that are due since the last look, and return what to warn of.

        Those that spend has reached, and the first one ahead if few calls fit that are as large as the last one.

        Args:
            account: Whose spend.
            agent: Whose call made them due; empty for no call of the account's own thread.
            beyond: Whether to go on at each further whole limit, as where nothing is refused.
        """
        balance = self._ledger.balance(account)
        if balance.slice is not None and (shared := self._accounts.shared) is not None:
            shared.touched.add(account)
        elapsed = self._accounts.elapsed_ns(account) if balance.limits.elapsed_ns is not None else 0
        spent, thresholds = balance.total_by(self._clock.now_ns), self._accounts.thresholds_of(account)
        found = [Due(*each) for each in reached(balance.limits, spent, elapsed, thresholds)]
        if beyond and found:
            found += whole_limits(balance.limits, spent, elapsed, thresholds[-1], self._highest(balance))
        found += self._ahead(balance, spent, elapsed, balance.last_call, balance.last_call_ns)
        return self._fire(balance, found, agent) if found else ()

    def fire_ahead(self, account: str, call: Amounts, agent: str) -> tuple[BudgetWarning, ...]:
        """Note the first threshold if few calls as large as one about to be made fit, and return what to warn of."""
        balance = self._ledger.balance(account)
        found = tuple(self._ahead(balance, balance.total_by(self._clock.now_ns), 0, call, 0))
        return self._fire(balance, found, agent) if found else ()

    def fire_final(self, shortfall: Refusal, agent: str) -> tuple[BudgetWarning, ...]:
        """Give the final warning ahead of its threshold, because a call does not fit any more.

        Those below it that have not been given come with it, ascending: later they would be of no use.

        Returns:
            The warnings; none if the final one has been given before under the present limits.
        """
        balance = self._ledger.balance(shortfall.account)
        if not shortfall.limit or balance.counted_ns == 0:
            return ()
        thresholds = self._accounts.thresholds_of(shortfall.account)
        return self._fire(balance, [Due(shortfall.dimension, each, shortfall.needed) for each in thresholds], agent)

    def standing(self, accounts: Iterable[str]) -> BudgetWarning | None:
        """Return the warning of the limit that is nearest to its end, if any is near."""
        found: BudgetWarning | None = None
        for account in accounts:
            balance = self._ledger.balance(account)
            for due in self._standing(balance):
                if found is None or due.threshold > found.threshold:
                    found = self._warning(balance, due)
        return found

    def unheard(self, account: str, heard: Collection[int]) -> Iterator[BudgetWarning]:
        """Yield the warning of the highest threshold in each unit that stands and of which somebody has not heard.

        Args:
            account: Which.
            heard: The numbers of the entries of thresholds that they have heard of.
        """
        balance = self._ledger.balance(account)
        if not balance.fired_at(self._clock.now_ns()):
            return
        seqs = {(dimension, threshold): seq for dimension, threshold, seq in balance.fired_seqs}
        highest: dict[Dimension, Due] = {}
        beyond = (Due(*each) for each in balance.fired if each[1] > WHOLE)
        for due in (*self._standing(balance), *beyond):
            if due[:2] in seqs and (due.dimension not in highest or due.threshold > highest[due.dimension].threshold):
                highest[due.dimension] = due
        yield from (self._warning(balance, due) for due in highest.values() if seqs[due[:2]] not in heard)

    def numbers(
        self, accounts: Iterable[str], dimension: Dimension | None = None, threshold: int | None = None
    ) -> frozenset[int]:
        """Return the numbers of the entries of the thresholds that are noted: of all, or of one unit, or of one."""
        noted = (each for account in accounts for each in self._ledger.balance(account).fired_seqs)
        return frozenset(seq for unit, at, seq in noted if dimension in (None, unit) and threshold in (None, at))

    def _standing(self, balance: Balance) -> list[Due]:
        """Return the thresholds that spend has reached or that were given ahead."""
        now_ns, thresholds = self._clock.now_ns(), self._accounts.thresholds_of(balance.account)
        elapsed_ns, noted = self._accounts.elapsed_ns(balance.account), balance.fired_at(now_ns)
        dues = [Due(*each) for each in reached(balance.limits, balance.total_at(now_ns), elapsed_ns, thresholds)]
        return dues + [Due(*each) for each in balance.ahead if each[:2] in noted and each[1] in thresholds]

    def _ahead(self, balance: Balance, spent: Amounts, elapsed_ns: int, call: Amounts, call_ns: int) -> Iterator[Due]:
        """Yield the first threshold for each unit in which few calls of a size fit."""
        warn_ahead = self._accounts.plan.warn_ahead
        if warn_ahead and balance.counted_ns != 0:  # where each call is limited for itself none is the last
            first = self._accounts.thresholds_of(balance.account)[0]
            for dimension, size in running_short(balance.limits, spent, elapsed_ns, call, call_ns, warn_ahead):
                yield Due(dimension, first, size)

    def _fire(self, balance: Balance, found: Iterable[Due], agent: str) -> tuple[BudgetWarning, ...]:
        """Note thresholds, and return those above all that were noted before.

        One below is not made up for: it is new since a reload, and a higher one was reported already.
        """
        highest = self._highest(balance)
        fresh: list[Due] = []
        for due in found:
            if due.threshold > highest.get(due.dimension, 0):
                highest[due.dimension] = due.threshold
                fresh.append(due)
        if balance.slice is not None and (shared := self._accounts.shared) is not None:
            shared.due(balance.account, fresh, agent)
            return ()
        return self._note(balance, fresh, agent)

    def note(self, account: str, due: Due, agent: str) -> tuple[BudgetWarning, ...]:
        """Note a threshold of a limit that partitions share: one of them warns of it, and all note it."""
        balance = self._ledger.balance(account)
        noted = (due.dimension, due.threshold) in balance.fired_at(self._clock.now_ns())
        return () if noted else self._note(balance, [due], agent)

    def _note(self, balance: Balance, dues: Iterable[Due], agent: str) -> tuple[BudgetWarning, ...]:
        now_ns, last = self._clock.now_ns(), self._accounts.thresholds_of(balance.account)[-1]
        for dimension, threshold, size, _ in dues:
            is_last = threshold == last
            self._ledger.fire(balance.account, dimension, threshold, now_ns, agent=agent, final=is_last, call_size=size)
        return tuple(self._warning(balance, due) for due in dues)

    def _highest(self, balance: Balance) -> dict[Dimension, int]:
        """Return the highest threshold, or whole limit, that is noted in each unit."""
        highest: dict[Dimension, int] = {}
        for dimension, threshold in balance.fired_at(self._clock.now_ns()):
            highest[dimension] = max(threshold, highest.get(dimension, 0))
        return highest

    def _warning(self, balance: Balance, due: Due) -> BudgetWarning:
        account, dimension = balance.account, due.dimension
        limit = limit_of(balance.limits, dimension) or 0
        elapsed_ns = self._accounts.elapsed_ns(account)
        spent = amount_of(balance.total_at(self._clock.now_ns()), dimension, elapsed_ns)
        return BudgetWarning(
            account=account,
            dimension=dimension,
            threshold=due.threshold,
            level=level_of(due.threshold, self._accounts.thresholds_of(account)),
            limit=limit,
            spent=spent,
            calls_left=calls_left(limit, spent, due.call_size),
            limits_passed=due.limits_passed,
        )
