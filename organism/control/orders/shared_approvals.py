"""Questions to people about limits that all partitions of a cluster share, as one of the partitions keeps them.

Its messages and calls wait for such a question as for any other, by the same name in all partitions. The partition that
has asked reports that it did, and the answer; all do what was answered when they hear of it.
"""

from organism.budget.guards.standing import Standing
from organism.control.orders.approvals import Approvals
from organism.control.orders.call_approvals import CallApprovals
from organism.runtime.pump import Pump
from organism.threads.approvals import Approval, Decision


def approval_of(account: str, standing: Standing) -> Approval:
    """Return the last question about a shared limit, as a person is asked."""
    return Approval(
        Approval.id_of(account, standing.threshold, standing.revision),
        standing.thread_id,
        standing.root,
        standing.agent,
        "",
        what=f"to go on at {standing.threshold} %",
        detail=standing.detail,
        asked_ns=standing.asked_ns,
        account=account,
        threshold=standing.threshold,
    )


class SharedApprovals:
    """What a partition does when it asks for all, and when it hears what was asked or answered."""

    def __init__(self, pump: Pump, approvals: Approvals, calls: CallApprovals) -> None:
        self._approvals = approvals
        self._calls = calls
        self._stops = pump.registry.stops
        self._known = pump.parked.threshold_questions

    def ask(self, account: str, standing: Standing) -> None:
        """Keep the question that this partition asks for all, and report it; once, whenever it is called."""
        self._calls.ask_for_all(approval_of(account, standing), standing.revision)

    def know(self, account: str, standing: Standing) -> None:
        """Know a question that another partition has asked: what waits for it here reports nothing."""
        asked = approval_of(account, standing)
        self._known.forget(asked.id)
        self._known.restore(asked)

    def heed(self, account: str, standing: Standing) -> None:
        """Do what was answered, as far as something waits for it here.

        Args:
            account: Whose limit.
            standing: What was said of it.
        """
        asked = approval_of(account, standing)
        for each in self._approvals.waiting(lambda each: each.account == account):
            if each.id == asked.id and standing.said is not None:
                decision = Decision(standing.said, standing.note)
            elif each.id != asked.id and each.threshold <= standing.passed:
                decision = Decision(allowed=True)  # a later question has taken its place since
            elif each.id != asked.id:
                self._approvals.drop(each)  # of the limit as it was before it was changed
                continue
            else:
                continue
            self._approvals.decide_nowait(each.id, decision, standing.said_by, tell=self._calls.asks_for_all(each.id))
        if standing.passed and not self._stops.is_passed(account, standing.passed):
            self._stops.let_pass(account, standing.passed, standing.said_by)
