"""The way of a message, top to bottom: take, check, run, route its outputs, complete, next.

Each thread has a lane per agent. A worker of :mod:`organism.runtime.scheduler` calls
:meth:`MessageLoop.handle` with a lane that has messages, which handles the first of them.

What holds at each step:

* **take**: the message leaves the mailbox's count, so a sender that waits gets room while the handler runs. It stays
  first in its lane and in the journal until it is complete: a crash at any point before that runs it again.
* **run**: the handler's outputs are held back. A run that raises, times out or is parked has sent nothing.
* **route, complete**: one step with no await in it, hence one commit of the journal: the outputs, the agent's state and
  the end of the message are all kept, or none. An await in between would let a crash send the outputs twice.
* **next**: the recipients' lanes were started as they got their messages; the worker goes on with the next lane.
"""

from collections.abc import Callable
from functools import partial

from organism.concurrency.safe_log import safe_logger
from organism.errors import Refusal, UnknownRecipientError
from organism.ids import USER
from organism.messages import RUNTIME_MESSAGES, BudgetWarning, Envelope, is_runtime
from organism.runtime.active_config import ActiveConfig
from organism.runtime.delivery import Delivery
from organism.runtime.handlers.handler_outcome import HandlerFailed, HandlerOutcome, HandlerParked
from organism.runtime.handlers.handler_run import HandlerRun
from organism.runtime.handlers.instrumentation import instrumented
from organism.runtime.handlers.run_services import AgentRunner, RunServices
from organism.runtime.loop_services import LoopServices
from organism.runtime.supervisor import Supervisor
from organism.runtime.waiting.parked_messages import ParkedMessages
from organism.runtime.waiting.questions import Questions
from organism.runtime.workers.cancel_scope import ReusableCancelScope, despite_stray_cancels
from organism.runtime.workers.guard import stops_task
from organism.text.error_text import describe
from organism.threads.approvals import Approval, WaitReason
from organism.threads.envelopes import own_copy
from organism.threads.lanes import Lane
from organism.threads.routing import takes_by_name
from organism.threads.thread import Thread
from organism.tracing import trace_id_of
from organism.usage.events import ApprovalRequested, Reported

_log = safe_logger("organism.pump")


