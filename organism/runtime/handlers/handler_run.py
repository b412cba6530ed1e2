"""One run of a handler on one message: how it is started, cut short, and how it ends.

Whatever a handler raises is its failure: also what no ``except Exception`` sees, such as ``SystemExit``, and a
``CancelledError`` that nobody meant for it. The one thing that is not the handler's is the cancellation of its worker,
when the pump stops: an enclosing scope is cancelled then, which distinguishes the two.
"""

import asyncio
import inspect
from functools import partial
from typing import Any

import anyio
import msgspec

from organism.agents.agent import Output
from organism.agents.context import Context
from organism.concurrency.foreign_code import tame
from organism.runtime.handlers.handler_outcome import (
    HandlerFailed,
    HandlerOutcome,
    HandlerStopped,
    HandlerTimeoutError,
    encode_state,
)
from organism.runtime.handlers.handler_runtime import HandlerRuntime
from organism.runtime.waiting.timers import Timer
from organism.runtime.workers.cancel_scope import (
    ContextBoundAwaitable,
    LeftBehindError,
    cancelled_from_outside,
)
from organism.text.error_text import defined_at
from organism.threads.records import BEGAN
from organism.tracing import Work, work_on

LEAVE_BEHIND_S = 5.0
"""So long after its cancellation a handler may still clean up; then it is left where it is."""


