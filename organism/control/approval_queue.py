"""What people are asked, for a program that embeds the organism."""

from organism.control.control import Control
from organism.control.orders.approvals import Approvals
from organism.threads.approvals import Approval, Decision, UnknownApprovalError


class ApprovalQueue:
    """The questions to people that messages wait for.

    Args:
        approvals: Knows what is asked.
    """

    def __init__(self, control: Control, approvals: Approvals) -> None:
        self._control = control
        self._approvals = approvals

    def waiting(self, root: str | None = None) -> tuple[Approval, ...]:
        """Return what is asked, oldest first.

        Args:
            root: Only in the tree of this thread; in all unless given.
        """
        return self._approvals.waiting(lambda each: root is None or each.root_thread_id == root)

    async def decide(self, approval_id: str, decision: Decision) -> Approval:
        """Answer a question and let its message continue.

        Raises:
            UnknownApprovalError: If nothing waits for it.
            JournalError: If the answer cannot be kept.
        """
        approval = next((each for each in self.waiting() if each.id == approval_id), None)
        if approval is None:
            raise UnknownApprovalError(approval_id)
        await self._control.decide(approval_id, decision)
        return approval
