"""One run of a handler on one message: its guard, its deadline, and how it ends.

Whatever a handler raises is its failure: also what no ``except Exception`` sees, such as ``SystemExit``, and a
``CancelledError`` that nobody meant for it. The one thing that is not the handler's is the cancellation of its worker,
when the pump stops: an enclosing scope is cancelled then, which is how the two are told apart.
"""

import asyncio
import inspect
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

import anyio
from msgspec.structs import replace

from organism.agents.agent import Agent, Output, is_async
from organism.agents.context import Context
from organism.messages import Envelope, Message, own_copy
from organism.runtime.handlers.handler_outcome import (
    HandlerFailed,
    HandlerOutcome,
    HandlerParked,
    HandlerReturned,
    HandlerStopped,
    HandlerTimeoutError,
)
from organism.runtime.handlers.handler_runtime import HandlerRuntime
from organism.runtime.handlers.run_services import RunServices
from organism.runtime.timers import Timer
from organism.runtime.workers.cancel_scope import ContextBoundAwaitable, LeftBehindError, ReusableCancelScope
from organism.text.error_text import defined_at
from organism.threads.lanes import Lane
from organism.threads.thread import Thread
from organism.tracing import Work, work_on

LEAVE_BEHIND_S = 5.0
"""So long after its cancellation a handler may still clean up; then it is left where it is."""


class AgentRunner:
    """What all runs of one agent's handler share.

    Args:
        services: What the runs of all agents share.
        agent: Whose handler.

    Attributes:
        start: Calls a handler that is an async function; ``None`` for a plain one, which runs on a worker thread.
    """

    __slots__ = ("agent", "services", "start")

    def __init__(self, services: RunServices, agent: Agent) -> None:
        self.services = services
        self.agent = agent
        self.start: Callable[[Message, Context], Coroutine[Any, Any, Output]] | None = None
        if is_async(agent.handler):
            self.start = cast("Callable[[Message, Context], Coroutine[Any, Any, Output]]", agent.handler)


class HandlerRun:
    """Runs a handler once.

    Args:
        runner: The agent's.
        thread: Whose message.
        lane: Where it waits.
        envelope: The message.
    """

    _scope: anyio.CancelScope | None = None
    _waiting: ContextBoundAwaitable[Output] | None = None
    _timer: Timer | None = None
    _leave_at: asyncio.TimerHandle | None = None
    _for_thread = False
    _on_thread = False

    def __init__(self, runner: AgentRunner, thread: Thread, lane: Lane, envelope: Envelope) -> None:
        self._runner = runner
        self._thread = thread
        self._lane = lane
        payload = own_copy(envelope.payload)
        self._envelope = envelope if payload is envelope.payload else replace(envelope, payload=payload)

    async def __call__(self, scope_holder: ReusableCancelScope, work: Work) -> HandlerOutcome:
        """Run the handler to an end that the pump can act on.

        One scope serves all that can cut a run short: the end of its thread, a refusal, its deadline, which it has
        from where it first waits. A context of its own keeps what it leaves in context variables from other runs.

        Raises:
            asyncio.CancelledError: The worker itself is being cancelled.
        """
        agent, thread, task = self._runner.agent, self._thread, scope_holder.task
        runtime = HandlerRuntime(self._runner.services, agent, thread, self._lane, self._envelope, task)
        runtime.cut = self.cancel
        ctx = Context(self._envelope, agent.name, runtime)
        context = scope_holder.context.copy()
        context.run(work_on, work)
        cancelling = task.cancelling()
        failure: BaseException | None = None
        done: HandlerReturned | None = None
        scope: anyio.CancelScope | None = None
        try:
            with scope_holder as scope:
                self._scope = scope
                thread.scopes.add(self)
                start = self._runner.start
                coroutine = start(self._envelope.payload, ctx) if start is not None else self._plain(ctx, runtime)
                try:
                    waits_for = context.run(coroutine.send, None)
                except StopIteration as returned:
                    done = runtime.done(returned.value, work.trace)
                else:
                    self._waiting = ContextBoundAwaitable(coroutine, context, waits_for)
                    self._start_timer()
                    done = runtime.done(await self._waiting, work.trace)
        except BaseException as error:
            if self._is_the_worker_s(error):
                raise
            failure = error
        finally:
            runtime.close()
            self._cancel_timers()
            thread.scopes.discard(self)
        if task.cancelling() > cancelling:
            await scope_holder.take_back(cancelling)
        if scope is not None and (scope.cancelled_caught or (scope.cancel_called and failure is not None)):
            return self._cut_short(runtime, failure)
        if runtime.parked is not None:
            return HandlerParked(runtime.parked)
        if done is None or failure is not None:
            return HandlerFailed(failure or asyncio.CancelledError())
        return done

    def cancel(self) -> None:
        """Cut it short; a handler that does not end then is left behind after a while."""
        if self._scope is not None:
            self._scope.cancel()
        if self._leave_at is None and self._waiting is not None:
            self._waiting.cut = True
            # A timer of its own: what keeps the other deadlines may be cancelled as well, and is not needed for this.
            self._leave_at = asyncio.get_running_loop().call_later(LEAVE_BEHIND_S, self._waiting.leave_behind)

    def _is_the_worker_s(self, error: BaseException) -> bool:
        """Whether an exception is none of the handler's: its worker is cancelled, or closed with the event loop."""
        if isinstance(error, GeneratorExit):
            return self._waiting is not None and self._waiting.closed
        return isinstance(error, asyncio.CancelledError) and anyio.current_effective_deadline() == -math.inf

    def _cut_short(self, runtime: HandlerRuntime, failure: BaseException | None) -> HandlerOutcome:
        """Say why, once the run is over."""
        if self._thread.stopping:
            return HandlerStopped()
        if runtime.parked is not None:
            return HandlerParked(runtime.parked)
        agent = self._runner.agent
        if self._for_thread:
            return HandlerFailed(self._runner.services.host.worker_pool.busy(agent.name))
        where = failure.where if isinstance(failure, LeftBehindError) else None
        if self._on_thread:
            where = defined_at(agent.handler)
        return HandlerFailed(HandlerTimeoutError(agent.name, agent.timeout_s, where))

    # -- deadlines ------------------------------------------------------------------------------------------------

    def _start_timer(self) -> None:
        host, timeout_s = self._runner.services.host, self._runner.agent.timeout_s
        self._timer = host.timers.start(timeout_s, self.cancel, self._thread)

    def _cancel_timers(self) -> None:
        # Also lets go of both: they refer back to this run, and nothing is collected that is held in a circle for long.
        timer, self._timer = self._timer, None
        if timer is not None:
            self._runner.services.host.timers.cancel(timer)
        leave_at, self._leave_at = self._leave_at, None
        if leave_at is not None:
            leave_at.cancel()

    # -- plain functions ------------------------------------------------------------------------------------------

    async def _plain(self, ctx: Context, runtime: HandlerRuntime) -> Output:
        """Run a handler that is a plain function on a worker thread; its time runs from when it has one."""

        def begun() -> None:
            self._for_thread, self._on_thread = False, True
            if self._timer is not None:
                self._runner.services.host.timers.cancel(self._timer)
                self._start_timer()

        self._for_thread = True
        try:
            result = await runtime.on_thread(partial(self._runner.agent.handler, self._envelope.payload, ctx), begun)
        except asyncio.CancelledError:
            raise  # the function may be at work still
        except BaseException:
            self._for_thread = self._on_thread = False
            raise
        self._on_thread = False
        if inspect.isawaitable(result):
            result = await result
        return result