class HandlerRun(HandlerRuntime, eq=False):
    """Runs a handler once."""

    _scope: anyio.CancelScope | None = None
    _waiting: ContextBoundAwaitable[Output] | None = None
    _timer: Timer | None = None
    _leave_at: asyncio.TimerHandle | None = None
    _waits_for_thread: bool = False
    _on_thread: bool = False

    async def execute(self) -> HandlerOutcome:
        """Run the handler to an outcome that the message loop can act on.

        One scope serves all that can cut a run short: the end of its thread, a refusal, its timeout, which it has from
        where it first waits. A context of its own keeps what it leaves in context variables from other runs.

        Raises:
            asyncio.CancelledError: The worker itself is being cancelled.
        """
        agent, envelope, holder = self.agent.name, self._envelope, self._holder
        task, context = holder.task, holder.context.copy()
        context.run(work_on, Work(thread_id=self._thread.id, agent=agent, message_id=envelope.id, trace=self.trace))
        # Counted before the handler runs: cancellations from before are the worker's own, those above it the handler's.
        cancelling = task.cancelling()
        failure: BaseException | None = None
        scope: anyio.CancelScope | None = None
        try:
            with holder as scope:
                # Set before anything can cancel the run: a refusal in the handler's first step already needs the scope.
                self._scope = scope
                ctx, start = Context(envelope, agent, self), self._runner.start
                coroutine = self._plain(ctx) if start is None else start(envelope.payload, ctx)
                # Most handlers never wait. Driven by hand to where it first does, one that returns needs no timeout;
                # nothing can come in between that would have to cut it short, or to wait for it.
                try:
                    waits_for = context.run(coroutine.send, None)
                except StopIteration as stop:
                    self.finish(stop.value)
                else:
                    self._waiting = ContextBoundAwaitable(coroutine, context, waits_for)
                    self._begin_to_wait()
                    self.finish(await self._waiting)
        except BaseException as raised:
            error = tame(raised)
            # The worker's cancellation must pass: swallowed here, a pump that stops would wait for this worker without
            # end.
            if self._is_the_worker_s(error):
                raise
            # KeyboardInterrupt and SystemExit of a handler are its failure too: raised on, they would end every
            # thread's work.
            failure = error
        finally:
            # Also when the worker is cancelled: what the handler has left behind must find the run closed.
            self.close()
            if (reservations := self._services.reservations).loops:
                reservations.end_loop((self._thread.id, agent, envelope.id))
            if self._waiting is not None:
                self._waited()
        if task.cancelling() > cancelling:
            # The handler has cancelled the task it runs in. Not taken back, that would hit the next message.
            await holder.take_back(cancelling)
        # A result counts only if nothing cut the run short: a handler that swallows the cancellation of a refusal and
        # returns must not have its message completed while a call of it is parked.
        if failure is None and not scope.cancelled_caught and self.parked is None:  # type: ignore[union-attr]
            return None
        # An error out of a cancelled run comes from its cleanup; what is reported is why the run was cut short.
        if scope is not None and (scope.cancelled_caught or (scope.cancel_called and failure is not None)):
            return self._cut_short(failure)
        if self.parked is not None:
            return self.parked
        return HandlerFailed(failure or asyncio.CancelledError())

    def cancel(self) -> None:
        """Cut it short; a handler that does not end then is left behind after a while."""
        if self._scope is not None:
            # First the scope, then the timer below: a handler that ends in its cleanup never gets as far as being left
            # behind.
            self._scope.cancel()
        if self._leave_at is None and self._waiting is not None:
            self._waiting.cut = True
            # A timer of its own: what keeps the other deadlines may be cancelled as well, and is not needed for this.
            self._leave_at = asyncio.get_running_loop().call_later(LEAVE_BEHIND_S, self._waiting.leave_behind)

    def _is_the_worker_s(self, error: BaseException) -> bool:
        """Whether an exception is none of the handler's: its worker is cancelled, or closed with the event loop."""
        if isinstance(error, GeneratorExit):
            return self._waiting is not None and self._waiting.closed
        return isinstance(error, asyncio.CancelledError) and cancelled_from_outside()

    def _cut_short(self, failure: BaseException | None) -> HandlerOutcome:
        """Say why, once the run is over."""
        # Before the refusal: a thread that ends while a call is refused is over, and its message must not be parked.
        if self._thread.stopping:
            return HandlerStopped()
        if self.parked is not None:
            return self.parked
        agent = self._runner.agent
        if self._waits_for_thread:
            return HandlerFailed(self._services.worker_pool.busy(agent.name))
        where = failure.where if isinstance(failure, LeftBehindError) else None
        if self._on_thread:
            where = defined_at(agent.handler)
        return HandlerFailed(HandlerTimeoutError(agent.name, agent.timeout_s, where))

    # -- the state that its calls are made with -------------------------------------------------------------------

    def first_state(self) -> dict[str, Any] | None:
        """Return the state that this message's paid answers were asked with; ``None`` if none is paid or it is kept."""
        paid = self._services.memo.has_paid(self._thread.id, self._envelope.id)
        began = self.kept(BEGAN) if paid else None
        return None if began is None else msgspec.json.decode(began, type=dict[str, Any])

    def keep_first_state(self) -> None:
        """Keep the present state as the one that this message's answers are asked with.

        Before its first call, so that a crash after that finds it. What an earlier run has kept is replaced: nothing
        of that one is paid, and others may have been handled meanwhile.
        """
        raw = encode_state(self.agent.name, self.state())
        if raw != self.lane.stored or self.kept(BEGAN) is not None:
            self._services.state_writer.save_step(self._thread, self._envelope.id, BEGAN, raw)

    # -- deadlines ------------------------------------------------------------------------------------------------

    def _start_timer(self) -> None:
        self._timer = self._services.timers.start(self.agent.timeout_s, self.cancel, self._thread)

    def _begin_to_wait(self) -> None:
        """Have a place, be cut short by the end of the thread and by the timeout, and be waited for by a reload."""
        if not self.place_lent:
            self._services.places.take(self.lane)
        runs = self._runner.runs
        runs.begin()
        self._thread.scopes[self] = None
        if self._thread.stopping:  # since the loop has looked, by the handler's own first step
            self.cancel()
        self._start_timer()

    def _waited(self) -> None:
        runs = self._runner.runs
        runs.end()
        self._thread.scopes.pop(self, None)
        # Also lets go of both: they refer back to this run, and nothing is collected that is held in a circle for long.
        timer, self._timer = self._timer, None
        if timer is not None:
            self._services.timers.cancel(timer)
        leave_at, self._leave_at = self._leave_at, None
        if leave_at is not None:
            leave_at.cancel()

    # -- plain functions ------------------------------------------------------------------------------------------

    async def _plain(self, ctx: Context) -> Output:
        """Run a handler that is a plain function on a worker thread; its time runs from when it has one."""

        def begun() -> None:
            self._waits_for_thread, self._on_thread = False, True
            if self._timer is not None:
                self._services.timers.cancel(self._timer)
                self._start_timer()

        self._waits_for_thread = True
        try:
            result = await self.on_thread(partial(self._runner.agent.handler, self._envelope.payload, ctx), begun)
        except asyncio.CancelledError:
            # The flags stay as they are: a worker thread cannot be cancelled, and the timeout must say where it still
            # runs.
            raise  # the function may be at work still
        except BaseException:
            self._waits_for_thread = self._on_thread = False
            raise
        self._on_thread = False
        if inspect.isawaitable(result):
            result = await result
        return result
