"""What people are asked, and their answers: kept like finished pieces of work, so that no crash asks them again."""

import msgspec

from organism.runtime.lifecycle import Lifecycle
from organism.threads.approvals import Approval, Decision, UnknownApprovalError, decision_key
from organism.threads.records import checked
from organism.threads.state_writer import ThreadStateWriter
from organism.usage.events import ApprovalDecided
from organism.usage.outbox import Outbox


class Approvals:
    """The questions to people that messages wait for.

    Args:
        life: The open threads.
        state_writer: Keeps the answers.
        outbox: Takes the events.
    """

    def __init__(self, life: Lifecycle, state_writer: ThreadStateWriter, outbox: Outbox) -> None:
        self._life = life
        self._state_writer = state_writer
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
        await self._state_writer.journal.commit()
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
        self._state_writer.save_step(thread, approval.message_id, name, value)
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
        self._life.parked.unpark(thread, lambda waits: waits == approval)
        return approval
