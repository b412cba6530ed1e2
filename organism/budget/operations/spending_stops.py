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
        """Return what of an account a person must let go on now; ``None`` also if it counts no more, or is shared."""
        return self._engine.approval_due((account,)) if self._counts(account) else None

    def awaits(self, account: str, threshold: int) -> bool:
        """Whether calls on an account stop at a threshold until a person lets it go on."""
        if self.shares(account) and (shared := self._book.shared) is not None:
            enforced = self._counts(account) and self._engine.mode_of(account) == "enforce"
            return enforced and shared.questions.awaits(self._ledger.balance(account), threshold)
        due = self.approval_due(account)
        return due is not None and due.threshold == threshold

    def shares(self, account: str) -> bool:
        """Whether all partitions of a cluster share an account, and so its questions to people."""
        return self._ledger.has(account) and self._engine.shares(self._ledger.balance(account))

    def _counts(self, account: str) -> bool:
        return self._ledger.has(account) and not self._book.over(account)

    def is_passed(self, account: str, threshold: int) -> bool:
        """Whether it is noted that a person has let an account go on at a threshold, or it is not open."""
        known = self._ledger.has(account)
        return not known or threshold in self._ledger.balance(account).passed_at(self._clock.now_ns())

    def let_pass(self, account: str, threshold: int, by: str) -> None:
        """Let an account go on at a threshold, if it counts still."""
        if self._ledger.has(account):
            self._ledger.let_pass(account, threshold, by, self._clock.now_ns())
            self._queue.serve(account)
