"""The operator actions of one organism."""

from organism.control.orders.agent_reload import AgentReload
from organism.control.orders.approvals import Approvals
from organism.control.orders.budget_changes import BudgetChanges
from organism.control.orders.dead_letters import DeadLetterOrders
from organism.control.orders.external_threads import ExternalThreads
from organism.control.orders.freezing import Freezing
from organism.control.orders.pausing import Pausing
from organism.runtime.pump import Pump
from organism.usage.outbox import Outbox


class ThreadOrders:
    """All of them.

    Args:
        pump: The message loop they act on.
        outbox: Takes the events.

    Attributes:
        approvals: Answers of people.
        budget_changes: Limits and corrections.
        dead_letters: Second chances.
        external_threads: Threads and calls of programs that are no agents.
        freezing: Stop all spending, and let it go on.
        pausing: Pause and resume.
        reload: Other agents and bounds.
    """

    def __init__(self, pump: Pump, outbox: Outbox) -> None:
        self.approvals = Approvals(pump, outbox)
        self.budget_changes = BudgetChanges(pump, outbox)
        self.dead_letters = DeadLetterOrders(pump)
        self.external_threads = ExternalThreads(pump)
        self.freezing = Freezing(pump, outbox)
        self.pausing = Pausing(pump)
        self.reload = AgentReload(pump)
