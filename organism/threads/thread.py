"""What the runtime keeps of each open thread: its messages in lanes, its questions, its children, its outputs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import anyio
import msgspec

from organism.budget.guards.breakers import LoopWatch
from organism.concurrency.wakeups import Wakeup
from organism.errors import DeliveryError, Refusal
from organism.ids import USER
from organism.messages import Envelope, Message, ThreadOutcome, ThreadResult
from organism.threads.approvals import Approval, WaitReason, each_once
from organism.threads.lanes import Lane
from organism.threads.thread_state import STOPPING, ThreadEvent, ThreadStatus, next_status

MessageKey = tuple[str, int]
"""A message and the number of a question (or child) within its handler: the same in every run of the handler."""


class ThreadPausedError(DeliveryError):
    """An operator has paused the thread.

    Attributes:
        thread_id: The thread.
    """

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"thread {thread_id!r} is paused; an operator can let it go on")


class NoMailboxError(DeliveryError):
    """The thread stands for calls from outside: no agent belongs to it, so no message can be for one.

    Attributes:
        thread_id: The thread.
    """

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"thread {thread_id!r} is for model calls from outside and takes no messages; open another")


class Question(msgspec.Struct, eq=False, gc=False):
    """A question on its way: who waits, and what came of it.

    Attributes:
        id: Its message.
        recipient: Who is asked.
        key: Who asks: the message being handled, and which of its handler's questions this is.
        answered: Given when something has come of it.
        reply: The answer.
        failure: Why there is none and will be none.
        parked: The question waits for budget or a person, and so must its asker.
    """

    id: str
    recipient: str
    key: MessageKey
    answered: Wakeup = msgspec.field(default_factory=Wakeup)
    reply: Message | None = None
    failure: str | None = None
    parked: WaitReason | None = None

    @property
    def open(self) -> bool:
        """Whether nothing has come of it yet."""
        return self.reply is None and self.failure is None

    def wake(self) -> None:
        """Let the asker look."""
        self.answered.notify()


class Begun(msgspec.Struct, eq=False, gc=False):
    """What handlers have begun for one message that is not complete: one that runs again takes it up where it was.

    Attributes:
        asked: Its questions, by their number within the message.
        spawned: Its child threads, by the same numbers.
        steps: Work that is done, as JSON, by name.
    """

    asked: dict[int, Question] = {}
    spawned: "dict[int, Thread]" = {}
    steps: dict[str, bytes] = {}


class Origin(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """When a thread began, what began it, and which trace it belongs to.

    Attributes:
        opened_ns: Nanoseconds since the Unix epoch.
        trace: The thread's own trace context, if there is one.
        parent_trace: The context it is nested in: from outside, or of the handler that spawned it.
        spawned_by: The message of its parent whose handler opened it, and as which of its questions.
        standing: Whether no message began it: it was opened for calls from outside, and stands until an order ends it.
        opened_by: Who its first message is from and its outputs go to: ``user``, or the agent that spawned it.
    """

    opened_ns: int
    trace: str | None = None
    parent_trace: str | None = None
    spawned_by: MessageKey | None = None
    standing: bool = False
    opened_by: str = USER


class Cancellable(Protocol):
    """Something that ends soon after its cancellation."""

    def cancel(self) -> None:
        """Tell it to end."""
        ...


class Thread(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """One open conversation.

    Attributes:
        id: Its name.
        root: The thread at the top of its tree.
        parent: The thread that spawned it.
        depth: How many are above it.
        entry: The agent its first message went to.
        labels: Kept on every usage event of it.
        origin: How it began.
        status: What it does.
        ending: How and why it is being ended by order.
        result: How it ended; ``None`` while it is open.
        lanes: Its messages, by agent; those asked beside others have lanes of their own.
        running: How many of its lanes somebody works on, or is about to.
        questions: Those of messages that are not complete, by id.
        begun: What handlers have asked, spawned and done already for messages that are not complete, by message.
        children: The open threads it has spawned, in that order: a set would end them in one that no run repeats.
        descendants: How many were ever spawned below it; counted at the root.
        timed: Messages that are due later, by id.
        outputs: What it has sent to its opener.
        gave_up: Why the last message was given up on.
        blocked_by: What it waits for while it is blocked.
        quiet: Whether it is blocked only until others give back what they hold, so that nobody has been told.
        paused_by: Which breaker has paused it; ``None`` where an operator has.
        watch: What its breakers have counted in this process.
        halting: Whether the process is ending, and its handlers with it; the thread stays as it is.
        waits: How many of its handlers wait for other agents or children.
        time_stands: Whether its wall time stands still although it is open, because all that is left waits for
            something that an operator has paused.
        paused_s: Seconds that something of it was paused, until the last time that this ended.
        paused_since: Since when something of it is paused, on the event loop's clock; ``None`` while nothing is.
        scopes: What is to be cancelled to end it: runs of handlers, and waits.
        changed: Given whenever something of this changes.
    """

    id: str
    root: str
    parent: str | None
    depth: int
    entry: str
    labels: dict[str, str]
    origin: Origin
    status: ThreadStatus = "open"
    ending: tuple[ThreadOutcome, str | None] | None = None
    result: ThreadResult | None = None
    lanes: dict[str, Lane] = {}
    running: int = 0
    questions: dict[str, Question] = {}
    begun: dict[str, Begun] = {}
    children: dict[str, None] = {}
    descendants: int = 0
    timed: dict[str, Envelope] = {}
    outputs: list[Message] = []
    gave_up: str | None = None
    blocked_by: WaitReason | None = None
    quiet: bool = False
    paused_by: Refusal | None = None
    watch: LoopWatch = msgspec.field(default_factory=LoopWatch)
    halting: bool = False
    waits: int = 0
    time_stands: bool = False
    paused_s: float = 0.0
    paused_since: float | None = None
    scopes: dict[Cancellable, None] = {}
    changed: Wakeup = msgspec.field(default_factory=Wakeup)

    def lane(self, agent: str) -> Lane:
        """Return the lane of an agent, made on first use and kept for its state."""
        lane = self.lanes.get(agent)
        if lane is None:
            lane = self.lanes[agent] = Lane(agent)
        return lane

    def lane_of(self, envelope: Envelope) -> Lane:
        """Return the lane of a message: its recipient's, or one beside it where others were asked beside it."""
        home = self.lane(envelope.recipient)
        if not envelope.beside:
            return home
        key = _beside(envelope)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(envelope.recipient, heard=home.heard, home=home)
        return lane

    def forget_lane(self, envelope: Envelope) -> None:
        """Forget the lane that a message had for itself; it is done."""
        self.lanes.pop(_beside(envelope), None)

    def begun_for(self, message_id: str) -> Begun:
        """Return what was begun for a message, to take something down in it."""
        begun = self.begun.get(message_id)
        if begun is None:
            begun = self.begun[message_id] = Begun()
        return begun

    def asked_before(self, key: MessageKey) -> Question | None:
        """Return the question that an earlier run of the same handler has asked at that place."""
        begun = self.begun.get(key[0])
        return None if begun is None else begun.asked.get(key[1])

    def spawned_before(self, key: MessageKey) -> "Thread | None":
        """Return the child that an earlier run of the same handler has spawned at that place."""
        begun = self.begun.get(key[0])
        return None if begun is None else begun.spawned.get(key[1])

    def steps_of(self, message_id: str) -> Mapping[str, bytes]:
        """Return the work that is done for a message."""
        begun = self.begun.get(message_id)
        return {} if begun is None else begun.steps

    def know(self, question: Question) -> None:
        """Take a question down by its id and by who asked it."""
        message_id, index = question.key
        self.begun_for(message_id).asked[index] = question
        self.questions[question.id] = question

    def know_child(self, key: MessageKey, child: "Thread") -> None:
        """Take down which of its questions a handler has spawned a child for."""
        message_id, index = key
        self.begun_for(message_id).spawned[index] = child

    def move(self, event: ThreadEvent) -> None:
        """Change the state: the only place that does, so that nothing goes round the table.

        Raises:
            IllegalTransitionError: If the state does not allow it.
        """
        self.status = next_status(self.id, self.status, event)

    @property
    def stopping(self) -> bool:
        """Whether its handlers are to end where they are, by its end or by that of the process."""
        return self.halting or self.status in STOPPING

    def paused_seconds(self, now_s: float) -> float:
        """Return how many seconds something of it has been paused: no deadline of a handler runs meanwhile."""
        return self.paused_s + (now_s - self.paused_since if self.paused_since is not None else 0.0)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Wait inside this block for something that the end of the thread shall cut short."""
        with anyio.CancelScope() as scope:
            self.scopes[scope] = None
            if self.stopping:
                scope.cancel()
            try:
                yield
            finally:
                self.scopes.pop(scope, None)

    @property
    def busy(self) -> bool:
        """Whether anything of it runs, can run or will be due."""
        if self.running or self.timed:
            return True
        for lane in self.lanes.values():  # noqa: SIM110 - `any` costs three times as much, at each message
            if lane.arriving or lane.runnable:
                return True
        return False

    @property
    def standing(self) -> bool:
        """Whether it is there for calls from outside: nothing but an order ends it."""
        return self.origin.standing

    @property
    def at_work(self) -> bool:
        """Whether its time runs: always while it is open, but of a standing thread only during calls."""
        if self.standing:
            return self.called and self.status in ("open", "closing")
        return self.status in ("open", "closing") and not self.time_stands

    @property
    def called(self) -> bool:
        """Whether it is a standing thread and a call from outside is under way on it."""
        return self.standing and bool(self.scopes)

    @property
    def at_rest(self) -> bool:
        """Whether it has ended, or nothing of it can run until an operator, a person or a caller acts."""
        if self.result is not None or self.status in ("blocked", "paused") or self.time_stands:
            return True
        return self.standing and self.status == "open" and not self.at_work

    @property
    def parked(self) -> WaitReason | None:
        """Why one of its messages waits, if one does."""
        return next((lane.parked for lane in self.lanes.values() if lane.aside), None)

    @property
    def waiting_for(self) -> Iterator[WaitReason]:
        """Why each of its messages waits that does."""
        return (each.waits for lane in self.lanes.values() for each in lane.waiting)

    @property
    def approvals(self) -> tuple[Approval, ...]:
        """What its own messages ask a person; a parent that waits for one of them waits for the same."""
        return tuple(
            each.waits
            for lane in self.lanes.values()
            for each in lane.waiting
            if isinstance(each.waits, Approval) and each.envelope.id == each.waits.message_id
        )

    def note_change(self) -> None:
        """Wake those that wait for the thread to change."""
        self.changed.notify()


def _beside(envelope: Envelope) -> str:
    return f"{envelope.recipient}:{envelope.id}"  # no agent has such a name


class ThreadView(msgspec.Struct, frozen=True, kw_only=True):
    """A look at one thread.

    Attributes:
        queued: Messages that wait or run, by agent.
        parked: Agents whose message waits for budget or a person.
        children: Open child threads.
        blocked_by: The scope that refused, and every number, or the breaker that paused it; ``None`` while it waits for
            a person.
        approvals: What a person is asked.
        opened_ns: When it was opened, nanoseconds since the Unix epoch.
        opened_by: ``user``, or the agent of the parent thread that spawned it.
    """

    thread_id: str
    root_thread_id: str
    parent_thread_id: str | None
    status: ThreadStatus
    labels: dict[str, str]
    queued: dict[str, int]
    parked: tuple[str, ...]
    children: tuple[str, ...]
    blocked_by: Refusal | None
    approvals: tuple[Approval, ...] = ()
    opened_ns: int = 0
    opened_by: str = USER


def view(thread: Thread) -> ThreadView:
    """Take a look at a thread."""
    queued: Counter[str] = Counter()
    for lane in thread.lanes.values():
        if lane.queue or lane.aside:
            queued[lane.agent] += len(lane.queue) + len(lane.waiting)
    return ThreadView(
        thread_id=thread.id,
        root_thread_id=thread.root,
        parent_thread_id=thread.parent,
        status=thread.status,
        labels=thread.labels,
        queued=dict(queued),
        parked=tuple(dict.fromkeys(lane.agent for lane in thread.lanes.values() if lane.aside)),
        children=tuple(sorted(thread.children)),
        blocked_by=thread.paused_by or (thread.blocked_by if isinstance(thread.blocked_by, Refusal) else None),
        approvals=each_once(thread.approvals),
        opened_ns=thread.origin.opened_ns,
        opened_by=thread.origin.opened_by,
    )
