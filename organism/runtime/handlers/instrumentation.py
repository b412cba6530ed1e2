"""Publishes each run of a handler to observers, when there are some."""

from collections.abc import Awaitable

from organism.clock import Clock
from organism.messages import Envelope, type_name
from organism.runtime.handlers.handler_outcome import HandlerFailed, HandlerOutcome, HandlerParked, HandlerStopped
from organism.text.error_text import with_type
from organism.threads.thread import Thread
from organism.usage.activity import ActivityFeed, HandlerRan, RunOutcome


async def instrumented(
    run: Awaitable[HandlerOutcome],
    thread: Thread,
    envelope: Envelope,
    trace: str | None,
    feed: ActivityFeed,
    clock: Clock,
) -> HandlerOutcome:
    """Await a run and tell how it has ended, even where it is cancelled from outside."""
    attempt = thread.lane_of(envelope).attempts + 1
    started_ns, began_ns = clock.now_ns(), clock.monotonic_ns()
    ending: HandlerOutcome = HandlerStopped()
    try:
        ending = await run
    finally:
        outcome, error = _said(ending)
        # A question is asked from inside its asker's run, and nests there; other messages only follow from theirs.
        parent = envelope.trace if envelope.reply_to == envelope.id else thread.origin.trace
        feed.publish(
            HandlerRan(
                thread_id=thread.id,
                root_thread_id=thread.root,
                agent=envelope.recipient,
                message_id=envelope.id,
                message_type=type_name(envelope.payload),
                sender=envelope.sender,
                attempt=attempt,
                hops=envelope.hops,
                queued_ns=max(0, started_ns - envelope.created_ns),
                started_ns=started_ns,
                duration_ns=clock.monotonic_ns() - began_ns,
                outcome=outcome,
                error=error,
                trace=trace,
                parent_trace=parent,
                cause_trace=None if envelope.trace == parent else envelope.trace,
            )
        )
    return ending


def _said(ending: HandlerOutcome) -> tuple[RunOutcome, str | None]:
    """Say how a run has ended, and why."""
    match ending:
        case HandlerParked(waits=waits):
            return "parked", str(waits)
        case HandlerFailed(error=error):
            return "failed", with_type(error)
        case HandlerStopped():
            return "cancelled", None
        case _:
            return "done", None
