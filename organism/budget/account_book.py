"""What the registry knows of accounts: which a call holds on, how much room they have, which thresholds they reached.

Everything here is a step of arithmetic over the ledger's balances; nothing awaits and nothing decides.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from organism.amounts import ZERO, Amounts, BudgetState, Dimension, Limits
from organism.amounts.account import Account, thread_account, thread_of
from organism.amounts.units import amount_of, limit_of
from organism.budget.accounts.account_warnings import AccountWarnings
from organism.budget.accounts.idle_accounts import forget_over, idle_accounts
from organism.budget.accounts.last_calls import LastCalls
from organism.budget.accounts.shared_limits import SharedLimits
from organism.budget.accounts.thread_budget import ThreadBudget, may_count
from organism.budget.guards.actions import Actions, up_to
from organism.budget.holds import Spender
from organism.budget.policy import Ask, Headroom
from organism.budget.scopes import (
    AS_THE_ORGANISM,
    BudgetPlan,
    ScopeRule,
    actions_of,
    has_final_reserve,
    is_over,
    planned_limits,
    rule_of,
    scoped_accounts,
)
from organism.clock import Clock
from organism.errors import LedgerStateError, Refusal, UnknownAccountError
from organism.ledger.account_balance import Balance
from organism.ledger.ledger import Cost, Ledger
from organism.ledger.windows import rolling

_LOOK_MAX = 10_000
"""Accounts that are looked at in one step for whether they are over: about 10 ms."""


class AccountBook:
    """The accounts of one organism.

    Args:
        plan: All limits.
        ledger: Holds and spend.
        clock: For instants and elapsed time.
        thresholds: Per cent of a limit at which to warn, ascending.

    Attributes:
        warnings: Which thresholds they have reached, each told once.
        last_calls: What loops of tools at work have left for their last calls.
        shared: What other partitions of a cluster use of the same limits; ``None`` outside of one.
    """

    def __init__(self, plan: BudgetPlan, ledger: Ledger, clock: Clock, thresholds: tuple[int, ...]) -> None:
        self.threads: dict[str, ThreadBudget] = {}
        self.shared: SharedLimits | None = None
        self.last_calls = LastCalls()
        self._looked = 0
        self._ledger, self._clock = ledger, clock
        self.replan(plan, thresholds)
        self.warnings = AccountWarnings(self, ledger, clock)

    def replan(self, plan: BudgetPlan, thresholds: tuple[int, ...]) -> None:
        """Apply other limits and thresholds; open accounts keep theirs until they are given new ones."""
        self.plan, self.thresholds = plan, thresholds
        self.last_calls.wanted = plan.final_reserve_percent > 0
        self._scoped = plan.scoped
        self.has_rules, self.has_actions = plan.has_rules, plan.has_actions

    def rule(self, account: str) -> ScopeRule:
        """Return what happens on an account as its limit comes near, where that differs from the organism's."""
        return rule_of(self.plan, account) if self.has_rules else AS_THE_ORGANISM

    def actions_of(self, account: str) -> Actions:
        """Return what happens on an account at thresholds beside a warning."""
        return actions_of(self.plan, account) if self.has_actions else ()

    def thresholds_of(self, account: str) -> tuple[int, ...]:
        """Return at which per cents of its limits an account warns, ascending."""
        return self.rule(account).thresholds or self.thresholds if self.has_rules else self.thresholds

    def thread(self, thread_id: str) -> ThreadBudget:
        """Return what is known of an open thread.

        Raises:
            UnknownAccountError: If it has no budget.
        """
        try:
            return self.threads[thread_id]
        except KeyError:
            raise UnknownAccountError(thread_account(thread_id)) from None

    def restore(
        self, thread_id: str, parent: str | None, carve: str | None, open_ns: int, labels: Mapping[str, str]
    ) -> None:
        """Know a thread again whose account a replayed ledger holds; its wall time stands still.

        Args:
            thread_id: The thread; its parent has been restored before it.
            parent: The thread that spawned it.
            carve: The hold its whole limit was carved from.
            open_ns: Nanoseconds it has been open and not parked.
            labels: What it was labelled with.

        Raises:
            UnknownAccountError: If the ledger does not hold it, or its parent's.
            LedgerStateError: If the hold that its limit was carved from is not open.
        """
        own = thread_account(thread_id)
        self._ledger.balance(own)
        if carve is not None and self._ledger.hold(carve) is None:
            raise LedgerStateError(carve, "return", "not open")
        above = self.thread(parent) if parent is not None else None
        inherited = above.accounts if above is not None and carve is None else ()
        root = above.root if above is not None else thread_id
        budget = ThreadBudget(root, parent, (own, *inherited), self._clock.monotonic_ns())
        budget.carve, budget.open_ns, budget.running_since_ns, budget.earlier = carve, open_ns, None, True
        budget.labels = labels
        self.threads[thread_id] = budget

    def restore_scoped(self) -> None:
        """Note which accounts of agents and models belong to restored threads: once for all, in one pass over all."""
        for account in self._ledger.accounts:
            if thread_of(account) is None and (budget := self.threads.get(Account.parse(account).within_thread)):
                budget.scoped.add(account)

    def close_lost(self) -> tuple[BudgetState, ...]:
        """Close the accounts of threads that could not be taken up, and return their final states.

        Their calls have been resolved. What was carved for one of them is charged whole, because nobody knows any more
        how much of it was spent: recorded is at least billed.
        """
        now_ns = self._clock.now_ns()
        carved = {budget.carve for budget in self.threads.values()}
        for hold in self._ledger.open_holds:
            if hold.call is None and hold.hold_id not in carved:
                self._ledger.settle(hold.hold_id, hold.amounts, Cost("worst_case"), now_ns)
        lost = {
            name: None for name in self._ledger.accounts if (thread := thread_of(name)) and thread not in self.threads
        }
        finals = tuple(map(self.state, lost))
        for name in self._ledger.accounts:
            if (thread := Account.parse(name).within_thread) and thread_account(thread) in lost:
                self._ledger.close(name, now_ns)
        return finals

    def open(self, account: str, limits: Limits, now_ns: int) -> None:
        """Open an account if it is not; where partitions share it, limits that it gets later are for all of them."""
        self._ledger.open(account, limits, now_ns)
        if self.shared is not None:
            self.shared.begin(account, now_ns)

    def accounts(self, spender: Spender) -> tuple[str, ...]:
        """Return every account that a call of this spender holds on, its thread's own first; opens those of scopes."""
        budget = self.thread(spender.thread_id)
        if not self._scoped:
            return budget.accounts
        now_ns = self._clock.now_ns()
        accounts = list(budget.accounts)
        for account, limits in scoped_accounts(self.plan, budget.root, spender, now_ns, budget.labels):
            self.open(account, limits, now_ns)
            if self._ledger.balance(account).configured != limits:
                self.begin_revision(account, limits, configured=True)
            self.threads[budget.root].scoped.add(account)
            budget.scoped.add(account)
            accounts.append(account)
        return tuple(accounts)

    def accounts_of(self, thread_id: str, agent: str) -> dict[str, Limits | None]:
        """Return what the next call of an agent is going to hold on, its thread's own first; opens none.

        Of models and providers those that its thread has used: which it is going to use is not known before.

        Returns:
            The accounts, each with the limits that it opens with if it is not open yet.
        """
        budget = self.thread(thread_id)
        found: dict[str, Limits | None] = dict.fromkeys(budget.accounts)
        if self._scoped:
            now_ns, spender = self._clock.now_ns(), Spender(thread_id, agent, "")
            for account, limits in scoped_accounts(self.plan, budget.root, spender, now_ns, budget.labels):
                found[account] = None if self._ledger.has(account) else limits
            used = sorted(name for name in budget.scoped if Account.parse(name).kind in ("model", "provider"))
            found |= dict.fromkeys(name for name in used if not is_over(name, now_ns, self.plan.time_zone))
        return found

    def open_of(self, thread_id: str, agent: str) -> tuple[str, ...]:
        """Return those of :meth:`accounts_of` that are open."""
        return tuple(account for account, limits in self.accounts_of(thread_id, agent).items() if limits is None)

    def states_of(self, thread_id: str, agent: str) -> tuple[BudgetState, ...]:
        """Return every account that limits an agent of a thread as it is now, also where no call has held on it yet."""
        return tuple(
            self.state(account) if limits is None else BudgetState(account, limits, ZERO, ZERO)
            for account, limits in self.accounts_of(thread_id, agent).items()
        )

    def noted(self, account: str, dimension: Dimension, threshold: int | None = None) -> frozenset[int]:
        """Return the numbers of the entries of the thresholds that are noted in one unit of an account, or of one."""
        return self.warnings.numbers((account,) if self._ledger.has(account) else (), dimension, threshold)

    def noted_of(self, thread_id: str, agent: str) -> frozenset[int]:
        """Return them of all units of all accounts that the next call of an agent holds on."""
        return self.warnings.numbers(self.open_of(thread_id, agent))

    def any_noted(self) -> bool:
        """Whether a threshold of any account is noted."""
        return any(self._ledger.balance(account).fired for account in self._ledger.accounts)

    def headrooms(self, accounts: Sequence[str], ask: Ask | None = None, *, whole: str = "") -> list[Headroom]:
        """Return what each account has.

        Args:
            accounts: Which.
            ask: What is asked for, which may leave room for last calls.
            whole: The one of them whose per cent for a last call may be used.

        Raises:
            UnknownAccountError: If one of them is not open.
        """
        headrooms, percent = [], self.plan.final_reserve_percent  # most calls leave nothing and are no loop's
        leaving = ask if ask is not None and (ask.last_output > 0 or ask.loop is not None) else None
        for account in accounts:
            balance = self._ledger.balance(account)
            limits = up_to(balance.limits, self.actions_of(account)) if self.has_actions else balance.limits
            # Clocks are not asked for what no limit compares.
            elapsed_ns = self.elapsed_ns(account) if limits.elapsed_ns is not None else 0
            kept = percent if account != whole and has_final_reserve(account) else 0
            own, others = ZERO, ZERO
            if leaving is not None and balance.counted_ns != 0:
                own, others = self.last_calls.beside(account, leaving)
            spent, held = balance.total_by(self._clock.now_ns), balance.held_now
            if self.shared is not None:
                limits, held = self.shared.beside(balance, limits, held)
            headrooms.append(Headroom(account, limits, spent, held, elapsed_ns, kept, own, others))
        return headrooms

    def final_reserve_of(self, spender: Spender) -> str | None:
        """Return the account whose final reserve this spender may use: its thread's, if it has been warned.

        Never an ancestor's: a parent keeps its own last word however greedy its children are.
        """
        own = self.thread(spender.thread_id).accounts[0]
        balance = self._ledger.balance(own)
        return own if balance.final_to in ("", spender.agent) and not balance.final_reserve_used else None

    def seconds_left(self, budget: ThreadBudget) -> Limits:
        """Return what a thread and those above it leave of their limits in seconds: time passes for all alike."""
        left = [
            max(0, limit_ns - self.elapsed_ns(account))
            for account in budget.accounts
            if (limit_ns := self._ledger.balance(account).limits.elapsed_ns) is not None
        ]
        return Limits(elapsed_ns=min(left, default=None))

    def elapsed_ns(self, account: str) -> int:
        """Return nanoseconds a thread's own account has been open and not parked; 0 for other scopes."""
        budget = self.threads.get(thread_of(account) or "")
        return budget.elapsed_ns(self._clock.monotonic_ns()) if budget is not None else 0

    def state(self, account: str) -> BudgetState:
        """Return an account as it is now.

        Raises:
            UnknownAccountError: If it is not open.
        """
        balance = self._ledger.balance(account)
        return BudgetState(
            account=account,
            limits=balance.limits,
            spent=balance.spent_by(self._clock.now_ns) if balance.slice is None else self._spent_by_all(balance),
            held=balance.held_now,
            elapsed_ns=self.elapsed_ns(account),
            revision=balance.revision,
            unpriced_calls=balance.unpriced_calls,
            resets_ns=self._resets_ns(balance),
        )

    def _spent_by_all(self, balance: Balance) -> Amounts:
        return balance.total_by(self._clock.now_ns) if self.shared is None else self.shared.spent(balance)

    def _resets_ns(self, balance: Balance) -> int | None:
        if balance.counted_ns is None and not self._scoped:
            return None
        return balance.resets_ns(self._clock.now_ns, self.plan.time_zone)

    def frees(self, account: str) -> Sequence[tuple[int, Amounts]]:
        """Return when spend on a rolling window counts no more, the next first, with all that has gone by then."""
        return self._ledger.balance(account).frees(self._clock.now_ns)

    def begin_revision(self, account: str, limits: Limits, *, configured: bool = False) -> None:
        """Count under new limits; thresholds reached before and reached still are carried over in silence.

        Raises:
            UnknownAccountError: If the account is not open.
        """
        carried, now_ns = self.warnings.carried(account, limits), self._clock.now_ns()
        self._ledger.set_limits(account, limits, carried, now_ns, configured=configured)

    def departed(self) -> dict[str, Limits]:
        """Return the open accounts of present scopes that the plan gives other limits than they were configured with.

        Threads keep what they were opened with: it was promised to their openers.
        """
        now_ns, zone = self._clock.now_ns(), self.plan.time_zone
        planned = {
            account: planned_limits(self.plan, account)
            for account in self._ledger.accounts
            if thread_of(account) is None and not is_over(account, now_ns, zone)
        }
        return {name: limits for name, limits in planned.items() if self._ledger.balance(name).configured != limits}

    def present(self) -> tuple[str, ...]:
        """Return the open accounts whose window, if they have one, is not over."""
        now_ns, zone = self._clock.now_ns(), self.plan.time_zone
        return tuple(account for account in self._ledger.accounts if not is_over(account, now_ns, zone))

    def held_by(self, covers: Callable[[Mapping[str, str]], bool]) -> Amounts:
        """Return what calls hold of threads with some labels; what is carved out for a child is no call's."""
        carved = {budget.carve for budget in self.threads.values()}
        held = ZERO
        for hold in self._ledger.open_holds:
            budget = self.threads.get(thread_of(hold.accounts[0]) or "")
            if hold.hold_id not in carved and budget is not None and covers(budget.labels):
                held += hold.amounts
        return held

    def over(self, account: str) -> bool:
        """Whether an account counts a period that has passed."""
        return is_over(account, self._clock.now_ns(), self.plan.time_zone)

    def room_came_back(self, refusal: Refusal) -> bool:
        """Whether what refused a call is not so any more: its time is over, its limit raised, its spend gone."""
        account, unit = refusal.account, refusal.dimension
        if not self._ledger.has(account) or self.over(account):
            return True
        scope = self.headrooms((account,))[0]
        spent, limit = amount_of(scope.spent, unit, scope.elapsed_ns), limit_of(scope.limits, unit)
        if limit is None or limit > refusal.limit or not rolling(account):
            return limit is None or limit > refusal.limit or spent < refusal.spent
        # What is kept for last calls is no room: else the same would be refused again and again, in no time.
        return spent + amount_of(scope.held, unit) + refusal.needed + refusal.final_reserve <= limit

    def close_idle(self, awaited: Collection[str] = ()) -> None:
        """Close accounts on which no call will hold again; see :mod:`organism.budget.accounts.idle_accounts`.

        So many at a time, going on where the last look has ended: calls wait meanwhile.
        """
        now_ns, zone = self._clock.now_ns(), self.plan.time_zone
        accounts = self._ledger.accounts
        start = self._looked if self._looked < len(accounts) else 0
        some = accounts[start : start + _LOOK_MAX]
        idle = frozenset(idle_accounts(map(self._ledger.balance, some), now_ns, zone, awaited))
        self._looked = start + len(some) - len(idle)
        forget_over(self.threads.values(), idle, now_ns, zone)
        for account in idle:
            self._ledger.close(account, now_ns)

    def threads_on(self, account: str) -> tuple[str, ...]:
        """Return the threads whose calls count on an account, or may have counted there before a restart."""
        parsed = Account.parse(account)
        of_window = not parsed.within_thread
        return tuple(
            thread_id
            for thread_id, budget in self.threads.items()
            if account in budget.accounts
            or account in budget.scoped
            or (of_window and budget.earlier and may_count(budget, parsed, self.plan.labels))
        )

    def corrected_with(self, account: str) -> tuple[str, ...]:
        """Return the accounts that a correction of this one counts on: more than it for an open thread's own."""
        budget = self.threads.get(thread_of(account) or "")
        if budget is None:
            return (account,)
        now_ns, zone = self._clock.now_ns(), self.plan.time_zone
        windows = sorted(
            name
            for name in budget.scoped
            if Account.parse(name).kind in ("label", "pool", "organism") and not is_over(name, now_ns, zone)
        )
        return (*budget.accounts, *windows)

    def of_thread(self, thread_id: str) -> Iterator[str]:
        """Yield every account that limits a thread, its own first.

        Raises:
            UnknownAccountError: If the thread has no budget.
        """
        budget = self.thread(thread_id)
        yield from budget.accounts
        if budget.scoped:
            now_ns, zone = self._clock.now_ns(), self.plan.time_zone
            yield from sorted(account for account in budget.scoped if not is_over(account, now_ns, zone))
