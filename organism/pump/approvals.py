"""What people are asked, and their answers: kept like finished pieces of work, so that no crash asks them again."""

import msgspec

from organism.bus.approvals import Approval, Decision, UnknownApprovalError, decision_key
from organism.bus.records import checked
from organism.pump.keeper import Keeper
from organism.pump.lifecycle import Lifecycle
from organism.usage.events import ApprovalDecided
from organism.usage.outbox import Outbox


class Approvals:
    """The questions to people that messages wait for.

    Args:
        life: The open threads.
        keeper: Keeps the answers.
        outbox: Takes the events.
    """

    def __init__(self, life: Lifecycle, keeper: Keeper, outbox: Outbox) -> None:
        self._life = life
        self._keeper = keeper
        self._outbox = outbox

    def waiting(self) -> tuple[Approval, ...]:
        """Return what is asked, oldest first."""
        asked = (approval for thread in self._life.all() for approval in thread.approvals)
        return tuple(sorted(asked, key=lambda approval: approval.asked_ns))

    async def decide(self, approval_id: str, decision: Decision) -> Approval:
        """Answer a question and let its message go on.

        Raises:
            UnknownApprovalError: If nothing waits for it.
            JournalError: If the answer cannot be kept.
        """
        approval = self.decide_nowait(approval_id, decision)
        await self._keeper.journal.commit()
        return approval

    def decide_nowait(self, approval_id: str, decision: Decision) -> Approval:
        """Answer a question in one step; whoever tells of it waits for the commit.

        Raises:
            UnknownApprovalError: If nothing waits for it.
        """
        approval = next((each for each in self.waiting() if each.id == approval_id), None)
        if approval is None:
            raise UnknownApprovalError(approval_id)
        thread = self._life.get(approval.thread_id)
        checked(decision, Decision, "the answer")
        name, value = decision_key(approval_id), msgspec.json.encode(decision)
        thread.steps.setdefault(approval.message_id, {})[name] = value
        self._keeper.step(thread, approval.message_id, name, value)
        self._outbox.emit(
            ApprovalDecided(
                thread_id=thread.id,
                root_thread_id=thread.root,
                agent=approval.agent,
                approval_id=approval_id,
                what=approval.what,
                allowed=decision.allowed,
            )
        )
        self._life.waiting.unpark(thread, lambda waits: waits == approval)
        return approval