class MessageLoop:
    """Handles messages.

    Args:
        delivery: Takes what handlers send, and dead letters.
        supervisor: Decides what follows when a run fails.
    """

    def __init__(
        self,
        loop_services: LoopServices,
        run_services: RunServices,
        delivery: Delivery,
        supervisor: Supervisor,
        questions: Questions,
        parked: ParkedMessages,
    ) -> None:
        self._run_services = run_services
        self._active: ActiveConfig = loop_services.active
        self._state_writer = loop_services.state_writer
        self._memo = loop_services.router.memo
        self._breakers = run_services.breakers
        self._delivery = delivery
        self._supervisor = supervisor
        self._questions = questions
        self._parked = parked
        self._threshold_questions = parked.threshold_questions
        self._warnings = run_services.warnings
        self._outbox = loop_services.outbox
        self._envelopes = loop_services.envelopes
        self._activity = loop_services.activity
        self._mailboxes = delivery.mailboxes
        self._runners: dict[str, AgentRunner] = {}

    async def handle(self, thread: Thread, lane: Lane, scope_holder: ReusableCancelScope) -> bool:
        """Handle the first message of a lane if it can be handled now; whether there is another that can."""
        active, queue, name = self._active, lane.queue, lane.agent
        # Also where an order of the last moment has opened a thread again whose handlers the end of the process stops:
        # each run of it would be stopped at once, and followed by another.
        if thread.status != "open" or thread.halting or not queue or name in active.paused:
            return False
        if self._warnings.any_told and self._catch_up(thread, lane, queue[0]):
            queue = lane.queue
        envelope = lane.handling = queue[0]
        mailbox = self._mailboxes[name]
        # Released while it is handled, so that a handler which sends to its own agent cannot wait for the place it sits
        # on.
        mailbox.release(envelope.size)
        try:
            usual = name in active.agents and type(envelope.payload) not in RUNTIME_MESSAGES
            if (usual and not (lane.tries or active.stopped)) or not self._refuse(thread, lane, envelope):
                while await self._run_once(thread, lane, envelope, scope_holder) and self._may_retry(thread, lane):
                    pass
        except BaseException as error:
            if stops_task(error):
                raise
            self._abandon(thread, lane, envelope, error)
        finally:
            if lane.handling is envelope:
                # It is parked, or its thread is paused, closing or halted: it is first in its lane as before. Also when
                # this worker is cancelled, for the count of the mailbox is shared with all other threads.
                lane.handling = None
                mailbox.reacquire(envelope.size)
        if not lane.queue:
            return False
        return thread.status == "open" and name not in active.paused

    def _catch_up(self, thread: Thread, lane: Lane, envelope: Envelope) -> bool:
        """Have an agent hear, before a message, which thresholds others' calls have crossed; whether it does."""
        agent = self._active.agents.get(lane.agent)
        if agent is None or is_runtime(envelope.payload) or not (agent.notes or takes_by_name(agent, BudgetWarning)):
            return False
        if not self._warnings.catch_up(thread, lane.home or lane):
            return False
        self._keep_first_state(thread, lane, envelope)
        return True

    # -- check ----------------------------------------------------------------------------------------------------

    def _refuse(self, thread: Thread, lane: Lane, envelope: Envelope) -> bool:
        """Complete a message that no handler is to see; whether it is one."""
        active = self._active
        agent = active.agents.get(lane.agent)
        notice = is_runtime(envelope.payload)
        if agent is None and not notice:
            self._give_up(thread, lane, envelope, UnknownRecipientError(lane.agent, active.names))
            return True
        unwanted = agent is None or (notice and not (agent.notes or takes_by_name(agent, type(envelope.payload))))
        if unwanted or self._supervisor.refuse(thread, lane, envelope):
            self._complete(thread, lane, envelope, lane.stored)
            return True
        return False

    # -- run ------------------------------------------------------------------------------------------------------

    async def _run_once(
        self, thread: Thread, lane: Lane, envelope: Envelope, scope_holder: ReusableCancelScope
    ) -> bool:
        """Run the handler once and act on its outcome; ``True`` when it failed and is to run again."""
        runner = self._runners.get(lane.agent)
        if runner is None or runner.runs is not self._active.runs:
            runner = self._runner_of(lane.agent)
        trace = thread.origin.trace
        if trace is not None:
            trace = self._activity.child(trace)
        if lane.home is not None:
            lane.refresh()
        # One object a run, after the state was refreshed: a reload in the middle changes nothing for a handler that has
        # begun.
        run = HandlerRun(
            runner, self._run_services, runner.agent, thread, lane, own_copy(envelope), scope_holder, trace
        )
        outcome: HandlerOutcome
        if self._activity.active:
            outcome = await instrumented(
                run.execute(), thread, envelope, trace, self._activity, self._run_services.clock
            )
        else:
            outcome = await run.execute()
        if outcome is None:
            # Sent and completed first, waited for afterwards: a crash while a mailbox is full must not run the handler
            # again.
            full = self._route_and_complete(thread, lane, envelope, run)
            if full:
                await despite_stray_cancels(partial(self._flush, thread, lane, full))
        elif type(outcome) is HandlerParked:
            self._park(thread, lane, envelope, outcome.waits, outcome.stands)
        elif type(outcome) is HandlerFailed:
            try:
                return await self._fail(thread, lane, envelope, outcome.error, runner)
            finally:
                # A handler may raise one and the same error again and again: it would keep the frames of every run.
                outcome.error.__traceback__ = None
        return False

    def _runner_of(self, name: str) -> AgentRunner:
        """Make what runs an agent: the active one, or the last of that name where it is gone between two runs."""
        if name in self._active.agents:
            self._runners[name] = AgentRunner(self._run_services, name)
        return self._runners[name]

    def _may_retry(self, thread: Thread, lane: Lane) -> bool:
        """Whether a message whose run has failed runs again now; what is paused does when it is resumed.

        What was cut short without a place of its own queues for one: as many as had asked would run at once else.
        """
        if thread.stopping or thread.status == "paused" or lane.agent in self._active.paused:
            return False
        return self._run_services.places.may_go_on(lane)

    # -- route its outputs, complete ------------------------------------------------------------------------------

    def _route_and_complete(self, thread: Thread, lane: Lane, envelope: Envelope, run: HandlerRun) -> tuple[str, ...]:
        """Send what a handler has returned and complete its message: one step, with no await, so one commit.

        Returns:
            The recipients whose mailboxes have no room; what is for them waits before these.
        """
        full: tuple[str, ...] = ()
        unanswered = envelope.reply_to is not None
        if run.reports:
            self._report(thread, lane.agent, run)
        for routed in run.outgoing:
            if routed.answers:
                self._delivery.answer(thread, envelope, routed.message)
                unanswered = False
                continue
            for recipient in routed.recipients:
                sent = self._envelopes.caused(envelope, lane.agent, recipient, routed, run.trace)
                if recipient == USER:
                    self._delivery.put_out(thread, sent)
                    continue
                if rounds := thread.watch.add_message(lane.agent, recipient):
                    self._breakers.on_rounds(thread, lane.agent, recipient, rounds)
                if not self._delivery.send(thread, sent, routed.delay_s):
                    full = (*full, recipient)
        if unanswered:
            self._questions.fail(thread, envelope, "it ended without a reply")
        self._complete(thread, lane, envelope, run.left)
        return full

    def _complete(self, thread: Thread, lane: Lane, envelope: Envelope, state: bytes) -> None:
        """Take a message out of its lane and the journal, with what was kept so that it could run again."""
        lane.pop()
        self._state_writer.complete(thread, lane, envelope, state)
        if envelope.beside:
            thread.forget_lane(envelope)
        # Its paid answers go in the same commit as the message: kept longer they are garbage, dropped earlier a crash
        # would pay twice.
        if thread.id in self._memo.threads:
            self._memo.forget(thread.id, envelope.id)
        if thread.begun and (begun := thread.begun.pop(envelope.id, None)) is not None:
            for question in begun.asked.values():
                thread.questions.pop(question.id, None)
            self._state_writer.delete_begun(thread, envelope.id, begun)

    async def _flush(self, thread: Thread, lane: Lane, full: tuple[str, ...]) -> None:
        """Wait for room in mailboxes; the handler is done, and those that make room may need its place."""
        self._run_services.places.leave(lane)
        with thread.stoppable():
            await self._delivery.flush_waiting(thread, full)

    def _report(self, thread: Thread, agent: str, run: HandlerRun) -> None:
        for name, result in run.reports:
            self._outbox.emit(
                Reported(
                    thread_id=thread.id,
                    root_thread_id=thread.root,
                    agent=agent,
                    name=name,
                    result=result,
                    trace_id=trace_id_of(run.trace),
                )
            )

    # -- the ways off the path ------------------------------------------------------------------------------------

    async def _fail(
        self, thread: Thread, lane: Lane, envelope: Envelope, error: BaseException, runner: AgentRunner
    ) -> bool:
        """Have the supervisor decide on a failed run; ``True`` when the message is to run again."""
        self._run_services.places.take(lane)  # also for the pause before that
        verdict = await self._supervisor.on_failure(thread, lane, envelope, error, runner.agent)
        if isinstance(verdict, Refusal):
            self._park(thread, lane, envelope, verdict)
        elif verdict == "give_up":
            self._give_up(thread, lane, envelope, error)
        return verdict == "retry"

    def _give_up(self, thread: Thread, lane: Lane, envelope: Envelope, error: BaseException) -> None:
        """Make a message a dead letter, and stop its agent if that is one too many."""
        self._supervisor.give_up(thread, envelope, error)
        self._complete(thread, lane, envelope, lane.stored)
        self._supervisor.count_failure(thread, lane.agent, error)

    def _park(
        self,
        thread: Thread,
        lane: Lane,
        envelope: Envelope,
        waits: WaitReason,
        stands: Callable[[], bool] | None = None,
    ) -> None:
        """Put a message aside until there is budget or an answer, or let it run once more for its final call.

        It runs once more, too, if what it waits for came while its handler ended: nothing would unpark it any more.
        """
        is_last = isinstance(waits, Refusal) and waits.final_reserve_open
        if is_last or not (self._parked.stands(waits) if stands is None else stands()):
            self._keep_first_state(thread, lane, envelope)  # the notes change the state before it runs again
            lane.hurry_notes()
            return
        if lane.agent not in self._active.agents:
            self._give_up(thread, lane, envelope, UnknownRecipientError(lane.agent, self._active.names))
            return
        is_new = isinstance(waits, Approval) and waits.message_id == envelope.id
        if isinstance(waits, Approval) and is_new and waits.account:
            waits, is_new = self._threshold_questions.joined(waits)
        lane.step_aside(envelope, waits)
        self._state_writer.save_parked(envelope, waits)
        self._keep_first_state(thread, lane, envelope)
        if self._warnings.any_told:
            self._catch_up(thread, lane, envelope)
        if isinstance(waits, Approval) and is_new:
            self._outbox.emit(
                ApprovalRequested(
                    thread_id=thread.id,
                    root_thread_id=thread.root,
                    agent=waits.agent,
                    approval_id=waits.id,
                    what=waits.what,
                    tokens=0 if waits.budget is None else waits.budget.tokens,
                    cost_nanousd=0 if waits.budget is None else waits.budget.cost_nanousd,
                )
            )
        self._questions.park_asker(thread, envelope, waits)
        self._parked.watch_headroom(thread)
        if isinstance(waits, Refusal) and waits.cause != "limit":
            self._parked.unpark_unstopped(thread)  # what stopped it may have been lifted while its handler ended

    def _keep_first_state(self, thread: Thread, lane: Lane, envelope: Envelope) -> None:
        """Keep the state that paid answers of a message were asked with: others may change it before it runs again."""
        if self._memo.has_paid(thread.id, envelope.id):
            self._state_writer.save_first_state(thread, lane, envelope.id)

    def _abandon(self, thread: Thread, lane: Lane, envelope: Envelope, error: BaseException) -> None:
        """Be done with a message on which the loop itself has failed, whatever its handler has done to it.

        The guard of last resort: a defect costs the message that it showed on, never the tasks that all share.
        """
        about = {"thread_id": thread.id, "agent": lane.agent, "message_id": envelope.id}
        _log.critical("pump_failed", error=describe(error), exc_info=error, **about)
        if lane.handling is not envelope:
            return  # it was complete already
        try:
            self._delivery.give_up(thread, envelope, "handler_failed", f"a defect of organism: {describe(error)}")
            self._complete(thread, lane, envelope, lane.stored)
        except Exception:  # noqa: BLE001 - it is logged, and there is nobody above who could do better
            _log.critical("pump_failed_again", exc_info=True, **about)
            if lane.handling is envelope:
                lane.pop()  # or the lane would give the same message to one worker after another
