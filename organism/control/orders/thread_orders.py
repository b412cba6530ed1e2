"""The operator actions of one organism."""

from organism.clock import Clock
from organism.control.orders.agent_reload import AgentReload
from organism.control.orders.approvals import Approvals
from organism.control.orders.budget_changes import BudgetChanges
from organism.control.orders.budget_grants import BudgetGrants
from organism.control.orders.call_approvals import CallApprovals
from organism.control.orders.dead_letters import DeadLetterOrders
from organism.control.orders.external_threads import ExternalThreads
from organism.control.orders.freezing import Freezing
from organism.control.orders.given_answers import GivenAnswers
from organism.control.orders.pausing import Pausing
from organism.control.orders.shared_approvals import SharedApprovals
from organism.journal import Pieces
from organism.runtime.pump import Pump
from organism.usage.outbox import Outbox


class ThreadOrders:
    """All of them.

    Args:
        pump: The message loop they act on.
        clock: Tells when what is granted ends, and dates questions.

    Attributes:
        approvals: Answers of people.
        budget_changes: Limits and corrections.
        budget_grants: What people have granted for a while.
        call_approvals: What calls of such programs ask a person.
        dead_letters: Second chances.
        external_threads: Threads and calls of programs that are no agents.
        freezing: Stop all spending, and let it go on.
        pausing: Pause and resume.
        reload: Other agents and bounds.
        shared_approvals: Questions about limits that the partitions of a cluster share.
    """

    def __init__(self, pump: Pump, outbox: Outbox, clock: Clock) -> None:
        self.budget_changes = BudgetChanges(pump, outbox)
        self.budget_grants = BudgetGrants(pump, self.budget_changes, clock)
        self.call_approvals = CallApprovals(pump, outbox, clock)
        self.approvals = Approvals(
            pump, outbox, self.budget_grants, self.call_approvals, GivenAnswers(pump.state_writer.journal, clock)
        )
        self.shared_approvals = SharedApprovals(pump, self.approvals, self.call_approvals)
        self.dead_letters = DeadLetterOrders(pump)
        self.external_threads = ExternalThreads(pump, self.call_approvals)
        self.freezing = Freezing(pump, outbox)
        self.pausing = Pausing(pump)
        self.reload = AgentReload(pump)

    def restore(self, pieces: Pieces) -> None:
        """Take over what an earlier run has frozen, asked and granted."""
        self.freezing.restore(pieces)
        self.call_approvals.restore(pieces)
        self.budget_grants.restore(pieces)
