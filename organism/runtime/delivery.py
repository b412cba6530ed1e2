"""Puts messages where they belong: into lanes, joins, questions, a thread's outputs, or among the dead letters."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog
from msgspec.structs import replace

from organism.agents.agent import Agent
from organism.amounts import NS_PER_S
from organism.clock import Clock
from organism.errors import MailboxFullError, UnknownRecipientError
from organism.ids import USER
from organism.messages import (
    AgentFailed,
    BudgetWarning,
    Envelope,
    Gathered,
    GatheredPart,
    Message,
    as_text,
    is_runtime,
    type_name,
)
from organism.runtime.active_config import ActiveConfig
from organism.runtime.handlers.envelopes import EnvelopeFactory
from organism.runtime.handlers.output_routing import RoutedMessage
from organism.threads.dead_letters import DeadLetter, DeadLetters, Reason
from organism.threads.lanes import Lane
from organism.threads.mailbox import MailboxBound
from organism.threads.routing import takes_by_name
from organism.threads.state_writer import ThreadStateWriter
from organism.threads.thread import Question, Thread
from organism.usage.events import DeadLetterEvent
from organism.usage.outbox import Outbox

RUNTIME = "organism"
"""The sender of the runtime's own messages."""

_log = structlog.get_logger("organism.pump")


class Hooks(msgspec.Struct, frozen=True):
    """What delivery sets going.

    Attributes:
        start_lane: Called when a lane has something to do and nobody does it.
        defer: Called with a message that is due only later.
        stepped_aside: Called when a message waits for budget or a person.
        unpark_message: Called with the id of a message that need not wait any more for what it waits for.
        held_up: Says whether an agent's mailbox is full because of something that an operator has paused.
    """

    start_lane: Callable[[Thread, Lane], None]
    defer: Callable[[Thread, Envelope], None]
    stepped_aside: Callable[[Thread], None]
    unpark_message: Callable[[Thread, str], None]
    held_up: Callable[[Thread, str], bool]


