"""What people are asked, and their answers: kept like finished pieces of work, so that no crash asks them again."""

from collections.abc import Awaitable, Callable

import msgspec

from organism.control.orders.budget_grants import BudgetGrants
from organism.control.orders.call_approvals import CallApprovals
from organism.control.orders.given_answers import GivenAnswers
from organism.errors import ConfigError
from organism.runtime.pump import Pump
from organism.threads.approvals import Approval, Decision, UnknownApprovalError, decision_key, each_once
from organism.threads.records import checked
from organism.usage.events import ApprovalDecided
from organism.usage.outbox import Outbox

TellAll = Callable[[Approval, Decision, str], Awaitable[bool]]
"""Answers a question for all partitions of a cluster, in somebody's name; whether that is the answer now."""


class Approvals:
    """The questions to people that messages wait for.

    Args:
        grants: Raises limits, where budget is asked for.
        calls: The questions of calls from outside.
        given: Remembers answers.

    Attributes:
        given: It.
    """

    def __init__(
        self, pump: Pump, outbox: Outbox, grants: BudgetGrants, calls: CallApprovals, given: GivenAnswers
    ) -> None:
        self.given = given
        self._grants = grants
        self._calls = calls
        self._stops = pump.registry.stops
        self._threads = pump.open_threads
        self._parked = pump.parked
        self._threshold_questions = pump.parked.threshold_questions
        self._state_writer = pump.state_writer
        self._outbox = outbox
        self._tell_all: TellAll | None = None

    def answer_for_all(self, tell_all: TellAll) -> None:
        """Take part in a cluster, where a question about a shared limit is answered for all partitions."""
        self._tell_all = tell_all

    def waiting(self, which: Callable[[Approval], bool] = lambda _asked: True) -> tuple[Approval, ...]:
        """Return what is asked, oldest first; what several messages wait for, once.

        Args:
            which: Whose questions; all unless given.
        """
        return each_once(filter(which, self._asked()))

    def _asked(self) -> tuple[Approval, ...]:
        """Return the question of each message and call that waits."""
        asked = (approval for thread in self._threads.all() for approval in thread.approvals)
        return (*asked, *self._calls.waiting())

    def asked_here(self) -> int:
        """Return how many questions are asked, without those that another partition of a cluster asks for all."""
        return sum(not self._stops.shares(each.account) or self._calls.asks_for_all(each.id) for each in self.waiting())

    async def agree(self, approval_id: str, decision: Decision, by: str) -> Approval | None:
        """Give all partitions of a cluster one answer to a question about a limit that they share.

        Returns:
            The question, if this answer is for all now; ``None`` if it is no such question.

        Raises:
            UnknownApprovalError: If it has had another answer.
            JournalError: If it is not known whether the others have it.
        """
        asked = next((each for each in self._asked() if each.id == approval_id), None)
        if asked is None or self._tell_all is None or not self._stops.shares(asked.account):
            return None
        checked(decision, Decision, "the answer")
        if (decision.tokens, decision.usd, decision.seconds) != (None, None, None):
            raise ConfigError(f"{asked} asks for no budget; allow it or not")
        if not await self._tell_all(asked, decision, by):
            raise UnknownApprovalError(approval_id)
        return asked

    def drop(self, asked: Approval) -> None:
        """Let go on what waits for a question that counts no more; it asks anew where it still must."""
        self._calls.forget(asked.id)
        self._threshold_questions.forget(asked.id)
        for thread in self._threads.all():
            self._parked.unpark(thread, lambda waits: isinstance(waits, Approval) and waits.id == asked.id)

    def decide_nowait(self, approval_id: str, decision: Decision, by: str = "python", *, tell: bool = True) -> Approval:
        """Answer a question in one step; the caller waits for the commit before it tells of it.

        Args:
            approval_id: Which.
            decision: The answer.
            by: Who gives it.
            tell: Whether to report it; in a cluster one partition does for all.

        Raises:
            UnknownApprovalError: If nothing waits for it.
            ConfigError: If it grants what is no amount, or budget where none is asked for.
        """
        asked = [each for each in self._asked() if each.id == approval_id]
        if not asked:
            raise UnknownApprovalError(approval_id)
        approval = each_once(asked)[0]
        checked(decision, Decision, "the answer")
        if approval.budget is not None:
            granted = decision.grants(approval.budget)
        elif (decision.tokens, decision.usd, decision.seconds) != (None, None, None):
            raise ConfigError(f"{approval} asks for no budget; allow it or not")
        messages = [each for each in asked if each.message_id]
        name, value = decision_key(approval_id), msgspec.json.encode(decision)
        for each in messages:
            self._state_writer.save_step(self._threads.get(each.thread_id), each.message_id, name, value)
        self.given.keep(approval, decision)
        self._calls.answer(approval, decision)
        self._threshold_questions.forget(approval_id)
        if tell:
            self._report(approval, decision)
        if approval.budget is not None and granted:
            self._grants.grant(approval, granted, by)
        if approval.threshold and decision.allowed:
            self._let_pass(approval, by)
        for thread_id in dict.fromkeys(each.thread_id for each in messages):
            thread = self._threads.get(thread_id)
            self._parked.unpark(thread, lambda waits: isinstance(waits, Approval) and waits.id == approval_id)
        return approval

    def _report(self, approval: Approval, decision: Decision) -> None:
        self._outbox.emit(
            ApprovalDecided(
                thread_id=approval.thread_id,
                root_thread_id=approval.root_thread_id,
                agent=approval.agent,
                approval_id=approval.id,
                what=approval.what,
                allowed=decision.allowed,
            )
        )

    def _let_pass(self, approval: Approval, by: str) -> None:
        """Let an account go on at a threshold: one word is for all that waits for it."""
        at = (approval.account, approval.threshold)
        self._stops.let_pass(*at, by)
        for thread in self._threads.all():
            self._parked.unpark(thread, lambda waits: (waits.account, waits.threshold) == at)
