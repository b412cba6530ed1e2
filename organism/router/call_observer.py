"""Observes one model call from its caller's side and publishes its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from organism.clock import Clock
from organism.errors import BudgetExhaustedError
from organism.llm.provider import Answer
from organism.router.attempt import Attempt
from organism.router.call import Call
from organism.text.error_text import with_type
from organism.tracing import Work, current_work, working
from organism.usage.activity import ActivityFeed, CallContent, CallEnded


class ObservedCall:
    """A call while its caller waits. It is the task's current work, so that requests and log lines carry its ids.

    Args:
        streamed: Whether the caller reads the answer as a stream.
    """

    def __init__(self, call: Call, call_id: str, *, streamed: bool, feed: ActivityFeed, clock: Clock) -> None:
        self._call = call
        self._call_id = call_id
        self._streamed = streamed
        self._feed = feed
        self._clock = clock
        self._attempts = 0
        self._provider_ns = 0
        self._running: list[Attempt] = []
        self._since_ns: int | None = None
        self._answer: Answer | None = None
        outer = current_work() or Work(thread_id=call.spender.thread_id, agent=call.spender.agent, message_id="")
        self._parent_trace = outer.trace
        self.trace = feed.child(outer.trace)
        self._working = working(replace(outer, call_id=call_id, trace=self.trace))

    def __enter__(self) -> Self:
        self._working.__enter__()
        self._started_ns = self._clock.now_ns()
        self._began_ns = self._clock.monotonic_ns()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._working.__exit__(exc_type, exc, traceback)
        if self._feed.active:
            self._feed.publish(self._ended(exc))

    @contextmanager
    def attempt(self, attempt: Attempt) -> Iterator[None]:
        """Count an attempt that leaves within the block, and its time; overlapping attempts count their time once."""
        self._running.append(attempt)
        try:
            yield
        finally:
            self._running.remove(attempt)
            if attempt.started_ns >= 0:
                self._attempts += 1
                since_ns = attempt.started_ns if self._since_ns is None else min(attempt.started_ns, self._since_ns)
                if any(other.started_ns >= 0 for other in self._running):
                    self._since_ns = since_ns
                else:
                    self._provider_ns += self._clock.monotonic_ns() - since_ns
                    self._since_ns = None

    def answered(self, answer: Answer) -> Answer:
        """Record the answer, and return it."""
        self._answer = answer
        return answer

    def _ended(self, exc: BaseException | None) -> CallEnded:
        call, answer = self._call, self._answer
        return CallEnded(
            thread_id=call.spender.thread_id,
            root_thread_id=call.root_thread_id,
            agent=call.spender.agent,
            call_id=self._call_id,
            model=call.spender.model,
            operation=call.request.operation,
            attempts=self._attempts,
            started_ns=self._started_ns,
            duration_ns=self._clock.monotonic_ns() - self._began_ns,
            provider_ns=self._provider_ns,
            output_cap=call.request.max_output_tokens,
            streamed=self._streamed,
            finish_reason=answer.finish_reason if answer is not None else None,
            shortfall=exc.refusal if isinstance(exc, BudgetExhaustedError) else None,
            error=None if exc is None else with_type(exc),
            trace=self.trace,
            parent_trace=self._parent_trace,
            content=self._content() if self._feed.wants_content else None,
        )

    def _content(self) -> CallContent:
        return CallContent(self._call.request.turns, self._answer.text if self._answer is not None else "")
