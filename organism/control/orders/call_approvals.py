"""What calls from outside ask a person: whether an account may be spent from beyond a threshold.

An agent's message waits for the answer. A program's call cannot: it is refused at once with the name of the question,
and its program makes it again after the answer. So the question belongs to the account and not to a message: one is for
all calls that meet it, and it is over with the account, with its limits, or with the answer.
"""

import msgspec
from msgspec.structs import replace

from organism.clock import Clock
from organism.errors import BudgetExhaustedError, Refusal
from organism.journal import Drop, Keep, Pieces
from organism.runtime.pump import Pump
from organism.threads.approvals import Approval, Decision
from organism.threads.thread import Thread
from organism.usage.events import ApprovalRequested
from organism.usage.outbox import Outbox

_KIND = "call-approval"


class CallQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A question that calls were refused with.

    Attributes:
        approval: The question; its thread and agent are those of the first call that met it.
        revision: Of which revision of the account's limits.
        said: The answer, if that was no: it stands for as long as the question does.
        for_all: Whether this partition of a cluster has asked it for all, and reports the answer.
    """

    approval: Approval
    revision: int
    said: Decision | None = None
    for_all: bool = False


class CallApprovals:
    """Keeps the questions of calls from outside."""

    def __init__(self, pump: Pump, outbox: Outbox, clock: Clock) -> None:
        self._stops = pump.registry.stops
        self._journal = pump.state_writer.journal
        self._asked = pump.parked.threshold_questions
        self._outbox = outbox
        self._clock = clock
        self._questions: dict[str, CallQuestion] = {}

    def restore(self, pieces: Pieces) -> None:
        """Take up what an earlier run has asked."""
        for _, question in pieces.read(_KIND, CallQuestion):
            self._questions[question.approval.id] = question
            if question.said is None:
                self._asked.restore(question.approval)

    def waiting(self) -> tuple[Approval, ...]:
        """Return what is asked still."""
        self._forget_stale()
        return tuple(question.approval for question in self._questions.values() if question.said is None)

    def refused(self, thread: Thread, spender: str, error: BudgetExhaustedError) -> BudgetExhaustedError:
        """Ask a person about what a call was refused for, once, and return the refusal with the question's name.

        Args:
            spender: Who has made the call.
        """
        short = error.refusal
        if short.action == "refuse":  # the partitions of a cluster have one answer, and that was no
            return error
        name = Approval.id_at(short)
        question = self._questions.get(name)
        if question is None:
            self._forget_stale()
            question = self._ask(name, thread, spender, short)
        said = question.said
        if said is not None:
            why = f": {said.note}" if said.note else ""
            short = replace(short, note=f"a person has not let {short.account} go on at {short.threshold} %{why}")
        return BudgetExhaustedError(short, thread.id, error.relief, approval_id="" if said is not None else name)

    def _ask(self, name: str, thread: Thread, spender: str, short: Refusal) -> CallQuestion:
        approval = Approval(
            name,
            thread.id,
            thread.root,
            spender,
            "",
            what=f"to go on at {short.threshold} %",
            detail=short.note,
            asked_ns=self._clock.now_ns(),
            account=short.account,
            threshold=short.threshold,
        )
        approval, is_new = self._asked.joined(approval)
        question = CallQuestion(approval=approval, revision=short.revision)
        self._keep(question)
        if is_new:
            self._report(approval)
        return question

    def ask_for_all(self, approval: Approval, revision: int) -> None:
        """Ask a person for all partitions of a cluster, once for each time that it was asked.

        Args:
            approval: The question.
            revision: Of the account's limits, as all partitions count it.
        """
        known = self._questions.get(approval.id)
        if known is not None and known.for_all and known.approval.asked_ns == approval.asked_ns:
            return
        self._asked.forget(approval.id)
        self._asked.restore(approval)
        self._keep(CallQuestion(approval=approval, revision=revision, for_all=True))
        self._report(approval)

    def asks_for_all(self, approval_id: str) -> bool:
        """Whether this partition of a cluster has asked a question for all."""
        question = self._questions.get(approval_id)
        return question is not None and question.for_all

    def _report(self, approval: Approval) -> None:
        self._outbox.emit(
            ApprovalRequested(
                thread_id=approval.thread_id,
                root_thread_id=approval.root_thread_id,
                agent=approval.agent,
                approval_id=approval.id,
                what=approval.what,
            )
        )

    def answer(self, approval: Approval, decision: Decision) -> None:
        """Keep a no for the calls to come, if this is a question of calls; a yes is over with what it lets pass.

        The answers about limits that all partitions of a cluster share are kept for all of them.
        """
        if (question := self._questions.get(approval.id)) is None:
            return
        if decision.allowed or self._stops.shares(approval.account):
            self.forget(approval.id)
        else:
            self._keep(replace(question, said=decision))

    def forget(self, approval_id: str) -> None:
        """Forget a question that no call would meet now."""
        if self._questions.pop(approval_id, None) is not None:
            self._asked.forget(approval_id)
            self._journal.append(Drop(f"{_KIND}:{approval_id}", ""))

    def _forget_stale(self) -> None:
        """Forget questions that no call would meet now: they were allowed, or their account is gone or has changed."""
        for name, question in tuple(self._questions.items()):
            asked = question.approval
            # What all partitions ask is over when its asker hears so, and then it has to report it.
            if self._stops.shares(asked.account):
                continue
            due = self._stops.approval_due(asked.account)
            if due is None or (due.threshold, due.revision) != (asked.threshold, question.revision):
                self.forget(name)

    def _keep(self, question: CallQuestion) -> None:
        self._questions[question.approval.id] = question
        self._journal.append(Keep(f"{_KIND}:{question.approval.id}", "", question))
