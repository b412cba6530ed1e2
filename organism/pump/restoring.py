"""From the pieces a journal has kept back to threads as they stood: messages in order, questions, children, state.

It only rebuilds; nothing runs until the pump takes the threads up. Doing it again from the same pieces gives the same.
"""

from collections.abc import Iterable
from typing import TypeVar

import msgspec
import structlog

from organism.budget.registry import ThreadBudgetRegistry
from organism.bus.dead_letters import DeadLetter
from organism.bus.records import (
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
from organism.bus.threads import Lane, Origin, Question, Thread
from organism.errors import UnknownRecipientError
from organism.journal import Piece
from organism.messages import Envelope, EnvelopeHead, Message, MessageRegistry, PayloadError, Text, ThreadResult
from organism.pump.delivery import Delivery
from organism.pump.keeper import Keeper
from organism.pump.lifecycle import Lifecycle
from organism.router.memo import PAID, Memo, PaidAnswer

T = TypeVar("T")

_decode = msgspec.json.decode
_log = structlog.get_logger("organism.pump")


class Restorer(msgspec.Struct, frozen=True):
    """What restored threads are put into.

    Attributes:
        life: The open threads.
        delivery: Their messages.
        keeper: The journal, for what changes by restoring.
        registry: Their budgets; the ledger has been replayed.
        memo: Their paid answers.
        messages: The message types.
        last_time_ns: Until when the threads have been open.
    """

    life: Lifecycle
    delivery: Delivery
    keeper: Keeper
    registry: ThreadBudgetRegistry
    memo: Memo
    messages: MessageRegistry
    last_time_ns: int


def restore(pieces: Iterable[Piece], to: Restorer) -> None:
    """Rebuild every thread, none of them running."""
    kinds: dict[str, list[Piece]] = {}
    for piece in pieces:
        kinds.setdefault(piece.key.partition(":")[0], []).append(piece)

    records = [_decode(piece.body, type=ThreadRecord) for piece in kinds.get(THREAD, ())]
    for record in sorted(records, key=lambda record: record.depth):
        _restore_thread(record, to)
    for piece in kinds.get(CLOSED, ()):
        closed = _decode(piece.body, type=ResultRecord)
        to.life.remember(closed.thread_id, _result(closed, to.messages))
    for piece in kinds.get(CHILD, ()):
        _restore_child_result(_thread(to, piece), _decode(piece.body, type=ResultRecord), to.messages)
    for piece in kinds.get(STATE, ()):
        kept = _decode(piece.body, type=StateRecord)
        lane = _thread(to, piece).lane(kept.agent)
        lane.stored = bytes(kept.state)
        lane.forget_run()
    for piece in kinds.get(MESSAGE, ()):
        _restore_message(_thread(to, piece), piece.body, to)
    for piece in kinds.get(ANSWER, ()):
        _restore_answer(_thread(to, piece), _decode(piece.body, type=AnswerRecord), to.messages)
    for piece in kinds.get(OUTPUT, ()):
        payload = _decode(piece.body, type=OutputRecord).payload
        _thread(to, piece).outputs.append(_message(payload, to.messages))
    for piece in kinds.get(PAID.rstrip(":"), ()):
        to.memo.restore(piece.thread_id, _decode(piece.body, type=PaidAnswer))
    for piece in kinds.get(STEP, ()):
        step = _decode(piece.body, type=StepRecord)
        _thread(to, piece).steps.setdefault(step.message_id, {})[step.name] = bytes(step.value)
    for piece in kinds.get(DEAD, ()):
        _restore_dead(piece.body, to)
    _restore_heads(kinds, to, {record.thread_id for record in records if record.status == "open"})


def _thread(to: Restorer, piece: Piece) -> Thread:
    return to.life.get(piece.thread_id, closing=True)


def _restore_thread(record: ThreadRecord, to: Restorer) -> None:
    thread = Thread(
        id=record.thread_id,
        root=record.root,
        parent=record.parent,
        depth=record.depth,
        entry=record.entry,
        labels=record.labels,
        origin=record.origin,
    )
    thread.status = "dormant" if record.status == "open" else record.status
    thread.blocked_by = record.blocked_by or record.asks
    thread.gave_up = record.gave_up
    thread.ending = record.ending
    thread.descendants = record.descendants
    since = record.running_since_ns
    ran_ns = max(0, to.last_time_ns - since) if since is not None else 0
    to.registry.restore_thread(thread.id, parent=thread.parent, carve=record.carve, open_ns=record.open_ns + ran_ns)
    to.life.adopt(thread)
    if thread.parent is not None and thread.origin.spawned_by is not None:
        parent = to.life.get(thread.parent, closing=True)
        parent.children.add(thread.id)
        parent.spawned[thread.origin.spawned_by] = thread


def _restore_child_result(parent: Thread, record: ResultRecord, messages: MessageRegistry) -> None:
    """Stand in for a child that has ended, for the handler that waits for its result."""
    if record.spawned_by is None:
        return
    child = Thread(
        id=record.thread_id,
        root=record.root,
        parent=parent.id,
        depth=parent.depth + 1,
        entry="",
        labels=parent.labels,
        origin=Origin(opened_ns=record.closed_ns, spawned_by=record.spawned_by),
    )
    child.status = "closing"
    child.result = _result(record, messages)
    parent.spawned[record.spawned_by] = child


def _restore_message(thread: Thread, body: bytes, to: Restorer) -> None:
    envelope = _envelope(body, to.messages)
    if envelope.recipient not in to.delivery.mailboxes:
        gone = UnknownRecipientError(envelope.recipient, tuple(to.delivery.mailboxes))
        to.delivery.give_up(thread, envelope, "not_deliverable", str(gone))
        return
    if envelope.question is not None and envelope.causation_id is not None:
        thread.know(Question(envelope.id, envelope.recipient, (envelope.causation_id, envelope.question)))
    if envelope.due_ns is not None:
        thread.timed[envelope.id] = envelope
        return
    to.delivery.mailboxes[envelope.recipient].put_nowait(envelope.size)
    to.delivery.place(thread, envelope)


def _restore_answer(thread: Thread, record: AnswerRecord, messages: MessageRegistry) -> None:
    question = Question(record.question_id, record.recipient, record.asked)
    question.reply = None if bytes(record.reply) == b"null" else _message(record.reply, messages)
    question.failure = record.failure
    thread.know(question)


def _restore_dead(body: bytes, to: Restorer) -> None:
    head = _decode(body, type=DeadHead)
    envelope = _envelope(bytes(head.envelope), to.messages)
    to.delivery.dead_letters.add(DeadLetter(envelope, head.reason, head.detail, head.time_ns))


def _restore_heads(kinds: dict[str, list[Piece]], to: Restorer, were_running: set[str]) -> None:
    """Give the first message of each lane what is known of it: whether it waits, and how often it was tried.

    A message that may have been in a handler's hands when the process died has had one attempt more, so that a
    message which kills the process cannot do so for ever.
    """
    parked = {record.message_id: record.waits for record in _all(kinds, PARKED, ParkedRecord)}
    tried = {record.message_id: record.attempts for record in _all(kinds, TRIED, TriedRecord)}
    died = STOPPED not in kinds
    for thread in to.life.all():
        for lane in thread.lanes.values():
            if not lane.queue:
                continue
            lane.parked = next((parked[envelope.id] for envelope in lane.queue if envelope.id in parked), None)
            if lane.parked is not None:
                if (question := thread.questions.get(lane.queue[0].reply_to or "")) is not None:
                    question.parked = lane.parked  # its asker waits for budget too, not for a reply
                continue
            lane.hurry_notes()
            lane.attempts = tried.get(lane.queue[0].id, 0)
            if died and thread.id in were_running:
                _count_attempt(lane, to.keeper)


def _count_attempt(lane: Lane, keeper: Keeper) -> None:
    lane.attempts += 1
    keeper.tried(lane, lane.queue[0])


def _all(kinds: dict[str, list[Piece]], kind: str, record: type[T]) -> list[T]:
    return [_decode(piece.body, type=record) for piece in kinds.get(kind, ())]


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
