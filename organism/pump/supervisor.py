"""Runs the messages of a lane one after another, and decides what follows when a handler fails."""

import traceback
from collections.abc import Mapping

import anyio
import structlog

from organism.agents.agent import Agent
from organism.amounts import NS_PER_S
from organism.bus.routing import takes_by_name
from organism.bus.threads import Lane, Thread
from organism.clock import Clock
from organism.errors import OrganismError
from organism.messages import RUNTIME_MESSAGES, Envelope
from organism.pump.bounds import Bounds
from organism.pump.delivery import Delivery
from organism.pump.observed import ObservedRun
from organism.pump.outgoing import resolve
from organism.pump.restart import RestartIntensity, backoff_s, reason_for, worth_retrying
from organism.pump.run import Done, Host, Parked, Run
from organism.tracing import current_trace, trace_id_of
from organism.usage.activity import ActivityFeed
from organism.usage.events import AgentStopped, Reported
from organism.usage.outbox import Outbox

_log = structlog.get_logger("organism.pump")


class Supervisor:
    """Takes lanes through their messages.

    Args:
        host: What runs need of the pump.
        agents: All agents by name.
        delivery: Takes what handlers send, and dead letters.
        bounds: Attempts and restart intensity.
        outbox: Takes the events.
        clock: Measures the restart period.
        activity: Is told of every run of a handler.
    """

    def __init__(
        self,
        host: Host,
        agents: Mapping[str, Agent],
        delivery: Delivery,
        bounds: Bounds,
        outbox: Outbox,
        clock: Clock,
        activity: ActivityFeed,
    ) -> None:
        self._host = host
        self._agents = agents
        self._delivery = delivery
        self._bounds = bounds
        self._outbox = outbox
        self._clock = clock
        self._activity = activity
        self._intensity = {name: RestartIntensity(bounds.restarts, int(bounds.restart_s * NS_PER_S)) for name in agents}
        self.stopped: dict[str, str] = {}
        """Agents that have failed too often and take no more messages, with the reason."""

    async def work(self, thread: Thread, lane: Lane) -> None:
        """Handle a lane's messages until it is empty or its first message must wait for budget."""
        mailbox = self._delivery.mailboxes[lane.agent]
        while lane.runnable and thread.status == "open":
            envelope = lane.queue[0]
            mailbox.take(envelope.size)
            done = False
            try:
                done = await self._handle(thread, lane, envelope)
            finally:
                if not done:  # it waits for budget, or its thread is being ended: it is in the mailbox as before
                    mailbox.put_back(envelope.size)
            if done:
                lane.queue.popleft()
                self._finish(thread, envelope)

    async def _handle(self, thread: Thread, lane: Lane, envelope: Envelope) -> bool:
        """Handle one message; ``False`` when it has to wait for budget."""
        agent = self._agents[lane.agent]
        if isinstance(envelope.payload, RUNTIME_MESSAGES) and not self._wants(agent, envelope):
            return True
        if (why := self.stopped.get(agent.name)) is not None:
            self._delivery.give_up(thread, envelope, "agent_failed", why)
            return True
        attempt = 0
        while True:
            attempt += 1
            with ObservedRun(thread, envelope, attempt, self._activity, self._clock) as observed:
                ending = observed.ended(await Run(self._host, thread, lane, envelope, agent)())
                if isinstance(ending, Done):
                    await self._send(thread, envelope, agent, ending)
                    return True
            if isinstance(ending, Parked):
                lane.parked = ending.shortfall
                self._park_asker(thread, envelope)
                return False
            if attempt >= self._bounds.attempts or not worth_retrying(ending.error):
                self._give_up(thread, agent, envelope, ending.error)
                return True
            self._log_failure(thread, agent, envelope, attempt, ending.error)
            await anyio.sleep(backoff_s(attempt))

    def _wants(self, agent: Agent, envelope: Envelope) -> bool:
        return agent.notes or takes_by_name(agent, type(envelope.payload))

    async def _send(self, thread: Thread, envelope: Envelope, agent: Agent, done: Done) -> None:
        """Send what a handler has returned: all of it, or nothing where one of it cannot go."""
        try:
            outgoing = resolve(agent, envelope, done.drafts, self._agents, self._bounds)
        except (OrganismError, TypeError) as error:
            self._give_up(thread, agent, envelope, error)
            return
        for name, result in done.reports:
            self._report(thread, agent, name, result)
        await self._delivery.send_out(thread, envelope, agent.name, outgoing)
        if envelope.reply_to is not None:
            self._delivery.fail_question(thread, envelope, "it ended without a reply")

    def _report(self, thread: Thread, agent: Agent, name: str, result: str) -> None:
        self._outbox.emit(
            Reported(
                thread_id=thread.id,
                root_thread_id=thread.root,
                agent=agent.name,
                name=name,
                result=result,
                trace_id=trace_id_of(current_trace()),
            )
        )

    def _park_asker(self, thread: Thread, envelope: Envelope) -> None:
        """A question that waits for budget makes its asker wait too, instead of running into its deadline."""
        question = thread.questions.get(envelope.reply_to or "")
        if question is not None:
            question.parked = thread.lane(envelope.recipient).parked
            question.wake()

    def _give_up(self, thread: Thread, agent: Agent, envelope: Envelope, error: Exception) -> None:
        reason = reason_for(error)
        self._delivery.give_up(thread, envelope, reason, describe(error))
        if reason == "handler_failed" and self._intensity[agent.name].fail(self._clock.monotonic_ns()):
            self._stop(thread, agent, error)

    def _stop(self, thread: Thread, agent: Agent, error: Exception) -> None:
        why = (
            f"agent {agent.name!r} has stopped: more than {self._bounds.restarts} of its messages failed within "
            f"{self._bounds.restart_s:g} s, the last one because: {describe(error)}"
        )
        self.stopped[agent.name] = why
        _log.error("agent_stopped", agent=agent.name, reason=why)
        self._outbox.emit(AgentStopped(thread_id=thread.id, root_thread_id=thread.root, agent=agent.name, reason=why))

    def _finish(self, thread: Thread, envelope: Envelope) -> None:
        """Forget what was kept so that the message could be run again."""
        self._host.memo.forget(envelope.id)
        for key in [key for key in thread.asked if key[0] == envelope.id]:
            question = thread.asked.pop(key)
            thread.questions.pop(question.id, None)
        for key in [key for key in thread.spawned if key[0] == envelope.id]:
            del thread.spawned[key]

    def _log_failure(self, thread: Thread, agent: Agent, envelope: Envelope, attempt: int, error: Exception) -> None:
        _log.warning(
            "handler_failed",
            thread_id=thread.id,
            agent=agent.name,
            message_id=envelope.id,
            attempt=attempt,
            attempts=self._bounds.attempts,
            error=describe(error),
            where=raised_at(error),
        )


def describe(error: Exception) -> str:
    """Say an error in one line: ours as they are, others with their type."""
    if isinstance(error, OrganismError):
        return str(error)
    if isinstance(error, ExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


def raised_at(error: Exception) -> str | None:
    """Return ``file:line`` of where a stranger's error was raised; ours say what to do by themselves.

    Not a traceback: rendered with its locals it would put prompts into the log.
    """
    if isinstance(error, OrganismError):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
