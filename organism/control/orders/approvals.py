"""What people are asked, and their answers: kept like finished pieces of work, so that no crash asks them again."""

import msgspec

from organism.runtime.pump import Pump
from organism.threads.approvals import Approval, Decision, UnknownApprovalError, decision_key
from organism.threads.records import checked
from organism.usage.events import ApprovalDecided
from organism.usage.outbox import Outbox


class Approvals:
    """The questions to people that messages wait for.

    Args:
        pump: Whose threads.
        outbox: Takes the events.
    """

    def __init__(self, pump: Pump, outbox: Outbox) -> None:
        self._threads = pump.open_threads
        self._parked = pump.parked
        self._state_writer = pump.state_writer
        self._outbox = outbox

    def waiting(self) -> tuple[Approval, ...]:
        """Return what is asked, oldest first."""
        asked = (approval for thread in self._threads.all() for approval in thread.approvals)
        return tuple(sorted(asked, key=lambda approval: approval.asked_ns))

    def decide_nowait(self, approval_id: str, decision: Decision) -> Approval:
        """Answer a question in one step; the caller waits for the commit before it tells of it.

        Raises:
            UnknownApprovalError: If nothing waits for it.
        """
        approval = next((each for each in self.waiting() if each.id == approval_id), None)
        if approval is None:
            raise UnknownApprovalError(approval_id)
        thread = self._threads.get(approval.thread_id)
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
        self._parked.unpark(thread, lambda waits: waits == approval)
        return approval
