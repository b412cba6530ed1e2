"""Writes the live state of threads to the journal, each piece in the step that changes it.

Nothing here decides or awaits. What one step of the pump appends is committed together: that a message is done, what
its handler has sent, and what it has changed.
"""

import msgspec

from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock
from organism.errors import Refusal
from organism.journal import Drop, DropThread, Journal, Keep, Remember
from organism.messages import Envelope, ThreadResult, encode
from organism.threads.approvals import Approval, WaitReason
from organism.threads.dead_letters import DeadLetter
from organism.threads.lanes import Lane
from organism.threads.records import (
    ANSWER,
    CHILD,
    CLOSED,
    DEAD,
    MESSAGE,
    OUTPUT,
    PARKED,
    STATE,
    STEP,
    STOPPED,
    THREAD,
    TRIED,
    AnswerRecord,
    DeadRecord,
    OutputRecord,
    ParkedRecord,
    ResultRecord,
    StateRecord,
    StepRecord,
    StoppedRecord,
    ThreadRecord,
    TriedRecord,
    key,
)
from organism.threads.thread import Question, Thread


def _used_key(thread_id: str) -> str:
    return f"closed:{thread_id}"


class ThreadStateWriter:
    """Keeps the state of threads in a journal.

    Args:
        journal: Where to.
        registry: Knows how long threads have been open.
        clock: Dates the pieces.
    """

    def __init__(self, journal: Journal, registry: ThreadBudgetRegistry, clock: Clock) -> None:
        self.journal = journal
        self._registry = registry
        self._clock = clock

    # -- threads --------------------------------------------------------------------------------------------------

    def save_thread(self, thread: Thread) -> None:
        """Keep what a thread is and how it stands."""
        record = ThreadRecord(
            thread_id=thread.id,
            root=thread.root,
            parent=thread.parent,
            depth=thread.depth,
            entry=thread.entry,
            labels=thread.labels,
            status=thread.status,
            open_ns=self._registry.budget(thread.id).elapsed_ns,
            running_since_ns=self._clock.now_ns() if thread.at_work else None,
            carve=self._registry.carve_of(thread.id),
            origin=thread.origin,
            blocked_by=thread.blocked_by if isinstance(thread.blocked_by, Refusal) else None,
            asks=thread.blocked_by if isinstance(thread.blocked_by, Approval) else None,
            gave_up=thread.gave_up,
            ending=thread.ending,
            descendants=thread.descendants,
        )
        self._keep(key(THREAD, thread.id), thread.id, record)

    def save_result(self, thread: Thread, result: ThreadResult) -> None:
        """Keep nothing of a thread but how it ended, and that its id has been used."""
        self.journal.append(DropThread(thread.id))
        self._used(thread.id)
        record = ResultRecord(
            thread_id=thread.id,
            outcome=result.outcome,
            outputs=tuple(msgspec.Raw(encode(output)) for output in result.outputs),
            budget=result.budget,
            reason=result.reason,
            root=thread.root,
            closed_ns=self._clock.now_ns(),
            spawned_by=thread.origin.spawned_by,
        )
        self._keep(key(CLOSED, thread.id), "", record)
        if thread.parent is not None and thread.origin.spawned_by is not None:
            self._keep(key(CHILD, thread.id), thread.parent, record)

    def save_lost(self, result: ThreadResult) -> None:
        """Keep how a thread ended of which nothing else is known."""
        self._used(result.thread_id)
        record = ResultRecord(
            thread_id=result.thread_id,
            outcome=result.outcome,
            outputs=(),
            budget=result.budget,
            reason=result.reason,
            root=result.thread_id,
            closed_ns=self._clock.now_ns(),
        )
        self._keep(key(CLOSED, result.thread_id), "", record)

    def _used(self, thread_id: str) -> None:
        self.journal.append(Remember(key=_used_key(thread_id), time_ns=self._clock.now_ns()))

    async def was_used(self, thread_id: str) -> bool:
        """Whether a thread of that name has ended, as far back as the ledger's entries are kept."""
        return await self.journal.remembered(_used_key(thread_id)) is not None

    def delete_result(self, thread_id: str) -> None:
        """Let go of how a thread ended long ago."""
        self._drop(key(CLOSED, thread_id), "")

    def save_output(self, thread: Thread, envelope: Envelope) -> None:
        """Keep something that was sent to the user."""
        self._keep(key(OUTPUT, envelope.id), thread.id, OutputRecord(msgspec.Raw(encode(envelope.payload))))

    # -- messages -------------------------------------------------------------------------------------------------

    def save_message(self, envelope: Envelope) -> None:
        """Keep a message until it is done."""
        self.journal.append(Keep(f"{MESSAGE}:{envelope.id}", envelope.thread_id, envelope))

    def delete_message(self, envelope: Envelope) -> None:
        """Let go of a message that has been handled, joined or given up on."""
        self.journal.append(Drop(f"{MESSAGE}:{envelope.id}", envelope.thread_id))

    def save_attempts(self, lane: Lane, envelope: Envelope) -> None:
        """Keep how often a message was tried in vain, so that no crash gives it more attempts than it may have."""
        record = TriedRecord(envelope.id, (lane.tries or {}).get(envelope.id, 0))
        self._keep(key(TRIED, envelope.id), envelope.thread_id, record)

    def save_parked(self, envelope: Envelope, waits: WaitReason) -> None:
        """Keep that a message waits, for budget or a person."""
        shortfall = waits if isinstance(waits, Refusal) else None
        approval = waits if isinstance(waits, Approval) else None
        self._keep(key(PARKED, envelope.id), envelope.thread_id, ParkedRecord(envelope.id, shortfall, approval))

    def delete_parked(self, envelope: Envelope) -> None:
        """A message need not wait any more."""
        self._drop(key(PARKED, envelope.id), envelope.thread_id)

    def complete(self, thread: Thread, lane: Lane, envelope: Envelope, state: bytes) -> None:
        """Let go of a message and of all that was kept so that it could be run again; keep the agent's state."""
        self.delete_message(envelope)
        if lane.forget_tries(envelope):
            self._drop(key(TRIED, envelope.id), envelope.thread_id)
        if state != lane.stored:
            lane.stored = state
            self._keep(key(STATE, thread.id, lane.agent), thread.id, StateRecord(lane.agent, msgspec.Raw(state)))

    def save_step(self, thread: Thread, message_id: str, name: str, value: bytes) -> None:
        """Keep what a piece of work has given until its message is done."""
        self._keep(key(STEP, message_id, name), thread.id, StepRecord(message_id, name, msgspec.Raw(value)))

    def delete_steps(self, thread: Thread, message_id: str) -> None:
        """A message is done, and with it all its pieces of work."""
        for name in thread.steps.pop(message_id, {}):
            self._drop(key(STEP, message_id, name), thread.id)

    def save_answer(self, thread: Thread, question: Question) -> None:
        """Keep what came of a question until its asker is done."""
        record = AnswerRecord(
            question_id=question.id,
            recipient=question.recipient,
            asked=question.key,
            reply=msgspec.Raw(b"null" if question.reply is None else encode(question.reply)),
            failure=question.failure,
        )
        self._keep(key(ANSWER, question.id), thread.id, record)

    def delete_answer(self, thread: Thread, question: Question) -> None:
        """The asker of a question is done."""
        self._drop(key(ANSWER, question.id), thread.id)

    def delete_child_result(self, parent: Thread, child: Thread) -> None:
        """The message that spawned a child is done."""
        self._drop(key(CHILD, child.id), parent.id)

    # -- the rest -------------------------------------------------------------------------------------------------

    def save_dead_letter(self, letter: DeadLetter) -> None:
        """Keep a dead letter."""
        record = DeadRecord(letter.envelope, letter.reason, letter.detail, letter.time_ns, letter.where)
        self._keep(key(DEAD, letter.id), "", record)

    def delete_dead_letter(self, letter: DeadLetter) -> None:
        """Let go of a dead letter."""
        self._drop(key(DEAD, letter.id), "")

    def save_clean_stop(self) -> None:
        """Keep that no message is being handled any more."""
        self._keep(STOPPED, "", StoppedRecord(self._clock.now_ns()))

    def delete_clean_stop(self) -> None:
        """From now on messages are being handled."""
        self._drop(STOPPED, "")

    def _keep(self, name: str, thread_id: str, body: msgspec.Struct) -> None:
        self.journal.append(Keep(name, thread_id, body))

    def _drop(self, name: str, thread_id: str) -> None:
        self.journal.append(Drop(name, thread_id))
