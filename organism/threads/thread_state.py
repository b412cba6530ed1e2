"""The states of a thread and the moves between them: one table, which :meth:`Thread.move` asks before each change.

A thread that works is ``open``. It becomes ``blocked`` when all that is left of it waits for budget or a person, so
its wall time stops and ``ThreadBlocked`` is emitted; any message that becomes ready opens it again. An operator's pause
takes precedence over both: a paused thread keeps its parked messages, is opened by the resume, and blocks again at
once if nothing of it can run. ``closing`` is a one-way street: no event leads out of it, so a message that arrives, a
resume or a second order to end cannot revive a thread whose budget is being given back. A thread that has closed is
removed; how it ended is in :mod:`organism.threads.ended_threads`.

``dormant`` is about the process and not the conversation: the journal holds the thread and no handler of it may start.
A stop makes open threads dormant, and a recovered thread begins so. Blocked and paused threads need no such state,
for nothing of them runs; they are recovered as they were.

Pure.
"""

from collections.abc import Mapping
from typing import Final, Literal

ThreadStatus = Literal["open", "blocked", "paused", "closing", "dormant"]
"""``open``: something of it can run. ``blocked``: it waits for budget or a person. ``paused``: an operator has stopped
it for a while. ``closing``: it takes nothing new. ``dormant``: in the journal, not run here."""

ThreadEvent = Literal["block", "unblock", "pause", "resume", "halt", "recover", "lose_wait", "close"]
"""``block``: all that is left waits. ``unblock``: a message of it can run. ``pause``, ``resume``: an operator's orders.
``halt``: the process ends. ``recover``: this process takes it up. ``lose_wait``: what a recovered thread waits for is
not in the journal, so its messages run again. ``close``: it is over, or ended by order."""

TRANSITIONS: Final[Mapping[tuple[ThreadStatus, ThreadEvent], ThreadStatus]] = {
    ("open", "block"): "blocked",
    ("open", "pause"): "paused",
    ("open", "halt"): "dormant",
    ("open", "close"): "closing",
    ("blocked", "unblock"): "open",
    ("blocked", "pause"): "paused",
    ("blocked", "lose_wait"): "dormant",
    ("blocked", "close"): "closing",
    ("paused", "resume"): "open",
    ("paused", "close"): "closing",
    ("dormant", "recover"): "open",
    ("dormant", "close"): "closing",
}
"""Every legal move; all others raise."""

LIVE: Final[frozenset[ThreadStatus]] = frozenset({"open", "blocked", "paused"})
"""It takes messages in this process, now or once it is opened again."""

STOPPING: Final[frozenset[ThreadStatus]] = frozenset({"closing", "dormant"})
"""Its handlers end where they are."""

RECOVERED_AS: Final[Mapping[ThreadStatus, ThreadStatus]] = {
    "open": "dormant",
    "dormant": "dormant",
    "blocked": "blocked",
    "paused": "paused",
    "closing": "closing",
}
"""The state a recovered thread begins in, by the one it was written with."""


class IllegalTransitionError(RuntimeError):
    """A thread was given an event that its state does not allow: a defect of the runtime.

    Attributes:
        thread_id: The thread.
        status: Its state.
        event: The event.
    """

    def __init__(self, thread_id: str, status: ThreadStatus, event: ThreadEvent) -> None:
        self.thread_id = thread_id
        self.status = status
        self.event = event
        super().__init__(f"thread {thread_id!r} is {status}, where {event!r} is no legal event")


def next_status(thread_id: str, status: ThreadStatus, event: ThreadEvent) -> ThreadStatus:
    """Return the state after an event.

    Raises:
        IllegalTransitionError: If the table has no such move.
    """
    after = TRANSITIONS.get((status, event))
    if after is None:
        raise IllegalTransitionError(thread_id, status, event)
    return after


def diagram() -> str:
    """Return the table as a Mermaid state diagram, as the documentation shows it."""
    moves: dict[tuple[ThreadStatus, ThreadStatus], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        moves.setdefault((before, after), []).append(event)
    lines = [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in moves.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> open", "    [*] --> dormant", *lines, "    closing --> [*]"])
