"""What the pump, the router and the journal have just done, for observers in this process: too frequent for events.

Events are few, stored and numbered. Activity is one record per run of a handler, model call and commit, told once as
it happens and kept nowhere. With no observer, little of it is even made: the pump asks :attr:`ActivityFeed.active`.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from organism.concurrency.foreign_code import failure_of
from organism.errors import Refusal
from organism.journal import GroupWritten
from organism.usage.attempts import Operation
from organism.usage.listeners import Failures, check_callback

RunOutcome = Literal["done", "failed", "parked", "cancelled"]
"""How a run of a handler ended. ``cancelled``: its thread was ended by order."""


class HandlerRan(msgspec.Struct, frozen=True, kw_only=True):
    """A handler has run once on one message.

    Attributes:
        attempt: Counted from 1; above it, the handler was restarted.
        hops: Handlers between the thread's first message and this one.
        queued_ns: Nanoseconds from the message's acceptance to this run.
        started_ns: When it began, nanoseconds since the Unix epoch.
        duration_ns: How long it took.
        error: What it failed with.
        trace: Its own trace context.
        parent_trace: The context it is nested in: its thread's, or for a question its asker's.
        cause_trace: The context that sent the message, where that is not the parent.
    """

    thread_id: str
    root_thread_id: str
    agent: str
    message_id: str
    message_type: str
    sender: str
    attempt: int
    hops: int
    queued_ns: int
    started_ns: int
    duration_ns: int
    outcome: RunOutcome
    error: str | None = None
    trace: str | None = None
    parent_trace: str | None = None
    cause_trace: str | None = None


class CallContent(msgspec.Struct, frozen=True):
    """What was said in a call: turns of role and text, and the answer."""

    prompt: tuple[tuple[str, str], ...]
    answer: str


class CallEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A model call has ended for its caller; attempts that still go on tell their usage later.

    Attributes:
        attempts: How many left the machine; each has one usage event with this ``call_id``.
        started_ns: When it began, nanoseconds since the Unix epoch.
        duration_ns: How long its caller waited.
        provider_ns: So much of that for the provider; the rest went to waiting for budget and between attempts.
        output_cap: The most tokens the caller asked for.
        streamed: Whether the caller follows the answer as it is written.
        finish_reason: Why the answer ends.
        shortfall: The scope that refused it, if one did.
        error: What it ended with, as ``Type: text``.
        content: Present only when an observer wants content.
        operation: What the model was asked for.
    """

    thread_id: str
    root_thread_id: str
    agent: str
    call_id: str
    model: str
    attempts: int
    started_ns: int
    duration_ns: int
    provider_ns: int
    output_cap: int
    streamed: bool
    finish_reason: str | None = None
    shortfall: Refusal | None = None
    error: str | None = None
    trace: str | None = None
    parent_trace: str | None = None
    content: CallContent | None = None
    operation: Operation = "chat"


Activity = HandlerRan | CallEnded | GroupWritten
Observer = Callable[[Activity], None]
"""Called with every activity; must not block."""


class Tracer(Protocol):
    """Gives spans their place in a trace before they begin, so that it can travel ahead of them."""

    def begin(self, parent: str | None) -> str:
        """Return the context of a thread's span, below a context from outside or as the root of a new trace."""
        ...

    def child(self, parent: str) -> str:
        """Return the context of a span below another."""
        ...


class ActivityFeed:
    """Hands activity to observers and asks the tracer, if there is one, for trace contexts.

    Attributes:
        tracer: Who makes trace contexts; without one, a context from outside is handed on unchanged.
        active: Whether anybody observes.
        wants_content: Whether prompts and answers are part of the activity.
    """

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self.wants_content = False
        self.active = False
        self._observers: tuple[tuple[Observer, Failures], ...] = ()

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Have a function called with every activity; what it raises is logged and harms nobody.

        Returns:
            A function that ends it.

        Raises:
            TypeError: If it is no plain function.
        """
        check_callback(observer)
        entry = (observer, Failures(observer, "observer_failed"))
        self._observers = (*self._observers, entry)
        self.active = True

        def stop() -> None:
            self._observers = tuple(other for other in self._observers if other is not entry)
            self.active = bool(self._observers)

        return stop

    def trace_with(self, tracer: Tracer, *, content: bool) -> None:
        """Have a tracer make trace contexts from now on, and put prompts and answers into activity if it wants them."""
        self.tracer = tracer
        self.wants_content = content

    def publish(self, activity: Activity) -> None:
        """Tell all observers; never raises."""
        for observer, failures in self._observers:
            if (failure := failure_of(observer, activity)) is not None:
                failures.add(failure)

    def begin(self, parent: str | None) -> str | None:
        """Return the trace context of a thread that begins."""
        return parent if self.tracer is None else self.tracer.begin(parent)

    def child(self, parent: str | None) -> str | None:
        """Return the trace context of work inside other work."""
        return parent if self.tracer is None or parent is None else self.tracer.child(parent)
