"""What the registry knows of accounts: which a call holds on, how much room they have, which thresholds they reached.

Everything here is a step of arithmetic over the ledger's balances; nothing awaits and nothing decides.
"""

from collections.abc import Iterable, Iterator

from organism.amounts import BudgetState, Limits
from organism.budget.holds import Spender
from organism.budget.policy import Room
from organism.budget.scopes import BudgetPlan, kept_for_last_call, scoped_accounts, thread_account, thread_of
from organism.budget.thread_budget import ThreadBudget
from organism.budget.thresholds import amount_of, level_of, limit_of, reached
from organism.clock import Clock
from organism.errors import Shortfall, UnknownAccountError
from organism.ledger.ledger import Ledger
from organism.messages import BudgetWarning


class AccountBook:
    """The accounts of one organism.

    Args:
        plan: All limits.
        ledger: Holds and spend.
        clock: For instants and elapsed time.
        thresholds: Per cent of a limit at which to warn, ascending.
    """

    def __init__(self, plan: BudgetPlan, ledger: Ledger, clock: Clock, thresholds: tuple[int, ...]) -> None:
        self.plan = plan
        self.thresholds = thresholds
        self.threads: dict[str, ThreadBudget] = {}
        self._ledger = ledger
        self._clock = clock

    def thread(self, thread_id: str) -> ThreadBudget:
        """Return what is known of an open thread.

        Raises:
            UnknownAccountError: If it has no budget.
        """
        try:
            return self.threads[thread_id]
        except KeyError:
            raise UnknownAccountError(thread_account(thread_id)) from None

    def restore(self, thread_id: str, parent: str | None, carve: str | None, open_ns: int) -> None:
        """Know a thread again whose account a replayed ledger holds; its wall time stands still."""
        own = thread_account(thread_id)
        above = self.thread(parent) if parent is not None else None
        inherited = above.accounts if above is not None and carve is None else ()
        root = above.root if above is not None else thread_id
        budget = ThreadBudget(root, parent, (own, *inherited), self._clock.monotonic_ns())
        budget.carve, budget.open_ns, budget.running_since_ns = carve, open_ns, None
        budget.scoped = {account for account in self._ledger.accounts if account.endswith(f"@{own}")}
        self.threads[thread_id] = budget

    def accounts(self, spender: Spender) -> tuple[str, ...]:
        """Return every account that a call of this spender holds on, its thread's own first; opens those of scopes."""
        budget = self.thread(spender.thread_id)
        if not self.plan.scoped:
            return budget.accounts
        now_ns = self._clock.now_ns()
        accounts = list(budget.accounts)
        for account, limits in scoped_accounts(self.plan, budget.root, spender, now_ns):
            self._ledger.open(account, limits, now_ns)
            if self._ledger.balance(account).configured != limits:
                self.set_limits(account, limits, configured=True)
            self.threads[budget.root].scoped.add(account)
            budget.scoped.add(account)
            accounts.append(account)
        return tuple(accounts)

    def rooms(self, accounts: tuple[str, ...], *, whole: frozenset[str] = frozenset()) -> tuple[Room, ...]:
        """Return what each account has.

        Args:
            accounts: Which.
            whole: Accounts that keep nothing back.
        """
        return tuple(self._room(account, keep=account not in whole) for account in accounts)

    def _room(self, account: str, *, keep: bool) -> Room:
        balance = self._ledger.balance(account)
        limits = balance.limits
        kept = kept_for_last_call(account, limits, self.plan.wrap_up_percent if keep else 0)
        return Room(account, limits, balance.spent, balance.held, self._limited_ns(account, limits), kept)

    def entitled(self, spender: Spender) -> frozenset[str]:
        """Return the account whose slice for a last call this spender may take: its thread's, if it has been warned.

        Never an ancestor's: a parent keeps its own last word however greedy its children are.
        """
        own = thread_account(spender.thread_id)
        balance = self._ledger.balance(own)
        return frozenset({own} if balance.final_to == spender.agent and not balance.wrapped_up else ())

    def elapsed_ns(self, account: str) -> int:
        """Return nanoseconds a thread's own account has been open and not parked; 0 for other scopes."""
        budget = self.threads.get(thread_of(account) or "")
        return budget.elapsed_ns(self._clock.monotonic_ns()) if budget is not None else 0

    def _limited_ns(self, account: str, limits: Limits) -> int:
        """Return :meth:`elapsed_ns` where it matters: clocks are not asked for what no limit compares."""
        return self.elapsed_ns(account) if limits.elapsed_ns is not None else 0

    def time_left(self, accounts: Iterable[str]) -> int | None:
        """Return the nanoseconds until the first of these accounts' limits in seconds; ``None`` without any."""
        limits = ((account, self._ledger.balance(account).limits.elapsed_ns) for account in accounts)
        return min((limit - self.elapsed_ns(account) for account, limit in limits if limit is not None), default=None)

    def state(self, account: str) -> BudgetState:
        """Return an account as it is now.

        Raises:
            UnknownAccountError: If it is not open.
        """
        balance = self._ledger.balance(account)
        return BudgetState(
            account=account,
            limits=balance.limits,
            spent=balance.spent,
            held=balance.held,
            elapsed_ns=self.elapsed_ns(account),
            revision=balance.revision,
            unpriced_calls=balance.unpriced_calls,
        )

    def set_limits(self, account: str, limits: Limits, *, configured: bool = False) -> None:
        """Begin a new revision; thresholds reached before and reached still are carried over in silence.

        Raises:
            UnknownAccountError: If the account is not open.
        """
        balance = self._ledger.balance(account)
        before = set(balance.fired)
        at_once = set(reached(limits, balance.spent, self.elapsed_ns(account), self.thresholds))
        self._ledger.set_limits(account, limits, at_once & before, self._clock.now_ns(), configured=configured)

    def fire_reached(self, account: str, agent: str = "") -> tuple[BudgetWarning, ...]:
        """Note the thresholds that spend has reached since the last look, and return what to warn of.

        Args:
            account: Whose spend.
            agent: Whose call reached them.
        """
        balance = self._ledger.balance(account)
        elapsed = self._limited_ns(account, balance.limits)
        found = tuple(reached(balance.limits, balance.spent, elapsed, self.thresholds))
        if not found:
            return ()
        now_ns, last = self._clock.now_ns(), self.thresholds[-1]
        return tuple(
            BudgetWarning(
                account=account,
                dimension=dimension,
                threshold=threshold,
                level=level_of(threshold, self.thresholds),
                limit=limit_of(balance.limits, dimension) or 0,
                spent=amount_of(balance.spent, elapsed, dimension),
            )
            for dimension, threshold in found
            if self._ledger.fire(account, dimension, threshold, now_ns, agent=agent, final=threshold == last)
        )

    def fire_final(self, shortfall: Shortfall, agent: str) -> BudgetWarning | None:
        """Give the final warning ahead of its threshold, because only what is kept for a last call is left.

        It overtakes the warnings before it, which would come too late to be of use.

        Returns:
            The warning; ``None`` if it has been given before under the present limits.
        """
        account, dimension, now_ns = shortfall.account, shortfall.dimension, self._clock.now_ns()
        *earlier, final = self.thresholds
        if not self._ledger.fire(account, dimension, final, now_ns, agent=agent, final=True):
            return None
        for threshold in earlier:
            self._ledger.fire(account, dimension, threshold, now_ns)
        return BudgetWarning(
            account=account,
            dimension=dimension,
            threshold=final,
            level="final",
            limit=shortfall.limit,
            spent=shortfall.spent,
        )

    def of_thread(self, thread_id: str) -> Iterator[str]:
        """Yield every account that limits a thread, its own first.

        Raises:
            UnknownAccountError: If the thread has no budget.
        """
        budget = self.thread(thread_id)
        yield from budget.accounts
        yield from sorted(budget.scoped)
