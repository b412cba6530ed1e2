"""What the bus keeps of each open thread: its messages in lanes, its questions, its children, its outputs."""

from collections import deque
from typing import Any, Literal

import anyio
import msgspec

from organism.errors import Shortfall
from organism.messages import Envelope, Message, ThreadResult

ThreadStatus = Literal["open", "blocked", "closing"]
"""``open``: something of it can run. ``blocked``: it waits for budget. ``closing``: it takes nothing new."""

MessageKey = tuple[str, int]
"""A message and the number of a question (or child) within its handler: the same in every run of the handler."""


class Lane:
    """The messages of one thread for one agent, in order, the first being handled.

    Attributes:
        parked: Why the first message waits for budget; ``None`` while it does not.
        joining: Messages that wait for their companions, by sender.
    """

    __slots__ = ("agent", "joining", "parked", "queue", "running", "state")

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.queue: deque[Envelope] = deque()
        self.running = False
        self.parked: Shortfall | None = None
        self.joining: dict[str, deque[Envelope]] = {}
        self.state: dict[str, Any] = {}

    @property
    def runnable(self) -> bool:
        """Whether it has something to handle now."""
        return bool(self.queue) and self.parked is None


class Question:
    """A question on its way: who waits, and what came of it.

    Attributes:
        parked: The question waits for budget, and so must its asker.
    """

    __slots__ = ("answered", "failure", "id", "parked", "recipient", "reply")

    def __init__(self, question_id: str, recipient: str) -> None:
        self.id = question_id
        self.recipient = recipient
        self.answered = anyio.Event()
        self.reply: Message | None = None
        self.failure: str | None = None
        self.parked: Shortfall | None = None

    @property
    def open(self) -> bool:
        """Whether nothing has come of it yet."""
        return self.reply is None and self.failure is None

    def wake(self) -> None:
        """Let the asker look; a new event stands ready for a later wait."""
        self.answered.set()
        self.answered = anyio.Event()


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """When a thread began, and which trace it belongs to.

    Attributes:
        opened_ns: Nanoseconds since the Unix epoch.
        trace: The thread's own trace context, if there is one.
        parent_trace: The context it is nested in: from outside, or of the handler that spawned it.
    """

    opened_ns: int
    trace: str | None = None
    parent_trace: str | None = None


class Thread:
    """One open conversation."""

    def __init__(
        self,
        thread_id: str,
        *,
        root: str,
        parent: str | None,
        depth: int,
        entry: str,
        labels: dict[str, str],
        origin: Origin,
    ) -> None:
        self.id = thread_id
        self.root = root
        self.parent = parent
        self.depth = depth
        self.labels = labels
        self.origin = origin
        self.status: ThreadStatus = "open"
        self.lanes: dict[str, Lane] = {}
        self.questions: dict[str, Question] = {}
        self.asked: dict[MessageKey, Question] = {}
        self.children: set[str] = set()
        self.spawned: dict[MessageKey, Thread] = {}
        self.descendants = 0
        self.entry = entry
        self.result: ThreadResult | None = None
        self.timed = 0
        self.outputs: list[Message] = []
        self.gave_up: str | None = None
        self.blocked_by: Shortfall | None = None
        self.scopes: set[anyio.CancelScope] = set()
        self.changed = anyio.Event()

    def lane(self, agent: str) -> Lane:
        """Return the lane of an agent, made on first use and kept for its state."""
        lane = self.lanes.get(agent)
        if lane is None:
            lane = self.lanes[agent] = Lane(agent)
        return lane

    @property
    def busy(self) -> bool:
        """Whether anything of it runs, can run or will be due."""
        return bool(self.timed) or any(lane.running or lane.runnable for lane in self.lanes.values())

    @property
    def parked(self) -> Shortfall | None:
        """Why one of its messages waits for budget, if one does."""
        return next((lane.parked for lane in self.lanes.values() if lane.parked is not None), None)

    def note_change(self) -> None:
        """Wake whoever waits for the thread to change."""
        self.changed.set()
        self.changed = anyio.Event()


class ThreadView(msgspec.Struct, frozen=True, kw_only=True):
    """A look at one thread.

    Attributes:
        queued: Messages that wait or run, by agent.
        parked: Agents whose message waits for budget.
        children: Open child threads.
        blocked_by: The scope that refused, and every number.
    """

    thread_id: str
    root_thread_id: str
    parent_thread_id: str | None
    status: ThreadStatus
    labels: dict[str, str]
    queued: dict[str, int]
    parked: tuple[str, ...]
    children: tuple[str, ...]
    blocked_by: Shortfall | None


def view(thread: Thread) -> ThreadView:
    """Take a look at a thread."""
    return ThreadView(
        thread_id=thread.id,
        root_thread_id=thread.root,
        parent_thread_id=thread.parent,
        status=thread.status,
        labels=thread.labels,
        queued={lane.agent: len(lane.queue) for lane in thread.lanes.values() if lane.queue},
        parked=tuple(lane.agent for lane in thread.lanes.values() if lane.parked is not None),
        children=tuple(sorted(thread.children)),
        blocked_by=thread.blocked_by,
    )
