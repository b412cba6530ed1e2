"""From the pieces a journal has kept back to threads as they stood: messages in order, questions, children, state.

It only rebuilds; nothing runs until the pump takes the threads up. Doing it again from the same pieces gives the same.
"""

from collections.abc import Callable, Container, Iterator
from typing import Any, TypeVar

import msgspec

from organism.budget.registry import ThreadBudgetRegistry
from organism.concurrency.safe_log import safe_logger
from organism.errors import DeliveryError, UnknownRecipientError
from organism.journal import Piece, Pieces
from organism.messages import Envelope, EnvelopeHead, Message, MessageRegistry, PayloadError, Text, ThreadResult
from organism.router.memo import PAID, Memo, PaidAnswer
from organism.runtime.delivery import Delivery
from organism.threads.approvals import Approval, WaitReason
from organism.threads.dead_letters import DeadLetter
from organism.threads.lanes import Lane
from organism.threads.open_threads import OpenThreads
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
    DeadHead,
    OutputRecord,
    ParkedRecord,
    ResultRecord,
    StateRecord,
    StepRecord,
    ThreadRecord,
    TriedRecord,
)
from organism.threads.state_writer import ThreadStateWriter
from organism.threads.thread import Origin, Question, Thread
from organism.threads.thread_state import RECOVERED_AS

R = TypeVar("R")

_decode = msgspec.json.decode
_log = safe_logger("organism.pump")


class OrphanError(DeliveryError):
    """A piece was kept for a message that does not wait any more.

    Attributes:
        message_id: The message.
    """

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        super().__init__(f"no message {message_id!r} of its thread waits")


class RecoveryTarget(msgspec.Struct, frozen=True):
    """What restored threads are put into.

    Attributes:
        threads: The open threads.
        delivery: Their messages.
        state_writer: The journal, for what changes by restoring.
        registry: Their budgets; the ledger has been replayed.
        memo: Their paid answers.
        messages: The message types.
        last_time_ns: Until when the threads have been open.
        only: The roots of those that this process resumes; all when not given.
    """

    threads: OpenThreads
    delivery: Delivery
    state_writer: ThreadStateWriter
    registry: ThreadBudgetRegistry
    memo: Memo
    messages: MessageRegistry
    last_time_ns: int
    only: Container[str] | None = None

    def goes_on(self, thread: Thread) -> bool:
        """Whether a thread is resumed by this process; the others must be unchanged when it ends."""
        return self.only is None or thread.root in self.only


def recover_threads(pieces: Pieces, to: RecoveryTarget) -> Iterator[None]:
    """Rebuild every thread, none of them running; after each step others may have the event loop.

    What cannot be read or has no place any more costs itself and no more: it is refused, and reported later. The order
    below is that of who must be there first: threads before their messages, messages before what was kept for them.
    """
    records: list[tuple[Piece, ThreadRecord]] = []
    for read in pieces.read(THREAD, ThreadRecord):
        records.append(read)
        yield
    # Parents first: a child's budget is carved out of its parent's account, which must be there.
    for piece, record in sorted(records, key=lambda read: read[1].depth):
        with pieces.placing(piece):
            _restore_thread(record, to)
        yield
    accounts, ended = to.registry.accounts, to.threads.ended
    accounts.restore_scoped()
    for piece, closed in pieces.read(CLOSED, ResultRecord):
        with pieces.placing(piece):
            ended.remember(closed.thread_id, _result(closed, to.messages))
        yield
    yield from _restore_each(pieces, to, CHILD, ResultRecord, _restore_child_result)
    yield from _restore_each(pieces, to, STATE, StateRecord, _restore_state)
    # Messages after the states of their agents, before everything that is kept by message id: a step or a paid answer
    # whose message is gone is refused instead of waiting for it in memory.
    for piece in pieces.of(MESSAGE):
        with pieces.placing(piece):
            _restore_message(_thread(to, piece), piece.body, to)
        yield
    yield from _restore_each(pieces, to, ANSWER, AnswerRecord, _restore_answer)
    yield from _restore_each(pieces, to, OUTPUT, OutputRecord, _restore_output)
    yield from _restore_each(pieces, to, STEP, StepRecord, _restore_step)
    yield from _restore_each(pieces, to, PAID.rstrip(":"), PaidAnswer, _restore_paid)
    for piece in pieces.of(DEAD):
        with pieces.placing(piece):
            _restore_dead(piece.body, to)
        yield
    # After all messages: whether a thread has lost what it waits for is asked of all its queues, and a crash counts as
    # an attempt of the first message of a lane, which is known when the lane is whole.
    yield from _restore_heads(pieces, to, {record.thread_id for _, record in records if record.status == "open"})
    # Last, since each step above may refuse a message: a thread that has lost one must not end as completed.
    _mark_incomplete(pieces, to)


def _restore_each(
    pieces: Pieces, to: RecoveryTarget, kind: str, body: type[R], restore: Callable[[Thread, R, RecoveryTarget], None]
) -> Iterator[None]:
    """Restore the pieces of one kind into their threads; one that has no place is refused, and the rest go on."""
    for piece, record in pieces.read(kind, body):
        with pieces.placing(piece):
            restore(_thread(to, piece), record, to)
        yield


