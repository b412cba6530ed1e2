"""Runs the messages of a lane one after another, and decides what follows when a handler fails."""

from collections.abc import Awaitable
from functools import partial

import anyio
import structlog

from organism.agents.agent import Agent
from organism.amounts import NS_PER_S
from organism.clock import Clock
from organism.errors import BudgetExhaustedError, Shortfall, UnknownRecipientError
from organism.journal import JournalError
from organism.messages import Envelope, is_runtime
from organism.runtime.active_config import ActiveConfig
from organism.runtime.delivery import Delivery
from organism.runtime.handlers.handler_outcome import (
    HandlerOutcome,
    HandlerParked,
    HandlerReturned,
    HandlerStopped,
    ProcessEndedError,
)
from organism.runtime.handlers.handler_run import AgentRunner, HandlerRun
from organism.runtime.handlers.instrumentation import instrumented
from organism.runtime.handlers.restart import BACKOFF_MAX_S, RestartIntensity, backoff_s, reason_for, worth_retrying
from organism.runtime.handlers.run_services import Host, RunServices
from organism.runtime.workers.cancel_scope import ReusableCancelScope, despite_stray_cancels
from organism.runtime.workers.guard import stops_task
from organism.text.error_text import defined_at, describe, raised_at
from organism.text.redaction import headline
from organism.threads.approvals import Approval, WaitReason
from organism.threads.lanes import Lane
from organism.threads.records import BEGAN
from organism.threads.routing import takes_by_name
from organism.threads.thread import Thread
from organism.tracing import Work, trace_id_of
from organism.usage.activity import ActivityFeed
from organism.usage.events import AgentStopped, ApprovalRequested, Reported
from organism.usage.outbox import Outbox

_log = structlog.get_logger("organism.pump")


