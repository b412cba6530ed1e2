"""Threads as events tell of them."""

from organism.messages import ThreadResult
from organism.threads.thread import Thread
from organism.tracing import trace_id_of
from organism.usage.events import ThreadClosed, ThreadOpened


def thread_opened(thread: Thread) -> ThreadOpened:
    """Say that a thread has begun."""
    return ThreadOpened(
        thread_id=thread.id,
        root_thread_id=thread.root,
        entry=thread.entry,
        parent_thread_id=thread.parent,
        labels=thread.labels,
        trace_id=trace_id_of(thread.origin.trace),
        opened_by=thread.origin.opened_by,
    )


def thread_closed(thread: Thread, result: ThreadResult) -> ThreadClosed:
    """Say how a thread has ended."""
    return ThreadClosed(
        thread_id=thread.id,
        root_thread_id=thread.root,
        outcome=result.outcome,
        budget=result.budget,
        reason=result.reason,
        entry=thread.entry,
        opened_ns=thread.origin.opened_ns,
        labels=thread.labels,
        trace=thread.origin.trace,
        parent_trace=thread.origin.parent_trace,
    )