def _thread(to: RecoveryTarget, piece: Piece) -> Thread:
    return to.threads.get(piece.thread_id, closing=True)


def _mark_incomplete(pieces: Pieces, to: RecoveryTarget) -> None:
    """Mark threads that have lost a message, so that none of them ends as completed."""
    for unplaced in pieces.refused:
        thread = to.threads.find(unplaced.piece.thread_id)
        if thread is not None and unplaced.piece.key.startswith(f"{MESSAGE}:"):
            thread.gave_up = f"a message of it was set aside at the start: {unplaced.reason}"
            to.state_writer.save_thread(thread)


def _restore_thread(record: ThreadRecord, to: RecoveryTarget) -> None:
    parent = to.threads.get(record.parent, closing=True) if record.parent is not None else None
    thread = Thread(
        id=record.thread_id,
        root=record.root,
        parent=record.parent,
        depth=record.depth,
        entry=record.entry,
        labels=record.labels,
        origin=record.origin,
        status=RECOVERED_AS[record.status],
    )
    thread.blocked_by = record.blocked_by or record.asks
    thread.gave_up = record.gave_up
    thread.ending = record.ending
    thread.descendants = record.descendants
    since = record.running_since_ns
    # Until the last record, not until now: the time that the process was down is not time the thread worked.
    ran_ns = max(0, to.last_time_ns - since) if since is not None else 0
    registry = to.registry
    registry.restore_thread(
        thread.id,
        parent=thread.parent,
        carve=record.carve,
        open_ns=record.open_ns + ran_ns,
        labels=record.labels,
    )
    thread.paused_by = record.paused_by
    registry.stops.stop(thread.id, record.paused_by)
    to.threads.add(thread)
    if parent is not None and thread.origin.spawned_by is not None:
        parent.children[thread.id] = None
        parent.know_child(thread.origin.spawned_by, thread)


def _restore_child_result(parent: Thread, record: ResultRecord, to: RecoveryTarget) -> None:
    """Stand in for a child that has ended, for the handler that waits for its result."""
    if record.spawned_by is None:
        return
    # The parent's message is not complete, so its handler runs again: without the result it would spawn the child a
    # second time, and pay for it again.
    child = Thread(
        id=record.thread_id,
        root=record.root,
        parent=parent.id,
        depth=parent.depth + 1,
        entry="",
        labels=parent.labels,
        origin=Origin(opened_ns=record.closed_ns, spawned_by=record.spawned_by),
        status="closing",
    )
    child.result = _result(record, to.messages)
    parent.know_child(record.spawned_by, child)


def _restore_state(thread: Thread, kept: StateRecord, _to: RecoveryTarget) -> None:
    """Give an agent its dictionary back."""
    # Decoded only to be refused here if it cannot be: later it would fail each run of the agent's handler.
    _decode(kept.state, type=dict[str, Any])
    lane = thread.lane(kept.agent)
    lane.stored, lane.heard = bytes(kept.state), frozenset(kept.heard)


def _restore_output(thread: Thread, output: OutputRecord, to: RecoveryTarget) -> None:
    """Add a message to what a thread has sent to the user."""
    thread.outputs.append(_message(output.payload, to.messages))


def _restore_paid(thread: Thread, paid: PaidAnswer, to: RecoveryTarget) -> None:
    """Give a message that is not complete the answer of a call it has paid for."""
    to.memo.restore(thread.id, paid)


def _restore_step(thread: Thread, step: StepRecord, _to: RecoveryTarget) -> None:
    """Give a message that is not done yet what it has done already.

    Raises:
        DeliveryError: If no such message waits: what was done for it is no use to any other.
    """
    if not _waits(thread, step.message_id):
        raise OrphanError(step.message_id)
    thread.begun_for(step.message_id).steps[step.name] = bytes(step.value)


def _waits(thread: Thread, message_id: str) -> bool:
    if message_id in thread.timed:
        return True
    for lane in thread.lanes.values():
        # Those that wait to be gathered stand in no queue yet: their steps would be refused, and carried out again.
        joining = (envelope for companions in (lane.joining or {}).values() for envelope in companions)
        if any(envelope.id == message_id for envelope in (*lane.queue, *joining)):
            return True
    return False


def _restore_message(thread: Thread, body: bytes, to: RecoveryTarget) -> None:
    envelope = _envelope(body, to.messages)
    if envelope.recipient not in to.delivery.mailboxes:
        # A run of one thread reads a shared journal; a dead letter now would take a message of another file's agent
        # away.
        if not to.goes_on(thread):
            thread.lane(envelope.recipient).put(envelope)
            return
        gone = UnknownRecipientError(envelope.recipient, tuple(to.delivery.mailboxes))
        to.delivery.give_up(thread, envelope, "not_deliverable", str(gone))
        return
    if envelope.question is not None and envelope.causation_id is not None:
        thread.know(Question(envelope.id, envelope.recipient, (envelope.causation_id, envelope.question)))
    # A delayed message holds no place in a mailbox until it is due; it would keep live messages out after a restart.
    if envelope.due_ns is not None:
        thread.timed[envelope.id] = envelope
        return
    # Counted without a check of the bound: it was accepted before the crash, and a smaller bound since must not lose
    # it.
    to.delivery.mailboxes[envelope.recipient].acquire(envelope.size)
    to.delivery.place(thread, envelope)


