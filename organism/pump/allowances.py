"""What operators do to budgets while threads run: give other limits, correct spend. What waited for them goes on."""

from collections.abc import Iterable

from organism.amounts import Amounts, BudgetState, Limits
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import thread_of
from organism.errors import Shortfall
from organism.messages import BudgetWarning
from organism.pump.delivery import Delivery
from organism.pump.lifecycle import Lifecycle
from organism.usage.events import BudgetAdjusted, LimitChanged
from organism.usage.outbox import Outbox


class Allowances:
    """Changes budgets.

    Args:
        registry: The budgets.
        life: Holds the threads.
        delivery: Takes warnings to agents.
        outbox: Takes the events.
    """

    def __init__(self, registry: ThreadBudgetRegistry, life: Lifecycle, delivery: Delivery, outbox: Outbox) -> None:
        self._registry = registry
        self._life = life
        self._delivery = delivery
        self._outbox = outbox

    def set_limits(self, account: str, limits: Limits) -> BudgetState:
        """Give an account new limits and let go on what waited for it.

        Raises:
            UnknownAccountError: If the account is not open.
        """
        before = self._registry.state(account)
        warnings = self._registry.set_limits(account, limits)
        after = self._registry.state(account)
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
        self._warn(account, warnings)
        self._let_go_on((account,))
        return after

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
        self._warn(account, warnings)
        self._let_go_on(accounts)
        return states

    def _owners(self, account: str) -> tuple[str, str]:
        """Return the thread whose own account this is, and the one at the top of its tree; empty for other scopes."""
        thread = self._life.find(thread_of(account) or "")
        return (thread.id, thread.root) if thread is not None else ("", "")

    def _warn(self, account: str, warnings: Iterable[BudgetWarning]) -> None:
        """Warn the thread's entry agent of thresholds of its own that this has reached."""
        thread = self._life.find(thread_of(account) or "")
        if thread is not None and not thread.standing:
            for warning in warnings:
                if warning.account == account:
                    self._delivery.warn(thread, thread.entry, warning)

    def _let_go_on(self, accounts: Iterable[str]) -> None:
        changed = frozenset(accounts)
        for waiting in self._life.all():
            waits = (lane.parked for lane in waiting.lanes.values())
            if any(isinstance(why, Shortfall) and why.account in changed for why in waits):
                self._life.unpark(waiting)
