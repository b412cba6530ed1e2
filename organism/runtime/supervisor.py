"""What follows when a handler fails: another run after a pause, a dead letter, or the end of its agent.

As in Erlang/OTP, one bad message costs its agent one failure and not its life: a message is tried a bounded number of
times, and only too many messages given up on within a period stop the agent.
"""

from functools import partial
from typing import Literal

import anyio

from organism.agents.agent import Agent
from organism.amounts import NS_PER_S
from organism.concurrency.safe_log import safe_logger
from organism.errors import BudgetExhaustedError, Refusal
from organism.journal import JournalError
from organism.messages import Envelope
from organism.runtime.delivery import Delivery
from organism.runtime.handlers.handler_outcome import ProcessEndedError
from organism.runtime.handlers.restart import BACKOFF_MAX_S, RestartIntensity, backoff_s, reason_for, worth_retrying
from organism.runtime.loop_services import LoopServices
from organism.runtime.workers.cancel_scope import despite_stray_cancels
from organism.text.error_text import defined_at, describe, raised_at
from organism.text.redaction import headline
from organism.threads.lanes import Lane
from organism.threads.thread import Thread
from organism.usage.events import AgentStopped

Verdict = Literal["retry", "give_up"] | Refusal
"""What a failed run leads to; a refused budget that the message is to wait for after all."""

_log = safe_logger("organism.pump")


class Supervisor:
    """Decides what follows a failure."""

    def __init__(self, services: LoopServices, delivery: Delivery) -> None:
        self._active = services.active
        self._delivery = delivery
        self._state_writer = services.state_writer
        self._outbox = services.outbox
        self._clock = services.clock
        self._intensity: dict[str, RestartIntensity] = {}

    def refuse(self, thread: Thread, lane: Lane, envelope: Envelope) -> bool:
        """Make a message a dead letter whose agent has stopped, or that has had all its attempts; whether it is one."""
        name = lane.agent
        # Checked when its turn comes, not when it is sent: an agent may stop, or be resumed, while messages wait in
        # lanes.
        if name in self._active.stopped:
            self._delivery.give_up(thread, envelope, "agent_failed", self._active.stopped[name])
        elif lane.attempts >= self._active.bounds.attempts:
            # Its attempts were counted by starts: the process died in each of its runs. One more could kill this one.
            error = ProcessEndedError(name, lane.attempts)
            self.give_up(thread, envelope, error)
            self.count_failure(thread, name, error)
        else:
            return False
        return True

    async def on_failure(
        self, thread: Thread, lane: Lane, envelope: Envelope, error: BaseException, agent: Agent
    ) -> Verdict:
        """Count a failed run, and wait before the next if there is to be one."""
        if isinstance(error, JournalError):
            # Nothing is wrong with the message, and its attempts must last until there is room on the disk again.
            await despite_stray_cancels(partial(_pause, thread, BACKOFF_MAX_S))
            return "retry"
        # Counted before anything is decided, so that no path below can give a failing message an attempt for free.
        attempts = lane.count_try(envelope)
        shortfall = (
            error.refusal if isinstance(error, BudgetExhaustedError) and error.refusal.final_reserve_open else None
        )
        # A missing key or a bad request fails the same way each time: retrying would only pay for it again.
        again = shortfall is not None or worth_retrying(error) or self._replaced(agent)
        if attempts >= self._active.bounds.attempts or not again:
            return "give_up"
        if shortfall is not None:
            # The handler has let the refusal pass; with the warning before it, its next run may make its final call. It
            # counts as an attempt, for such an error is soon forged.
            return shortfall
        # Written before the pause: a message that kills the process during its next run must not be tried without end.
        self._state_writer.save_attempts(lane, envelope)
        self._log_failure(thread, envelope, attempts, error)
        await despite_stray_cancels(partial(_pause, thread, backoff_s(attempts)))
        return "retry"

    def _replaced(self, agent: Agent) -> bool:
        """Whether another has taken its place: it may fail for what is gone, so its successor is to have a try."""
        return self._active.agents.get(agent.name, agent) is not agent

    def give_up(self, thread: Thread, envelope: Envelope, error: BaseException) -> None:
        """Make a message a dead letter, with the place that failed."""
        where = self._where(envelope.recipient, error)
        self._delivery.give_up(thread, envelope, reason_for(error), describe(error), where)

    def count_failure(self, thread: Thread, agent: str, error: BaseException) -> None:
        """Count a message that was given up on, and stop its agent if that is one too many."""
        # A refused budget or a recipient that takes no messages says nothing against the agent: stopping it would keep
        # its other threads from working.
        if reason_for(error) != "handler_failed":
            return
        bounds = self._active.bounds
        failures = self._intensity.setdefault(agent, RestartIntensity())
        # Monotonic, since a step of the system's clock could forget failures, or put years of them into one period.
        if failures.fail(self._clock.monotonic_ns(), bounds.restarts, int(bounds.restart_s * NS_PER_S)):
            self._stop(thread, agent, error)

    def _stop(self, thread: Thread, agent: str, error: BaseException) -> None:
        bounds = self._active.bounds
        why = (
            f"agent {agent!r} has stopped: more than {bounds.restarts} of its messages failed within "
            f"{bounds.restart_s:g} s, the last one because: {describe(error)}"
        )
        self._active.stopped[agent] = why
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
    # The pause ends with its thread: otherwise terminating a thread would wait for the longest backoff.
    with thread.stoppable():
        await anyio.sleep(seconds)
