"""Watches one run of a handler: names it as its task's work, and tells of it when it has ended."""

from types import TracebackType
from typing import Self

from organism.bus.threads import Thread
from organism.clock import Clock
from organism.messages import Envelope, type_name
from organism.pump.run import Done, Ending, Failed, Parked, Stopped
from organism.tracing import Work, working
from organism.usage.activity import ActivityFeed, HandlerRan, RunOutcome


class ObservedRun:
    """One run of a handler and the sending of what it returned, as a ``with`` block.

    Args:
        thread: Whose message.
        envelope: The message.
        attempt: Counted from 1.
        feed: Who is told.
        clock: Measures.
    """

    __slots__ = (
        "_attempt",
        "_began_ns",
        "_clock",
        "_envelope",
        "_feed",
        "_started_ns",
        "_thread",
        "_told",
        "_trace",
        "_working",
    )

    def __init__(self, thread: Thread, envelope: Envelope, attempt: int, feed: ActivityFeed, clock: Clock) -> None:
        self._thread = thread
        self._envelope = envelope
        self._attempt = attempt
        self._feed = feed
        self._clock = clock
        self._told = not feed.active
        self._trace = feed.child(thread.origin.trace)
        self._working = working(
            Work(thread_id=thread.id, agent=envelope.recipient, message_id=envelope.id, trace=self._trace)
        )

    def __enter__(self) -> Self:
        self._working.__enter__()
        if not self._told:
            self._started_ns = self._clock.now_ns()
            self._began_ns = self._clock.monotonic_ns()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._working.__exit__(exc_type, exc, traceback)
        if not self._told:
            self._tell("cancelled", None)

    def ended(self, ending: Ending) -> Ending:
        """Tell how the handler ended; what follows in the block still belongs to its trace."""
        if not self._told:
            match ending:
                case Done():
                    self._tell("done", None)
                case Parked(waits=waits):
                    self._tell("parked", str(waits))
                case Failed(error=error):
                    self._tell("failed", f"{type(error).__name__}: {error}")
                case Stopped():
                    self._tell("cancelled", None)
        return ending

    def _tell(self, outcome: RunOutcome, error: str | None) -> None:
        self._told = True
        thread, envelope = self._thread, self._envelope
        # A question is asked from inside its asker's run, and nests there; other messages only follow from theirs.
        nested = envelope.reply_to == envelope.id
        parent = envelope.trace if nested else thread.origin.trace
        self._feed.publish(
            HandlerRan(
                thread_id=thread.id,
                root_thread_id=thread.root,
                agent=envelope.recipient,
                message_id=envelope.id,
                message_type=type_name(envelope.payload),
                sender=envelope.sender,
                attempt=self._attempt,
                hops=envelope.hops,
                queued_ns=max(0, self._started_ns - envelope.created_ns),
                started_ns=self._started_ns,
                duration_ns=self._clock.monotonic_ns() - self._began_ns,
                outcome=outcome,
                error=error,
                trace=self._trace,
                parent_trace=parent,
                cause_trace=None if envelope.trace == parent else envelope.trace,
            )
        )
