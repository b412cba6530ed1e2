"""Puts messages where they belong: into lanes, joins, a thread's outputs, or among the dead letters.

A message is in exactly one place: in its lane, beside the companions it is joined with, before a full mailbox, or among
those that are due later. In each it is in the journal from the step that puts it there.
"""

from collections import deque
from collections.abc import Iterable
from functools import partial

from msgspec.structs import replace

from organism.agents.agent import Agent
from organism.amounts import NS_PER_S
from organism.concurrency.safe_log import safe_logger
from organism.errors import BoundExceededError, MailboxFullError, UnknownRecipientError
from organism.messages import (
    AgentFailed,
    BudgetWarning,
    Envelope,
    Gathered,
    GatheredPart,
    Message,
    SpendingNote,
    as_text,
    type_name,
)
from organism.runtime.loop_services import LoopServices
from organism.runtime.scheduler import Scheduler
from organism.runtime.waiting.paused_time import PausedTime
from organism.runtime.waiting.questions import Questions
from organism.runtime.waiting.timers import sleep_until
from organism.runtime.workers.guard import guarded
from organism.threads.dead_letters import DeadLetter, DeadLetters, Reason
from organism.threads.envelopes import RoutedMessage
from organism.threads.lanes import Lane
from organism.threads.mailbox import MailboxBound
from organism.threads.routing import takes_by_name
from organism.threads.thread import Question, Thread
from organism.usage.events import DeadLetterEvent

RUNTIME = "organism"
"""The sender of the runtime's own messages."""

_log = safe_logger("organism.pump")


