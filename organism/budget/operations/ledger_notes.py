"""Notes in the ledger about a budget without money moving: decisions of people and guards, and refusals."""

from organism.budget.operations.budget_operation import BudgetOperation
from organism.errors import Refusal


class LedgerNotes(BudgetOperation):
    """Writes notes into the ledger."""

    def remark(self, thread_id: str, text: str) -> None:
        """Note what was decided about a thread's budget."""
        self._ledger.remark(self._book.thread(thread_id).accounts[0], text, self._clock.now_ns())

    def refused(self, refusal: Refusal, thread_id: str) -> bool:
        """Note that a limit has refused a thread's call; whether it is the first time under its present limits."""
        return self._ledger.report(refusal, thread_id, self._clock.now_ns())
