"""What operators do to budgets while threads run: give other limits, correct spend. What waited for them goes on."""

from collections.abc import Iterable

import anyio

from organism.amounts import Amounts, BudgetState, Limits
from organism.amounts.account import thread_of
from organism.budget.scopes import BudgetPlan
from organism.budget.thresholds import Due
from organism.concurrency.wakeups import Wakeup
from organism.runtime.pump import Pump
from organism.usage.events import BudgetAdjusted, LimitChanged
from organism.usage.outbox import Outbox

_TOLD_S = 5.0


class BudgetChanges:
    """Changes budgets.

    Attributes:
        told: Wakes the orders that wait until other partitions can know of them.
    """

    def __init__(self, pump: Pump, outbox: Outbox) -> None:
        registry = pump.registry
        self._registry = registry
        self._accounts = registry.accounts
        self._threads = pump.open_threads
        self._parked = pump.parked
        self._warnings = pump.warnings
        self._writer = pump.state_writer
        self._outbox = outbox
        self.told = Wakeup()

    async def until_told(self, account: str) -> None:
        """Return when all partitions of a cluster that share an account's limits can know of an order to change them.

        Whatever is ordered after that, of whichever partition, is known to be later. A database that does not answer is
        not waited for.
        """
        shared = self._accounts.shared
        if shared is not None and shared.order(account):
            with anyio.move_on_after(_TOLD_S):
                while account in shared.ordered:
                    await self.told.wait()

    def change_limits(self, account: str, limits: Limits, *, configured: bool = False) -> BudgetState:
        """Give an account new limits, report it, and let go on what waited for it.

        Those that a child's limits are carved out of are raised by what they lack for it, each with its own event: what
        is promised below is never more than what is promised above.

        Args:
            limits: All of its limits from now on.
            configured: Whether the configuration says so, and not an operator.

        Raises:
            UnknownAccountError: If the account is not open.
            ConfigError: If it is a carved child's, and lacks a limit that those have which it is carved out of.
        """
        for above, higher in self._registry.needed_above(account, limits).items():
            self.change_limits(above, higher)
        before = self._registry.state(account)
        warnings = self._registry.set_limits(account, limits, configured=configured)
        after = self._registry.state(account)
        thread = self._threads.find(thread_of(account) or "")
        if thread is not None and self._registry.carve_of(thread.id) is not None:
            # A carved child's limits are held anew: without its record a start would find a hold of nobody.
            self._writer.save_thread(thread)
        thread_id, root = self._owners(account)
        self._outbox.emit(
            LimitChanged(
                thread_id=thread_id,
                root_thread_id=root,
                account=account,
                before=before.limits,
                after=limits,
                revision=after.revision,
            )
        )
        self._warnings.tell(warnings)
        self._let_go_on((account,))
        return after

    def agree(self, account: str, limits: Limits) -> None:
        """Give an account the limits that another partition of the cluster has changed; that one has reported it."""
        self._warnings.tell(self._registry.set_limits(account, limits))
        self._let_go_on((account,))

    def warn_for_all(self, account: str, due: Due, agent: str, *, tell: bool) -> None:
        """Note a threshold of a limit that several partitions share, for this one's agents to hear of it.

        Args:
            agent: Whose call has reached it.
            tell: Whether this partition is the one that reports it.
        """
        warnings = self._accounts.warnings.note(account, due, agent)
        self._warnings.resume()  # agents hear of it before their next message
        if tell:
            self._warnings.tell(warnings)

    def adjust(self, account: str, amounts: Amounts, reason: str) -> tuple[BudgetState, ...]:
        """Correct what an account has spent, and let go on what there is room for again.

        Args:
            account: Whose spend; a thread's counts on all above it that it shares with, and on the organism's windows.
            amounts: What is added; may be negative.
            reason: Why, and on whose word.

        Returns:
            The accounts that were corrected, as they are now.

        Raises:
            UnknownAccountError: If the account is not open.
            ConfigError: If spend would fall below zero somewhere, or beyond what 64 bits hold.
        """
        accounts, warnings = self._registry.adjust(account, amounts, reason)
        states = tuple(map(self._registry.state, accounts))
        thread_id, root = self._owners(account)
        self._outbox.emit(
            BudgetAdjusted(
                thread_id=thread_id,
                root_thread_id=root,
                account=account,
                amounts=amounts,
                reason=reason,
                budgets=states,
            )
        )
        self._warnings.tell(warnings)
        self._let_go_on(accounts)
        return states

    def replan(self, plan: BudgetPlan, thresholds: tuple[int, ...]) -> None:
        """Apply other limits and thresholds, to open accounts of windows, agents, models and providers too.

        Open threads keep theirs: they were promised to their openers, and are changed one by one. An account
        that an operator has changed keeps that, unless the plan says something else of it than before.
        """
        self._registry.replan(plan, thresholds)
        for account, limits in self._accounts.departed().items():
            self.change_limits(account, limits, configured=True)
        self.tell_reached()

    def tell_reached(self) -> None:
        """Report every threshold that is reached and was not reported: others may apply now, or another mode."""
        self._warnings.tell(self._registry.fire_reached())

    def _owners(self, account: str) -> tuple[str, str]:
        """Return the thread whose own account this is, and the one at the top of its tree; empty for other scopes."""
        thread = self._threads.find(thread_of(account) or "")
        return (thread.id, thread.root) if thread is not None else ("", "")

    def _let_go_on(self, accounts: Iterable[str]) -> None:
        changed = frozenset(accounts)
        for thread in self._threads.all():
            self._parked.unpark(thread, lambda waits: waits.account in changed)