class Delivery:
    """Where messages go once it is decided that they go.

    Args:
        active: The agents, and the sizes of mailboxes and the like.
        outbox: Takes the events.
        state_writer: Keeps messages in the journal.
        clock: Dates dead letters.
        envelopes: Wraps messages.

    Attributes:
        hooks: What it sets going; tied on by the life of threads, which rests on delivery.
    """

    hooks: Hooks

    def __init__(
        self,
        active: ActiveConfig,
        outbox: Outbox,
        state_writer: ThreadStateWriter,
        clock: Clock,
        envelopes: EnvelopeFactory,
    ) -> None:
        self._active = active
        self._outbox = outbox
        self.state_writer = state_writer
        self._clock = clock
        self._envelopes = envelopes
        self.dead_letters = DeadLetters()
        self.mailboxes: dict[str, MailboxBound] = {}
        self.fit_mailboxes()

    def fit_mailboxes(self) -> None:
        """Give every agent in force a mailbox of the size in force.

        That of an agent which is gone stays: its handler may still run, and put its message back.
        """
        bounds = self._active.bounds
        for name in self._active.agents:
            self.mailboxes.setdefault(name, MailboxBound(0, 0))
        for mailbox in self.mailboxes.values():
            mailbox.resize(bounds.mailbox_messages, bounds.mailbox_bytes)

    # -- in -------------------------------------------------------------------------------------------------------

    def check_room(self, envelope: Envelope) -> None:
        """Refuse a message from outside where its recipient has no room.

        Raises:
            MailboxFullError: If so.
        """
        if not self.mailboxes[envelope.recipient].has_room(envelope.size):
            raise MailboxFullError(envelope.recipient, self._active.bounds.mailbox_messages)

    def accept(self, thread: Thread, envelope: Envelope) -> None:
        """Take a message: keep it, and put it into its lane or beside the companions it waits for."""
        agent = self._active.agents.get(envelope.recipient)
        self._take_in(thread, thread.lane(envelope.recipient), agent, envelope)

    def _take_in(self, thread: Thread, lane: Lane, agent: Agent | None, envelope: Envelope) -> None:
        self.mailboxes[lane.agent].acquire(envelope.size)
        self.state_writer.save_message(envelope)
        self._queue(lane, agent, envelope)
        if not lane.running and lane.runnable:
            self.hooks.start_lane(thread, lane)

    def place(self, thread: Thread, envelope: Envelope) -> None:
        """Put a message into its lane, or beside its companions."""
        agent = self._active.agents.get(envelope.recipient)
        self._queue(thread.lane(envelope.recipient), agent, envelope)

    def _queue(self, lane: Lane, agent: Agent | None, envelope: Envelope) -> None:
        if agent is not None and agent.gather and self._joins(agent, envelope):
            joining = lane.joining = lane.joining or {}
            joining.setdefault(envelope.sender, deque()).append(envelope)
            if all(joining.get(sender) for sender in agent.gather):
                self._join(lane, agent)
        else:
            lane.put(envelope)

    def send_out(
        self, thread: Thread, cause: Envelope, sender: str, outgoing: Sequence[RoutedMessage], trace: str | None
    ) -> tuple[str, ...]:
        """Send what a handler has returned.

        Returns:
            Whose mailboxes have no room: what is for them stands there until it is carried in.
        """
        full: tuple[str, ...] = ()
        for item in outgoing:
            if item.answers:
                self.answer(thread, cause, item.message)
                continue
            envelope = self._envelopes.caused(cause, sender, item, trace)
            if item.recipient == USER:
                self._outbox.publish_content(thread.root, envelope, envelope.created_ns)
                self.state_writer.save_output(thread, envelope)
                thread.outputs.append(item.message)
                thread.note_change()
            elif envelope.hops > (hops := self._active.bounds.hops):
                self.give_up(thread, envelope, "hop_limit", f"the bound 'hops' is {hops}")
            elif item.delay_s > 0:
                due = replace(envelope, due_ns=envelope.created_ns + round(item.delay_s * NS_PER_S))
                self.state_writer.save_message(due)
                self.hooks.defer(thread, due)
            elif not self._hand_in(thread, envelope):
                full = (*full, item.recipient)
        return full

    def _hand_in(self, thread: Thread, envelope: Envelope) -> bool:
        """Take a message in if there is room and nobody stands before the mailbox already; else it stands there too.

        Returns:
            Whether there is no more to be done for it.
        """
        name = envelope.recipient
        agent = self._active.agents.get(name)
        if agent is None:  # it was there when its sender began
            gone = UnknownRecipientError(name, tuple(self._active.agents))
            self.give_up(thread, envelope, "not_deliverable", str(gone))
            return True
        lane = thread.lane(name)
        if not lane.arriving and self.mailboxes[name].has_room(envelope.size):
            self._outbox.publish_content(thread.root, envelope, envelope.created_ns)
            self._take_in(thread, lane, agent, envelope)
            return True
        self.state_writer.save_message(envelope)
        lane.arriving = lane.arriving or deque()
        lane.arriving.append(envelope)
        return False

    async def carry_in(self, thread: Thread, recipients: Iterable[str]) -> None:
        """Take in what stands before these mailboxes, in order, waiting for room; give up what finds none in time."""
        for recipient in recipients:
            lane, mailbox = thread.lane(recipient), self.mailboxes[recipient]
            while lane.arriving:
                first = lane.arriving[0]
                fits = await mailbox.wait_room(first.size, self._active.bounds.delivery_s)
                if not lane.arriving or lane.arriving[0] is not first:
                    continue  # another sender has carried it in
                if not fits and self.hooks.held_up(thread, recipient):
                    continue  # it waits with what is paused
                lane.arriving.popleft()
                if fits:
                    self._outbox.publish_content(thread.root, first, self._clock.now_ns())
                    self.accept(thread, first)
                else:
                    self._give_up_full(thread, first)

    async def deliver(self, thread: Thread, envelope: Envelope) -> None:
        """Send a question, or a message that has become due, waiting for room."""
        if envelope.due_ns is not None:
            self.state_writer.delete_message(envelope)  # it takes its place in the order only now
            envelope = replace(envelope, due_ns=None)
        if not self._hand_in(thread, envelope):
            await self.carry_in(thread, (envelope.recipient,))

    def _give_up_full(self, thread: Thread, envelope: Envelope) -> None:
        full = MailboxFullError(envelope.recipient, self._active.bounds.mailbox_messages)
        self.give_up(thread, envelope, "mailbox_full", str(full))

    def warn(self, thread: Thread, concerned: Iterable[str], warning: BudgetWarning, *, listeners: bool = True) -> None:
        """Deliver a warning to agents of a thread.

        Args:
            thread: The thread.
            concerned: The agents that spend; one that is not there any more is passed over.
            warning: The warning.
            listeners: Whether all agents get it, too, that ask for warnings by name.
        """
        agents = self._active.agents
        wanted = [name for name, agent in agents.items() if takes_by_name(agent, BudgetWarning)] if listeners else []
        for recipient in dict.fromkeys((*(name for name in concerned if name in agents), *wanted)):
            note = self._envelopes.first(thread, recipient, warning, 0, sender=RUNTIME)
            lane = thread.lane(recipient)
            self.mailboxes[recipient].acquire(note.size)
            self.state_writer.save_message(note)
            lane.put_note(note)
            self.hooks.start_lane(thread, lane)

    # -- joins ----------------------------------------------------------------------------------------------------

    def _joins(self, agent: Agent, envelope: Envelope) -> bool:
        """Whether a message waits for companions: questions and the runtime's own messages never do."""
        return (
            envelope.sender in agent.gather
            and not envelope.joined
            and envelope.reply_to is None
            and not is_runtime(envelope.payload)
        )

    def _join(self, lane: Lane, agent: Agent) -> None:
        """Replace one message of each sender by a single one that holds them all."""
        joining = lane.joining or {}
        taken = [joining[sender].popleft() for sender in agent.gather if joining.get(sender)]
        lane.joining = {sender: waiting for sender, waiting in joining.items() if waiting} or None
        present = {envelope.sender for envelope in taken}
        parts = tuple(GatheredPart(envelope.sender, as_text(envelope.payload)) for envelope in taken)
        missing = tuple(sender for sender in agent.gather if sender not in present)
        size = sum(envelope.size for envelope in taken)
        mailbox = self.mailboxes[agent.name]
        for envelope in taken:
            mailbox.release(envelope.size)
            self.state_writer.delete_message(envelope)
        mailbox.reacquire(size)
        joined = self._envelopes.joined(agent.name, taken, Gathered(parts, missing), size)
        self.state_writer.save_message(joined)
        lane.put(joined)

    def join_incomplete(self, thread: Thread) -> bool:
        """Hand over what has come of joins that nothing can complete any more; whether there was one."""
        waiting = [lane for lane in thread.lanes.values() if lane.joining]
        for lane in waiting:
            self._join(lane, self._active.agents[lane.agent])
            self.hooks.start_lane(thread, lane)
        return bool(waiting)

    # -- questions ------------------------------------------------------------------------------------------------

    def answer(self, thread: Thread, envelope: Envelope, reply: Message) -> None:
        """Give the reply to a question to whoever waits for it."""
        question = self._open_question(thread, envelope)
        if question is None:
            self.give_up(thread, envelope, "late_reply", "its asker had stopped waiting, or had its reply already")
            return
        question.reply = reply
        self._settled(thread, question)

    def fail_question(self, thread: Thread, envelope: Envelope, why: str) -> None:
        """Tell whoever waits for the reply that none will come; nothing to do if there was one."""
        question = self._open_question(thread, envelope)
        if question is not None:
            question.failure = why
            self._settled(thread, question)

    def _settled(self, thread: Thread, question: Question) -> None:
        """Something has come of a question: let its asker look, who may have stepped aside for what it waited for."""
        self.state_writer.save_answer(thread, question)
        question.wake()
        if question.parked is not None:
            question.parked = None
            self.hooks.unpark_message(thread, question.key[0])

    def _open_question(self, thread: Thread, envelope: Envelope) -> Question | None:
        question = thread.questions.get(envelope.reply_to or "")
        return question if question is not None and question.open else None

    # -- out ------------------------------------------------------------------------------------------------------

    def give_up(
        self, thread: Thread, envelope: Envelope, reason: Reason, detail: str, where: str | None = None
    ) -> None:
        """Put a message among the dead letters, say so, and tell its sender."""
        letter = DeadLetter(envelope, reason, detail, self._clock.now_ns(), where)
        if (forgotten := self.dead_letters.add(letter)) is not None:
            self.state_writer.delete_dead_letter(forgotten)
        self.state_writer.save_dead_letter(letter)
        self.state_writer.delete_message(envelope)
        _log.warning(
            "dead_letter",
            thread_id=thread.id,
            agent=envelope.recipient,
            sender=envelope.sender,
            message_id=envelope.id,
            reason=reason,
            detail=detail,
            where=where,
        )
        self._outbox.emit(
            DeadLetterEvent(
                thread_id=thread.id,
                root_thread_id=thread.root,
                message_id=envelope.id,
                message_type=type_name(envelope.payload),
                sender=envelope.sender,
                recipient=envelope.recipient,
                reason=reason,
                detail=detail,
            )
        )
        if reason in ("late_reply", "thread_terminated"):
            return
        thread.gave_up = f"{envelope.recipient}: {detail}"
        self.state_writer.save_thread(thread)
        if envelope.reply_to is not None:
            self.fail_question(thread, envelope, detail)
        elif envelope.sender in self._active.agents and not is_runtime(envelope.payload):
            failure = AgentFailed(envelope.recipient, envelope.id, detail)
            self.accept(thread, self._envelopes.first(thread, envelope.sender, failure, 0, sender=RUNTIME))

    def discard(self, thread: Thread) -> None:
        """Empty the lanes of a thread that ends; what nobody has handled becomes a dead letter."""
        for lane in thread.lanes.values():
            if not (lane.queue or lane.aside or lane.joining or lane.arriving):
                continue
            joining = (lane.joining or {}).values()
            aside = [each.envelope for each in lane.waiting]
            waiting = [*aside, *lane.queue, *(envelope for companions in joining for envelope in companions)]
            for envelope in waiting:
                self.mailboxes[lane.agent].release(envelope.size)
                self.give_up(thread, envelope, "thread_terminated", "its thread has ended")
            for envelope in lane.arriving or ():
                self.give_up(thread, envelope, "thread_terminated", "its thread has ended")
            lane.queue.clear()
            lane.aside = None
            lane.joining = lane.arriving = None
        for envelope in thread.timed.values():
            self.give_up(thread, envelope, "thread_terminated", "its thread has ended")
        thread.timed.clear()
