"""What people are asked, and their answers: kept like finished pieces of work, so that no crash asks them again."""

import msgspec

from organism.control.orders.budget_grants import BudgetGrants
from organism.control.orders.call_approvals import CallApprovals
from organism.errors import ConfigError
from organism.runtime.pump import Pump
from organism.threads.approvals import Approval, Decision, UnknownApprovalError, decision_key
from organism.threads.records import checked
from organism.usage.events import ApprovalDecided
from organism.usage.outbox import Outbox


class Approvals:
    """The questions to people that messages wait for.

    Args:
        grants: Raises limits, where budget is asked for.
        calls: The questions of calls from outside.
    """

    def __init__(self, pump: Pump, outbox: Outbox, grants: BudgetGrants, calls: CallApprovals) -> None:
        self._grants = grants
        self._calls = calls
        self._stops = pump.registry.stops
        self._threads = pump.open_threads
        self._parked = pump.parked
        self._state_writer = pump.state_writer
        self._outbox = outbox

    def waiting(self) -> tuple[Approval, ...]:
        """Return what is asked, oldest first."""
        asked = [approval for thread in self._threads.all() for approval in thread.approvals]
        return tuple(sorted((*asked, *self._calls.waiting()), key=lambda approval: approval.asked_ns))

    def decide_nowait(self, approval_id: str, decision: Decision, by: str = "python") -> Approval:
        """Answer a question in one step; the caller waits for the commit before it tells of it.

        Raises:
            UnknownApprovalError: If nothing waits for it.
            ConfigError: If it grants what is no amount, or budget where none is asked for.
        """
        approval = next((each for each in self.waiting() if each.id == approval_id), None)
        if approval is None:
            raise UnknownApprovalError(approval_id)
        checked(decision, Decision, "the answer")
        if approval.budget is not None:
            granted = decision.grants(approval.budget)
        elif (decision.tokens, decision.usd, decision.seconds) != (None, None, None):
            raise ConfigError(f"{approval} asks for no budget; allow it or not")
        if approval.message_id:
            name, value = decision_key(approval_id), msgspec.json.encode(decision)
            thread = self._threads.get(approval.thread_id)
            self._state_writer.save_step(thread, approval.message_id, name, value)
        else:
            self._calls.answer(approval, decision)
        self._outbox.emit(
            ApprovalDecided(
                thread_id=approval.thread_id,
                root_thread_id=approval.root_thread_id,
                agent=approval.agent,
                approval_id=approval_id,
                what=approval.what,
                allowed=decision.allowed,
            )
        )
        if approval.budget is not None and granted:
            self._grants.grant(approval, granted, by)
        if approval.threshold and decision.allowed:
            self._let_pass(approval, by)
        if approval.message_id:
            self._parked.unpark(thread, lambda waits: waits == approval)
        return approval

    def _let_pass(self, approval: Approval, by: str) -> None:
        """Let an account go on at a threshold: one word is for all that waits for it."""
        at = (approval.account, approval.threshold)
        self._stops.let_pass(*at, by)
        for thread in self._threads.all():
            self._parked.unpark(thread, lambda waits: (waits.account, waits.threshold) == at)
