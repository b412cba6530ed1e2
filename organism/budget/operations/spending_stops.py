"""What keeps a thread from spending although it has the budget, and how that is lifted."""

from organism.budget.guards.freezes import Freezes
from organism.budget.operations.budget_operation import BudgetOperation
from organism.errors import Refusal


class SpendingStops(BudgetOperation):
    """Stops of threads by breakers, of scopes by an operator, of accounts at a threshold that a person must pass."""

    @property
    def freezes(self) -> Freezes:
        """What an operator has stopped; the lines are to be served when it changes."""
        return self._engine.freezes

    def stopped(self, thread_id: str) -> Refusal | None:
        """Return why a thread may not spend now although it has the budget; see :meth:`BudgetEngine.stopped`."""
        return self._engine.stopped(thread_id)

    def stop(self, thread_id: str, why: Refusal | None) -> None:
        """Let a thread spend nothing more, or let it go on; what it has in line is answered."""
        self._book.thread(thread_id).stopped = why
        self._queue.serve(*self._queue.accounts)

    def approval_due(self, account: str) -> Refusal | None:
        """Return what of an account a person must let go on now; ``None`` also if it counts no more."""
        counts = self._ledger.has(account) and not self._book.over(account)
        return self._engine.approval_due((account,)) if counts else None

    def let_pass(self, account: str, threshold: int, by: str) -> None:
        """Let an account go on at a threshold, if it counts still."""
        if self._ledger.has(account):
            self._ledger.let_pass(account, threshold, by, self._clock.now_ns())
            self._queue.serve(account)