class Delivery:
    """Enqueues messages, sends what handlers return, and makes dead letters.

    Args:
        paused_time: Knows what is full because of something that is paused.
    """

    def __init__(
        self, services: LoopServices, scheduler: Scheduler, paused_time: PausedTime, questions: Questions
    ) -> None:
        self._active = services.active
        self._outbox = services.outbox
        self._state_writer = services.state_writer
        self._clock = services.clock
        self._envelopes = services.envelopes
        self._scheduler = scheduler
        self._paused_time = paused_time
        self._questions = questions
        self.dead_letters = DeadLetters()
        self.mailboxes: dict[str, MailboxBound] = {}
        self.fit_mailboxes()

    def fit_mailboxes(self) -> None:
        """Give every active agent a mailbox of the configured size.

        That of an agent which is gone stays: its handler may still run, and its message count again.
        """
        bounds = self._active.bounds
        for name in self._active.agents:
            self.mailboxes.setdefault(name, MailboxBound(0, 0))
        for mailbox in self.mailboxes.values():
            mailbox.resize(bounds.mailbox_messages, bounds.mailbox_bytes)

    # -- into a lane ----------------------------------------------------------------------------------------------

    def check_room(self, envelope: Envelope) -> None:
        """Refuse a message from outside where its recipient has no room.

        Raises:
            MailboxFullError: If so.
        """
        if not self.mailboxes[envelope.recipient].has_room(envelope.size):
            raise MailboxFullError(envelope.recipient, self._active.bounds.mailbox_messages)

    def enqueue(self, thread: Thread, envelope: Envelope) -> None:
        """Put a message into its lane whether or not there is room, and start the lane."""
        self.mailboxes[envelope.recipient].acquire(envelope.size)
        self._add(thread, thread.lane_of(envelope), self._active.agents.get(envelope.recipient), envelope)

    def try_enqueue(self, thread: Thread, envelope: Envelope) -> bool:
        """Put a message into its lane if there is room; else it stands before the mailbox, behind those that do.

        Returns:
            Whether there is no more to be done for it; if not, call :meth:`flush_waiting`.
        """
        name = envelope.recipient
        agent = self._active.agents.get(name)
        if agent is None:  # it was there when its sender began
            self.give_up(thread, envelope, "not_deliverable", str(UnknownRecipientError(name, self._active.names)))
            return True
        lane = thread.lanes.get(name) or thread.lane(name)
        if lane.arriving or not self.mailboxes[name].try_acquire(envelope.size):
            self._state_writer.save_message(envelope)
            lane.arriving = lane.arriving or deque()
            lane.arriving.append(envelope)
            return False
        self._outbox.publish_content(thread.root, envelope, envelope.created_ns)
        self._add(thread, thread.lane_of(envelope) if envelope.beside else lane, agent, envelope)
        return True

    def _add(self, thread: Thread, lane: Lane, agent: Agent | None, envelope: Envelope) -> None:
        self._state_writer.save_message(envelope)
        if agent is not None and agent.gather:
            self._put_or_join(lane, agent, envelope)
        else:
            lane.put(envelope)
        if not lane.running and lane.queue:
            self._scheduler.start_lane(thread, lane)

    def place(self, thread: Thread, envelope: Envelope) -> None:
        """Put a message that is in the journal and counted already into its lane, without starting it."""
        lane, agent = thread.lane_of(envelope), self._active.agents.get(envelope.recipient)
        if agent is not None and agent.gather:
            self._put_or_join(lane, agent, envelope)
        else:
            lane.put(envelope)

    async def flush_waiting(self, thread: Thread, recipients: Iterable[str]) -> None:
        """Take in what stands before these mailboxes, in order, waiting for room; give up what finds none in time."""
        for recipient in recipients:
            lane, mailbox = thread.lane(recipient), self.mailboxes[recipient]
            while lane.arriving:
                first = lane.arriving[0]
                fits = await mailbox.wait_for_room(first.size, self._active.bounds.delivery_s)
                if not lane.arriving or lane.arriving[0] is not first:
                    continue  # another sender has taken it in while this one waited
                if not fits and self._paused_time.holds_up(thread, recipient):
                    continue  # it waits with what is paused
                lane.arriving.popleft()
                if fits:
                    self._outbox.publish_content(thread.root, first, self._clock.now_ns())
                    self.enqueue(thread, first)
                else:
                    most = self._active.bounds.mailbox_messages
                    self.give_up(thread, first, "mailbox_full", str(MailboxFullError(recipient, most)))

    async def enqueue_or_wait(self, thread: Thread, envelope: Envelope) -> None:
        """Put a message into its lane, waiting for room; it is taken in, too, when its sender waits no more."""
        if not self.try_enqueue(thread, envelope):
            try:
                await self.flush_waiting(thread, (envelope.recipient,))
            except BaseException:
                if not thread.stopping and self._scheduler.tasks is not None:
                    self._scheduler.start_soon(self._flush_unattended, thread, envelope.recipient)
                raise

    async def _flush_unattended(self, thread: Thread, recipient: str) -> None:
        try:
            with thread.stoppable():
                await guarded(partial(self.flush_waiting, thread, (recipient,)), "delivering")
        finally:  # also where the process ends meanwhile, which waits for this
            self._scheduler.settle(thread)

    # -- what a handler sends -------------------------------------------------------------------------------------

    def answer(self, thread: Thread, question: Envelope, reply: Message) -> None:
        """Give the reply to the question that was handled to who waits for it."""
        if not self._questions.answer(thread, question, reply):
            why = "its asker had stopped waiting, or had its reply already"
            self.give_up(thread, question, "late_reply", why)

    def put_out(self, thread: Thread, envelope: Envelope) -> None:
        """Give a message to the opener of the thread: a user, or for a child the agent that spawned it."""
        envelope = replace(envelope, recipient=thread.origin.opened_by)
        self._outbox.publish_content(thread.root, envelope, envelope.created_ns, output=True)
        self._state_writer.save_output(thread, envelope)
        thread.outputs.append(envelope.payload)
        thread.note_change()

    def send(self, thread: Thread, envelope: Envelope, delay_s: float) -> bool:
        """Send a message of a handler to an agent; ``False`` if it stands before a full mailbox."""
        if envelope.hops > (hops := self._active.bounds.hops):
            self.give_up(thread, envelope, "hop_limit", f"the bound 'hops' is {hops}")
            return True
        if delay_s > 0:
            due = replace(envelope, due_ns=envelope.created_ns + round(delay_s * NS_PER_S))
            self._state_writer.save_message(due)
            self.defer(thread, due)
            return True
        return self.try_enqueue(thread, envelope)

    async def ask(
        self, thread: Thread, asker: Envelope, sender: str, index: int, routed: RoutedMessage, *, beside: bool
    ) -> Question:
        """Send a question of a handler.

        Args:
            index: The number of the question among those of the handler, from 0.
            beside: Whether it is asked beside others: it is handled beside other messages for its recipient.

        Raises:
            BoundExceededError: If its thread goes round too long.
        """
        envelope = self._envelopes.question(asker, sender, routed, index, beside=beside)
        if envelope.hops > (hops := self._active.bounds.hops):
            raise BoundExceededError("hops", hops, "this thread goes round too long")
        thread.know(question := Question(envelope.id, envelope.recipient, (asker.id, index)))
        await self.enqueue_or_wait(thread, envelope)
        return question

    def warn(
        self, thread: Thread, concerned: Iterable[str], warning: SpendingNote, *, listeners: bool = True
    ) -> tuple[Lane, ...]:
        """Deliver a warning to agents of a thread, and return the lanes of those that get it.

        Args:
            concerned: The agents that spend; one that is not there any more is passed over.
            listeners: Whether all agents get it, too, that ask for warnings by name.
        """
        told: list[Lane] = []
        agents, here = self._active.agents, self._active.works_here
        asking = (name for name, agent in agents.items() if takes_by_name(agent, type(warning)) and here(name))
        wanted = list(asking) if listeners else []
        for recipient in dict.fromkeys((*(name for name in concerned if name in agents), *wanted)):
            note = self._envelopes.first(thread, recipient, warning, 0, sender=RUNTIME)
            lane = thread.lane(recipient)
            self.mailboxes[recipient].acquire(note.size)
            self._state_writer.save_message(note)
            lane.put_note(note)
            told.append(lane)
            self._scheduler.start_lane(thread, lane)
        return tuple(told)

    def take_warnings(self, thread: Thread, lane: Lane) -> tuple[BudgetWarning, ...]:
        """Take the warnings of budgets out of a lane that its agent has not begun with; return them in order."""
        taken = lane.take_notes(BudgetWarning)
        for note in taken:
            self.mailboxes[lane.agent].release(note.size)
            self._state_writer.complete(thread, lane, note, lane.stored)
        return tuple(note.payload for note in taken if isinstance(note.payload, BudgetWarning))

    # -- due later ------------------------------------------------------------------------------------------------

    def defer(self, thread: Thread, envelope: Envelope) -> None:
        """Deliver a message when it is due; its thread stays open for it."""
        thread.timed[envelope.id] = envelope
        if not thread.stopping:
            self.start_timed(thread, envelope)

    def start_timed(self, thread: Thread, envelope: Envelope) -> None:
        """Begin to wait for a message's time."""
        self._scheduler.start_soon(self._enqueue_later, thread, envelope)

    async def _enqueue_later(self, thread: Thread, envelope: Envelope) -> None:
        try:
            due = partial(self._enqueue_when_due, thread, envelope)
            done = await guarded(due, "delivering a message that is due", message_id=envelope.id)
            if not done and thread.timed.pop(envelope.id, None) is not None:
                self.give_up(thread, envelope, "not_deliverable", "a defect of organism; see its log")
        finally:
            self._scheduler.settle(thread)

    async def _enqueue_when_due(self, thread: Thread, envelope: Envelope) -> None:
        with thread.stoppable():
            await sleep_until(envelope.due_ns or 0, self._clock)
            # Deleted and written again under the same id: its place in the order of messages is that of this instant.
            self._state_writer.delete_message(envelope)
            await self.enqueue_or_wait(thread, replace(envelope, due_ns=None))
            del thread.timed[envelope.id]

    # -- joins ----------------------------------------------------------------------------------------------------

    def _put_or_join(self, lane: Lane, agent: Agent, envelope: Envelope) -> None:
        """Queue a message, or put it beside its companions; no question and nothing from outside its thread joins."""
        if (
            envelope.sender not in agent.gather
            or envelope.joined
            or envelope.reply_to is not None
            or envelope.from_outside
        ):
            lane.put(envelope)
            return
        joining = lane.joining = lane.joining or {}
        joining.setdefault(envelope.sender, deque()).append(envelope)
        if all(joining.get(sender) for sender in agent.gather):
            self._join(lane, agent)

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
            self._state_writer.delete_message(envelope)
        mailbox.reacquire(size)
        joined = self._envelopes.joined(agent.name, taken, Gathered(parts, missing), size)
        self._state_writer.save_message(joined)
        lane.put(joined)

    def join_incomplete(self, thread: Thread) -> bool:
        """Hand over what has come of joins that nothing can complete any more; whether there was one."""
        waiting = [lane for lane in thread.lanes.values() if lane.joining]
        for lane in waiting:
            self._join(lane, self._active.agents[lane.agent])
            self._scheduler.start_lane(thread, lane)
        return bool(waiting)

    # -- dead letters ---------------------------------------------------------------------------------------------

    def give_up(
        self, thread: Thread, envelope: Envelope, reason: Reason, detail: str, where: str | None = None
    ) -> None:
        """Make a message a dead letter, and tell its sender."""
        self._bury(thread, envelope, reason, detail, where)
        if reason in ("late_reply", "thread_terminated"):
            return
        thread.gave_up = f"{envelope.recipient}: {detail}"
        self._state_writer.save_thread(thread)
        if envelope.reply_to is not None:
            self._questions.fail(thread, envelope, detail)
        elif envelope.sender in self._active.agents and not envelope.from_outside:
            failure = AgentFailed(envelope.recipient, envelope.id, detail)
            self.enqueue(thread, self._envelopes.first(thread, envelope.sender, failure, 0, sender=RUNTIME))

    def _bury(self, thread: Thread, envelope: Envelope, reason: Reason, detail: str, where: str | None) -> None:
        letter = DeadLetter(envelope, reason, detail, self._clock.now_ns(), where, thread.labels)
        if (forgotten := self.dead_letters.add(letter)) is not None:
            self._state_writer.delete_dead_letter(forgotten)
        self._state_writer.save_dead_letter(letter)
        self._state_writer.delete_message(envelope)
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

    def discard(self, thread: Thread) -> None:
        """Empty the lanes of a thread that ends; what nobody has handled becomes a dead letter."""
        for lane in thread.lanes.values():
            if not (lane.queue or lane.aside or lane.joining or lane.arriving):
                continue
            for envelope in lane.drain():
                self.mailboxes[lane.agent].release(envelope.size)
                self.give_up(thread, envelope, "thread_terminated", "its thread has ended")
            for envelope in lane.arriving or ():
                self.give_up(thread, envelope, "thread_terminated", "its thread has ended")
            lane.arriving = None
        for envelope in thread.timed.values():
            self.give_up(thread, envelope, "thread_terminated", "its thread has ended")
        thread.timed.clear()
