"""The slices of one partition: what it may use of the limits that all partitions of a cluster share."""

from organism.amounts import Amounts, Limits
from organism.budget.accounts.shared_limits import SharedLimits
from organism.budget.operations.budget_operation import BudgetOperation


class AccountSlices(BudgetOperation):
    """Takes note of slices, and says at which accounts calls wait for more."""

    def share(self, shared: SharedLimits) -> None:
        """Take part in limits that several partitions of a cluster share."""
        self._book.shared = shared

    def set_slice(self, account: str, amounts: Amounts, elsewhere: Amounts, agreed: Limits) -> None:
        """Note what this partition may use of a shared limit, and let calls in line be looked at again."""
        balance = self._ledger.balance(account)
        if (balance.slice, balance.elsewhere, balance.agreed) != (amounts, elsewhere, agreed):
            self._ledger.slice(account, amounts, elsewhere, agreed, self._clock.now_ns())
            self._engine.fire_reached(account)
        self._queue.serve(account)

    def look_again(self, account: str) -> None:
        """Let calls in line be looked at again: what people have said is known, or is asked."""
        self._queue.serve(account)

    @property
    def waited_for(self) -> tuple[str, ...]:
        """The accounts at which calls wait in line."""
        return self._queue.accounts