class Supervisor:
    """Takes lanes through their messages.

    Args:
        host: What runs need of the pump.
        active: The agents, attempts and restart intensity.
        delivery: Takes what handlers send, and dead letters.
        outbox: Takes the events.
        clock: Measures the restart period.
        activity: Is told of every run of a handler.
    """

    def __init__(
        self,
        host: Host,
        active: ActiveConfig,
        delivery: Delivery,
        outbox: Outbox,
        clock: Clock,
        activity: ActivityFeed,
    ) -> None:
        self._host = host
        self._active = active
        self._delivery = delivery
        self._state_writer = delivery.state_writer
        self._outbox = outbox
        self._clock = clock
        self._activity = activity
        self._services = RunServices(host, active, self._state_writer, clock)
        self._runners: dict[str, AgentRunner] = {}
        self._intensity: dict[str, RestartIntensity] = {}
        self.stopped: dict[str, str] = {}
        """Agents that have failed too often and take no more messages, with the reason."""

    @property
    def paused(self) -> set[str]:
        """Agents that an operator has told to wait."""
        return self._active.paused

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all agents."""
        return tuple(self._active.agents)

    def forget_gone(self) -> None:
        """Forget that agents which are not there any more stood still."""
        self.paused.intersection_update(self.names)
        self.stopped = {name: why for name, why in self.stopped.items() if name in self._active.agents}

    async def work(self, thread: Thread, lane: Lane, scope_holder: ReusableCancelScope) -> bool:
        """Handle the first message of a lane if it can be handled now; whether there is another that can."""
        if not self._can_work(thread, lane):
            return False
        mailbox = self._delivery.mailboxes[lane.agent]
        envelope = lane.handling = lane.queue[0]
        mailbox.release(envelope.size)
        try:
            if not self._refused(thread, lane, envelope):
                while not await self._attempt(thread, lane, envelope, scope_holder) and self._tries_on(thread, lane):
                    pass
        except BaseException as error:
            if stops_task(error):
                raise
            self._broke(thread, lane, envelope, error)
        finally:
            if lane.handling is envelope:  # it waits, or its thread is being ended or paused: it is there as before
                lane.handling = None
                mailbox.reacquire(envelope.size)
        return self._can_work(thread, lane)

    def _broke(self, thread: Thread, lane: Lane, envelope: Envelope, error: BaseException) -> None:
        """Be done with a message on which the pump itself has failed, whatever its handler has done to it.

        The guard of last resort: a defect costs the message that it showed on, never the tasks that all share.
        """
        about = {"thread_id": thread.id, "agent": lane.agent, "message_id": envelope.id}
        _log.critical("pump_failed", error=describe(error), exc_info=error, **about)
        if lane.handling is not envelope:
            return  # it was done already
        try:
            self._delivery.give_up(thread, envelope, "handler_failed", f"a defect of organism: {describe(error)}")
            self._complete(thread, lane, envelope, lane.stored)
        except Exception:  # noqa: BLE001 - it is told, and there is nobody above who could do better
            _log.critical("pump_failed_again", exc_info=True, **about)
            if lane.handling is envelope:
                lane.handling = None
                lane.pop()

    def _can_work(self, thread: Thread, lane: Lane) -> bool:
        return thread.status == "open" and bool(lane.queue) and lane.agent not in self._active.paused

    def _tries_on(self, thread: Thread, lane: Lane) -> bool:
        """Whether a message whose run has failed is run again now; what is paused tries again when it goes on."""
        return not thread.stopping and thread.status != "paused" and lane.agent not in self._active.paused

    def _refused(self, thread: Thread, lane: Lane, envelope: Envelope) -> bool:
        """Be done with a message that no handler is to see; whether it is one."""
        name = lane.agent
        agent = self._active.agents.get(name)
        if agent is not None and not (lane.attempts or self.stopped or is_runtime(envelope.payload)):
            return False  # as nearly always
        if is_runtime(envelope.payload) and (agent is None or not self._wants(agent, envelope)):
            self._complete(thread, lane, envelope, lane.stored)
        elif agent is None:
            self._give_up(thread, lane, envelope, UnknownRecipientError(name, self.names))
        elif name in self.stopped:
            self._delivery.give_up(thread, envelope, "agent_failed", self.stopped[name])
            self._complete(thread, lane, envelope, lane.stored)
        elif lane.attempts >= self._active.bounds.attempts:
            self._give_up(thread, lane, envelope, ProcessEndedError(name, lane.attempts))
        else:
            return False
        return True

    def _runner_of(self, name: str) -> AgentRunner:
        """Return what runs an agent: as it is in force, or as it was last where it is gone between two runs."""
        if (agent := self._active.agents.get(name)) is None:
            return self._runners[name]
        runner = self._runners.get(name)
        if runner is None or runner.agent is not agent:
            runner = self._runners[name] = AgentRunner(self._services, agent)
        return runner

    async def _attempt(self, thread: Thread, lane: Lane, envelope: Envelope, scope_holder: ReusableCancelScope) -> bool:
        """Run the handler once; ``False`` when it failed and is to be run again."""
        runs = self._active.runs
        runner = self._runner_of(lane.agent)
        trace = thread.origin.trace
        if trace is not None:
            trace = self._activity.child(trace)
        work = Work(thread_id=thread.id, agent=lane.agent, message_id=envelope.id, trace=trace)
        run: Awaitable[HandlerOutcome] = HandlerRun(runner, thread, lane, envelope)(scope_holder, work)
        if self._activity.active:
            run = instrumented(run, thread, envelope, work, self._activity, self._clock)
        runs.count += 1
        try:
            ending = await run
        finally:
            runs.end()
        if isinstance(ending, HandlerReturned):
            if full := self._finish(thread, lane, envelope, ending):
                await despite_stray_cancels(partial(self._carry_in, thread, full))
            return True
        if isinstance(ending, HandlerParked):
            self._park(thread, lane, envelope, ending.waits)
            return True
        if isinstance(ending, HandlerStopped):
            return True
        try:
            return await self._failed(thread, lane, envelope, ending.error, runner.agent)
        finally:
            # A handler may raise one and the same error again and again: it would keep the frames of every run so far.
            ending.error.__traceback__ = None

    async def _carry_in(self, thread: Thread, full: tuple[str, ...]) -> None:
        with thread.stoppable():
            await self._delivery.carry_in(thread, full)

    def _finish(self, thread: Thread, lane: Lane, envelope: Envelope, done: HandlerReturned) -> tuple[str, ...]:
        """Send what a handler has returned and mark its message done: one step, with no await, so one commit.

        Returns:
            Whose mailboxes have no room.
        """
        for name, result in done.reports:
            self._report(thread, lane.agent, name, result, done.trace)
        full = self._delivery.send_out(thread, envelope, lane.agent, done.outgoing, done.trace)
        if envelope.reply_to is not None:
            self._delivery.fail_question(thread, envelope, "it ended without a reply")
        self._complete(thread, lane, envelope, done.state)
        return full

    async def _failed(self, thread: Thread, lane: Lane, envelope: Envelope, error: BaseException, agent: Agent) -> bool:
        """Count a failed run and wait before the next; ``True`` when there will be none."""
        if isinstance(error, JournalError):
            # Nothing was wrong with the message; it goes on when there is room on the disk again.
            await despite_stray_cancels(partial(_pause, thread, BACKOFF_MAX_S))
            return False
        attempts = lane.count_try(envelope)
        is_last_call_due = isinstance(error, BudgetExhaustedError) and error.shortfall.wrap_up
        again = is_last_call_due or worth_retrying(error) or self._replaced(agent)
        if attempts >= self._active.bounds.attempts or not again:
            self._give_up(thread, lane, envelope, error)
            return True
        if isinstance(error, BudgetExhaustedError) and is_last_call_due:
            # The handler has let it pass; with the warning before it, its next run may make the call. It counts as a
            # try, for such an error is soon forged.
            self._park(thread, lane, envelope, error.shortfall)
            return True
        self._state_writer.save_attempts(lane, envelope)
        self._log_failure(thread, envelope, attempts, error)
        await despite_stray_cancels(partial(_pause, thread, backoff_s(attempts)))
        return False

    def _replaced(self, agent: Agent) -> bool:
        """Whether another has taken its place: it may fail for what is gone, so its successor is to have a try."""
        return self._active.agents.get(agent.name, agent) is not agent

    def _park(self, thread: Thread, lane: Lane, envelope: Envelope, waits: WaitReason) -> None:
        """Let a message wait, or try it once more if a last call is still to be had."""
        if isinstance(waits, Shortfall) and waits.wrap_up:
            lane.hurry_notes()
            return
        if lane.agent not in self._active.agents:
            self._give_up(thread, lane, envelope, UnknownRecipientError(lane.agent, self.names))
            return
        lane.step_aside(envelope, waits)
        self._state_writer.save_parked(envelope, waits)
        if self._host.router.memo.has_paid(thread.id, envelope.id):
            self._keep_state(thread, lane, envelope)
        if isinstance(waits, Approval) and waits.message_id == envelope.id:
            self._outbox.emit(
                ApprovalRequested(
                    thread_id=thread.id,
                    root_thread_id=thread.root,
                    agent=waits.agent,
                    approval_id=waits.id,
                    what=waits.what,
                )
            )
        self._park_asker(thread, envelope, waits)
        self._delivery.hooks.stepped_aside(thread)

    def _keep_state(self, thread: Thread, lane: Lane, envelope: Envelope) -> None:
        """Keep what a message began with: others may change it, and what was paid is found by the same requests."""
        steps = thread.steps.setdefault(envelope.id, {})
        if BEGAN not in steps:
            steps[BEGAN] = lane.stored
            self._state_writer.save_step(thread, envelope.id, BEGAN, lane.stored)

    def _complete(self, thread: Thread, lane: Lane, envelope: Envelope, state: bytes) -> None:
        """Mark a message done, and forget what was kept so that it could be run again."""
        lane.pop()
        lane.handling = None
        self._state_writer.complete(thread, lane, envelope, state)
        self._host.router.memo.forget(thread.id, envelope.id)
        if thread.steps:
            self._state_writer.delete_steps(thread, envelope.id)
        if thread.asked or thread.spawned:
            self._forget_asked(thread, envelope)

    def _forget_asked(self, thread: Thread, envelope: Envelope) -> None:
        for question in thread.asked.pop(envelope.id, {}).values():
            thread.questions.pop(question.id, None)
            self._state_writer.delete_answer(thread, question)
        for key in [key for key in thread.spawned if key[0] == envelope.id]:
            self._state_writer.delete_child_result(thread, thread.spawned.pop(key))

    def _wants(self, agent: Agent, envelope: Envelope) -> bool:
        return agent.notes or takes_by_name(agent, type(envelope.payload))

    def _report(self, thread: Thread, agent: str, name: str, result: str, trace: str | None) -> None:
        self._outbox.emit(
            Reported(
                thread_id=thread.id,
                root_thread_id=thread.root,
                agent=agent,
                name=name,
                result=result,
                trace_id=trace_id_of(trace),
            )
        )

    def _park_asker(self, thread: Thread, envelope: Envelope, waits: WaitReason) -> None:
        """A question that waits for budget makes its asker wait too, instead of running into its deadline."""
        question = thread.questions.get(envelope.reply_to or "")
        if question is not None:
            question.parked = waits
            question.wake()

    def _give_up(self, thread: Thread, lane: Lane, envelope: Envelope, error: BaseException) -> None:
        """Make a message a dead letter, and stop its agent if that is one too many."""
        reason = reason_for(error)
        self._delivery.give_up(thread, envelope, reason, describe(error), self._where(lane.agent, error))
        self._complete(thread, lane, envelope, lane.stored)
        if reason == "handler_failed" and self._fails_too_often(lane.agent):
            self._stop(thread, lane.agent, error)

    def _fails_too_often(self, agent: str) -> bool:
        bounds = self._active.bounds
        failures = self._intensity.setdefault(agent, RestartIntensity())
        return failures.fail(self._clock.monotonic_ns(), bounds.restarts, int(bounds.restart_s * NS_PER_S))

    def _stop(self, thread: Thread, agent: str, error: BaseException) -> None:
        bounds = self._active.bounds
        why = (
            f"agent {agent!r} has stopped: more than {bounds.restarts} of its messages failed within "
            f"{bounds.restart_s:g} s, the last one because: {describe(error)}"
        )
        self.stopped[agent] = why
        _log.error("agent_stopped", agent=agent, reason=headline(why))
        self._outbox.emit(AgentStopped(thread_id=thread.id, root_thread_id=thread.root, agent=agent, reason=why))

    def _where(self, agent: str, error: BaseException) -> str | None:
        """Return ``file:line`` of what failed, or of the handler where it cannot be known any closer."""
        known = self._active.agents.get(agent)
        return raised_at(error) or (defined_at(known.handler) if known is not None else None)

    def _log_failure(self, thread: Thread, envelope: Envelope, attempt: int, error: BaseException) -> None:
        _log.warning(
            "handler_failed",
            thread_id=thread.id,
            agent=envelope.recipient,
            message_id=envelope.id,
            attempt=attempt,
            attempts=self._active.bounds.attempts,
            error=describe(error),
            where=self._where(envelope.recipient, error),
        )


async def _pause(thread: Thread, seconds: float) -> None:
    with thread.stoppable():
        await anyio.sleep(seconds)