def _restore_answer(thread: Thread, record: AnswerRecord, to: RecoveryTarget) -> None:
    """Give a handler that asked the reply it has had, or why there is none: it runs again and must find the same."""
    question = Question(record.question_id, record.recipient, record.asked)
    question.reply = None if bytes(record.reply) == b"null" else _message(record.reply, to.messages)
    question.failure = record.failure
    thread.know(question)


def _restore_dead(body: bytes, to: RecoveryTarget) -> None:
    head = _decode(body, type=DeadHead)
    envelope = _envelope(bytes(head.envelope), to.messages)
    letters = to.delivery.dead_letters
    letters.add(DeadLetter(envelope, head.reason, head.detail, head.time_ns, head.where, head.labels))


def _restore_heads(pieces: Pieces, to: RecoveryTarget, were_running: set[str]) -> Iterator[None]:
    """Give the first message of each lane what is known of it: whether it waits, and how often it was tried.

    A message that may have been in a handler's hands when the process died has had one attempt more, so that a
    message which kills the process cannot do so without end.
    """
    there = {each.id for thread in to.threads.all() for lane in thread.lanes.values() for each in lane.queue}
    parked = {
        record.message_id: record.waits
        for _, record in pieces.read(PARKED, ParkedRecord)
        if not _is_void(record.waits, there)
    }
    tried = {record.message_id: record.attempts for _, record in pieces.read(TRIED, TriedRecord)}
    # A clean stop leaves its mark once no handler runs. Without it nobody knows which first messages were being
    # handled, so each of them is charged an attempt: else a message that kills the process would do so at every start.
    died = STOPPED not in pieces
    for thread in to.threads.all():
        yield
        if thread.status in ("blocked", "paused") and not any(
            envelope.id in parked for lane in thread.lanes.values() for envelope in lane.queue
        ):
            thread.blocked_by = None  # or its parent would wait for it, see that nothing is missing, and ask again
            if thread.status == "blocked":
                thread.move("lose_wait")  # its message will find out again
        for lane in thread.lanes.values():
            if not lane.queue:
                continue
            known: dict[str, int] = {envelope.id: tried[envelope.id] for envelope in lane.queue if envelope.id in tried}
            lane.tries = known or None
            for envelope in tuple(lane.queue):
                if (waits := parked.get(envelope.id)) is not None:
                    lane.step_aside(envelope, waits)
                    if (question := thread.questions.get(envelope.reply_to or "")) is not None:
                        question.parked = waits  # its asker waits for budget too, not for a reply
            if to.goes_on(thread):
                _keep_first_states(thread, lane, to)
            lane.hurry_notes()
            if died and thread.id in were_running and lane.queue:
                lane.count_try(lane.queue[0])
                # Written now, before any handler runs: the next crash must find this attempt counted.
                to.state_writer.save_attempts(lane, lane.queue[0])


def _is_void(waits: WaitReason | None, there: Container[str]) -> bool:
    """Whether a message waits for what nobody can decide: its question's message had asked, and has no agent any more.

    It runs again, and finds that its question has failed.
    """
    return isinstance(waits, Approval) and not waits.account and waits.message_id not in there


def _keep_first_states(thread: Thread, lane: Lane, to: RecoveryTarget) -> None:
    """Keep the state with which messages began that have paid answers: notes of what is found now come before them.

    Without it an LLM agent would ask otherwise than before, for the notes in its prompt, and pay for what is paid.
    """
    for envelope in lane.queue:
        if to.memo.has_paid(thread.id, envelope.id):
            to.state_writer.save_first_state(thread, lane, envelope.id)


def _envelope(body: bytes, messages: MessageRegistry) -> Envelope:
    """Read an envelope; a payload of a type that is gone becomes text, so that somebody can still look at it."""
    try:
        return messages.decode_envelope(body)
    except PayloadError as error:
        head = _decode(body, type=EnvelopeHead)
        _log.warning("payload_unknown", thread_id=head.thread_id, message_id=head.id, error=str(error))
        raw = _decode(body, type=dict[str, msgspec.Raw])["payload"]
        return Envelope(payload=Text(bytes(raw).decode()), **msgspec.structs.asdict(head))


def _message(raw: msgspec.Raw, messages: MessageRegistry) -> Message:
    try:
        return messages.decode(bytes(raw))
    except PayloadError:
        return Text(bytes(raw).decode())


def _result(record: ResultRecord, messages: MessageRegistry) -> ThreadResult:
    return ThreadResult(
        thread_id=record.thread_id,
        outcome=record.outcome,
        outputs=tuple(_message(output, messages) for output in record.outputs),
        budget=record.budget,
        reason=record.reason,
    )
