"""Threads that are spent from outside: opened without a message, and calls made on them by programs that are no agents.

Such a thread has no mailbox and is never over by itself: it stands until an order ends it. In everything else it is a
thread like any other. Calls may also be made on threads of agents, for as long as these are open.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from msgspec.structs import replace

from organism.amounts import Limits
from organism.budget.holds import Spender
from organism.control.orders.call_approvals import CallApprovals
from organism.errors import BudgetExhaustedError, StoppedError, ThreadClosedError
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest
from organism.router.call import Call
from organism.runtime.pump import Pump
from organism.threads.records import checked
from organism.threads.thread import Thread, ThreadPausedError
from organism.tracing import Work, parse_trace, working

A = TypeVar("A", Completion, Embeddings)


class ExternalThreads:
    """Opens standing threads, and makes the calls that come from outside.

    Args:
        approvals: Asks a person where a limit says so.
    """

    def __init__(self, pump: Pump, approvals: CallApprovals) -> None:
        self._approvals = approvals
        self._threads = pump.open_threads
        self._life = pump.lifecycle
        self._registry = pump.registry
        self._router = pump.router
        self._state_writer = pump.state_writer
        self._intake = pump.intake

    def is_open(self, thread_id: str) -> bool:
        """Whether there is such a thread, standing or of agents, that is not at its end."""
        thread = self._threads.find(thread_id)
        return thread is not None and thread.status != "closing"

    async def look_up(self, thread_id: str) -> None:
        """Ask the journal whether a thread of that name has ended, so that :meth:`open` knows."""
        await self._threads.look_up(thread_id)

    def open(
        self,
        thread_id: str,
        entry: str,
        *,
        limits: Limits | None = None,
        labels: dict[str, str] | None = None,
        trace: str | None = None,
    ) -> None:
        """Open a standing thread.

        Args:
            thread_id: Its name, never used before.
            entry: Who spends it, in the place where others have the agent of their first message.
            limits: Its own limits instead of the configured ones.
            labels: Kept on every usage event of the thread.
            trace: The ``traceparent`` of the caller; one that is malformed is ignored.

        Raises:
            ConfigError: If the name cannot be a thread's.
            ThreadClosedError: If a thread of that name has ended.
            StoppedError: If the organism is stopping.
        """
        self._intake.check()
        if self._threads.has_closed(thread_id):
            raise ThreadClosedError(thread_id)
        self._threads.check_new_id(thread_id)
        labels = checked(labels or {}, dict[str, str], "labels")
        thread = Thread(
            id=thread_id,
            root=thread_id,
            parent=None,
            depth=0,
            entry=entry,
            labels=labels,
            origin=self._intake.origin(trace, standing=True),
        )
        self._registry.open_thread(thread_id, limits=limits, labels=labels)
        self._registry.pause_time(thread_id)
        self._life.begin(thread)

    async def complete(
        self,
        thread_id: str,
        spender: str,
        request: CompletionRequest,
        on_text: DeltaSink | None = None,
        trace: str | None = None,
        asked_s: float | None = None,
    ) -> Completion:
        """Make a call that a thread pays for. The answer is not remembered: the same call made again is a new one.

        Args:
            spender: Who is named as the agent that asks.
            request: What to ask; its ``model`` is one of the configuration.
            on_text: Called with each piece of the answer as it arrives.
            trace: The ``traceparent`` of the caller; the thread's own where there is none.
            asked_s: When it was asked for, on the event loop's clock, if that was not now: its deadline counts from
                there.

        Raises:
            ThreadClosedError: The thread is not open, or was ended during the call, which is charged as abandoned.
            ThreadPausedError: An operator has paused the thread.
            StoppedError: The organism is stopping.
            OrganismError: See :meth:`organism.router.router.LLMRouter.complete`.
        """

        def make(call: Call) -> Awaitable[Completion]:
            return self._router.complete(replace(call, asked_s=asked_s), on_text)

        return await self._paid(thread_id, spender, request, make, trace)

    async def embed(
        self, thread_id: str, spender: str, request: EmbeddingRequest, trace: str | None = None
    ) -> Embeddings:
        """Have vectors made that a thread pays for; see :meth:`complete`."""
        return await self._paid(thread_id, spender, request, self._router.embed, trace)

    def end_idle(self, thread_id: str) -> bool:
        """End a standing thread as done if no call of it is under way; whether it was."""
        thread = self._threads.find(thread_id)
        return thread is not None and thread.standing and self._life.close_idle(thread, "idle")

    async def _paid(
        self,
        thread_id: str,
        spender: str,
        request: Request,
        make: Callable[[Call], Awaitable[A]],
        trace: str | None,
    ) -> A:
        self._intake.check()
        thread = self._threads.get(thread_id)
        if thread.status == "paused":
            raise ThreadPausedError(thread_id)
        call = Call(
            spender=Spender(thread.id, spender, request.model),
            root_thread_id=thread.root,
            request=request,
            labels=thread.labels,
        )
        outside = parse_trace(trace)
        above = str(outside) if outside is not None else thread.origin.trace
        answer: A | None = None
        with self._working(thread), working(Work(thread_id=thread.id, agent=spender, message_id="", trace=above)):
            try:
                answer = await make(call)
            except BudgetExhaustedError as error:
                if error.refusal.cause != "approval":
                    raise
                raise self._approvals.refused(thread, spender, error) from error
        if answer is None:  # it was cut short
            raise ThreadClosedError(thread_id) if thread.status == "closing" else StoppedError
        return answer

    @contextmanager
    def _working(self, thread: Thread) -> Iterator[None]:
        """Do something that the thread's end cuts short; the time of a standing thread runs meanwhile."""
        try:
            with thread.stoppable():
                if thread.standing and len(thread.scopes) == 1:
                    self._registry.resume_time(thread.id)
                    self._keep_time(thread)
                yield
        finally:
            if thread.standing and not thread.scopes:
                self._registry.pause_time(thread.id)
                self._keep_time(thread)
            thread.note_change()

    def _keep_time(self, thread: Thread) -> None:
        """Keep how long a thread has been at work where a limit counts it: it costs a call one more write."""
        if self._registry.budget(thread.id).limits.elapsed_ns is not None:
            self._state_writer.save_thread(thread)
