"""Writes the live state of threads to the journal, each record in the step that changes it.

Nothing here decides or awaits. What one step of the message loop appends is committed together: the end of a message,
what its handler has sent, and what it has changed. A crash therefore sees all of a step or nothing of it.
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
    BEGAN,
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
from organism.threads.thread import Begun, MessageKey, Question, Thread


def _used_key(thread_id: str) -> str:
    return f"closed:{thread_id}"


class ThreadStateWriter:
    """Writes the state of threads.

    Args:
        registry: Knows how long threads have been open.
    """

    def __init__(self, journal: Journal, registry: ThreadBudgetRegistry, clock: Clock) -> None:
        self.journal = journal
        self._registry = registry
        self._clock = clock

    # -- threads --------------------------------------------------------------------------------------------------

    def save_thread(self, thread: Thread) -> None:
        """Write a thread and its state."""
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
            paused_by=thread.paused_by,
            gave_up=thread.gave_up,
            ending=thread.ending,
            descendants=thread.descendants,
        )
        self._keep(key(THREAD, thread.id), thread.id, record)

    def save_result(self, thread: Thread, result: ThreadResult) -> None:
        """Replace all records of a thread by its result and the fact that its id has been used."""
        self.journal.append(DropThread(thread.id))
        record = self._save_closed(result, thread.root, thread.origin.spawned_by)
        if thread.parent is not None and thread.origin.spawned_by is not None:
            self._keep(key(CHILD, thread.id), thread.parent, record)

    def save_lost(self, result: ThreadResult) -> None:
        """Write the result of a thread of which the journal has nothing but its account."""
        self._save_closed(result, root=result.thread_id, spawned_by=None)

    def _save_closed(self, result: ThreadResult, root: str, spawned_by: MessageKey | None) -> ResultRecord:
        now_ns = self._clock.now_ns()
        self.journal.append(Remember(key=_used_key(result.thread_id), time_ns=now_ns))
        record = ResultRecord(
            thread_id=result.thread_id,
            outcome=result.outcome,
            outputs=tuple(msgspec.Raw(encode(output)) for output in result.outputs),
            budget=result.budget,
            reason=result.reason,
            root=root,
            closed_ns=now_ns,
            spawned_by=spawned_by,
        )
        self._keep(key(CLOSED, result.thread_id), "", record)
        return record

    async def was_used(self, thread_id: str) -> bool:
        """Whether a thread of that name has ended, as far back as the ledger's entries are kept."""
        return await self.journal.remembered(_used_key(thread_id)) is not None

    def delete_result(self, thread_id: str) -> None:
        """Delete the result of a thread that ended long ago."""
        self._drop(key(CLOSED, thread_id), "")

    def save_output(self, thread: Thread, envelope: Envelope) -> None:
        """Write a message that was sent to the user."""
        self._keep(key(OUTPUT, envelope.id), thread.id, OutputRecord(msgspec.Raw(encode(envelope.payload))))

    # -- messages -------------------------------------------------------------------------------------------------

    def save_message(self, envelope: Envelope) -> None:
        """Write a message; it stays until it is complete."""
        self.journal.append(Keep(f"{MESSAGE}:{envelope.id}", envelope.thread_id, envelope))

    def delete_message(self, envelope: Envelope) -> None:
        """Delete a message that has been handled, joined or given up on."""
        self.journal.append(Drop(f"{MESSAGE}:{envelope.id}", envelope.thread_id))

    def save_attempts(self, lane: Lane, envelope: Envelope) -> None:
        """Write how often a message has failed, so that a crash gives it no more attempts than the bound."""
        record = TriedRecord(envelope.id, (lane.tries or {}).get(envelope.id, 0))
        self._keep(key(TRIED, envelope.id), envelope.thread_id, record)

    def save_parked(self, envelope: Envelope, waits: WaitReason) -> None:
        """Write that a message is parked, and why."""
        shortfall = waits if isinstance(waits, Refusal) else None
        approval = waits if isinstance(waits, Approval) else None
        self._keep(key(PARKED, envelope.id), envelope.thread_id, ParkedRecord(envelope.id, shortfall, approval))

    def delete_parked(self, envelope: Envelope) -> None:
        """Write that a message is no longer parked."""
        self._drop(key(PARKED, envelope.id), envelope.thread_id)

    def complete(self, thread: Thread, lane: Lane, envelope: Envelope, state: bytes) -> None:
        """Complete a message: delete it and what was kept to run it again, and write the agent's state."""
        self.journal.append(Drop(f"{MESSAGE}:{envelope.id}", envelope.thread_id))
        if lane.tries and lane.forget_tries(envelope):
            self._drop(key(TRIED, envelope.id), envelope.thread_id)
        if state is not lane.stored:
            self._save_state(thread, lane, lane.merged(state))

    def _save_state(self, thread: Thread, lane: Lane, state: bytes) -> None:
        home = lane.home or lane
        if state != home.stored:
            home.stored = state
            self._save_lane(thread, home)

    def save_heard(self, thread: Thread, lane: Lane, heard: frozenset[int]) -> None:
        """Write of which thresholds an agent has heard, in the step that tells it: no restart tells it again."""
        if heard != lane.heard:
            lane.heard = heard
            self._save_lane(thread, lane)

    def _save_lane(self, thread: Thread, lane: Lane) -> None:
        record = StateRecord(lane.agent, msgspec.Raw(lane.stored), tuple(sorted(lane.heard)))
        self._keep(key(STATE, thread.id, lane.agent), thread.id, record)

    def save_step(self, thread: Thread, message_id: str, name: str, value: bytes) -> None:
        """Keep the result of a step of work, and write it; it stays until its message is complete."""
        thread.begun_for(message_id).steps[name] = value
        self._keep(key(STEP, message_id, name), thread.id, StepRecord(message_id, name, msgspec.Raw(value)))

    def save_first_state(self, thread: Thread, lane: Lane, message_id: str) -> None:
        """Keep the state a message began with, unless it is kept: with the same one its requests find what is paid."""
        if BEGAN not in thread.steps_of(message_id):
            self.save_step(thread, message_id, BEGAN, lane.stored)

    def save_answer(self, thread: Thread, question: Question) -> None:
        """Write the reply to a question, or its failure; it stays until its asker's message is complete."""
        record = AnswerRecord(
            question_id=question.id,
            recipient=question.recipient,
            asked=question.key,
            reply=msgspec.Raw(b"null" if question.reply is None else encode(question.reply)),
            failure=question.failure,
        )
        self._keep(key(ANSWER, question.id), thread.id, record)

    def delete_begun(self, thread: Thread, message_id: str, begun: Begun) -> None:
        """Delete what was begun for a message that is complete: its work, the replies to it, its children's results."""
        for name in begun.steps:
            self._drop(key(STEP, message_id, name), thread.id)
        for question in begun.asked.values():
            self._drop(key(ANSWER, question.id), thread.id)
        for child in begun.spawned.values():
            self._drop(key(CHILD, child.id), thread.id)

    # -- the rest -------------------------------------------------------------------------------------------------

    def save_dead_letter(self, letter: DeadLetter) -> None:
        """Write a dead letter."""
        record = DeadRecord(letter.envelope, letter.reason, letter.detail, letter.time_ns, letter.where, letter.labels)
        self._keep(key(DEAD, letter.id), "", record)

    def delete_dead_letter(self, letter: DeadLetter) -> None:
        """Delete a dead letter."""
        self._drop(key(DEAD, letter.id), "")

    def save_clean_stop(self) -> None:
        """Write that the process ends with no message being handled: a start then counts no attempt for any."""
        self._keep(STOPPED, "", StoppedRecord(self._clock.now_ns()))

    def delete_clean_stop(self) -> None:
        """Delete that, before the first message is handled."""
        self._drop(STOPPED, "")

    def _keep(self, name: str, thread_id: str, body: msgspec.Struct) -> None:
        self.journal.append(Keep(name, thread_id, body))

    def _drop(self, name: str, thread_id: str) -> None:
        self.journal.append(Drop(name, thread_id))
