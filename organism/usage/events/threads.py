"""Events of threads, their agents and their messages."""

import msgspec

from organism.amounts import BudgetState
from organism.errors import Refusal
from organism.ids import USER
from organism.messages import ThreadOutcome
from organism.usage.events.event import Event


class ThreadOpened(Event, frozen=True, kw_only=True):
    """A conversation began.

    Attributes:
        entry: The agent its first message went to.
        parent_thread_id: The thread that spawned it; ``None`` at the root.
        trace_id: The trace it belongs to, if there is one.
        opened_by: Who its first message is from: ``user``, or the agent that spawned it.
    """

    entry: str
    parent_thread_id: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    trace_id: str | None = None
    opened_by: str = USER


class ThreadBlocked(Event, frozen=True, kw_only=True):
    """A thread waits for budget: a message of it is parked and nothing else of it can run."""

    agent: str
    shortfall: Refusal


class ThreadResumed(Event, frozen=True, kw_only=True):
    """A thread that waited, for budget or a person, goes on."""


class ThreadClosed(Event, frozen=True, kw_only=True):
    """A thread ended. Exactly one per thread, with its final budget.

    Attributes:
        outcome: How it ended.
        reason: Why, when it did not complete.
        budget: Final spend; nothing is held any more.
        entry: The agent its first message went to.
        opened_ns: When it was opened, nanoseconds since the Unix epoch.
        labels: What it was labelled with.
        trace: Its trace context, if there is one.
        parent_trace: The context it is nested in: from outside, or of the handler that spawned it.
    """

    outcome: ThreadOutcome
    budget: BudgetState
    reason: str | None = None
    entry: str = ""
    opened_ns: int = 0
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    trace: str | None = None
    parent_trace: str | None = None


class ApprovalRequested(Event, frozen=True, kw_only=True):
    """A message waits for a person. Ask the organism for the details; events do not hold them.

    Attributes:
        agent: Who asks.
        approval_id: What to answer.
        what: What is to be done, such as a tool's name; ``more budget`` where that is asked for.
        tokens: The tokens asked for, where more budget is.
        cost_nanousd: The nano-USD asked for, likewise.
        allow_url: Where a person allows it without a token; only in what a webhook with ``answer_link_hours`` is sent.
        deny_url: Where a person denies it, likewise.
    """

    agent: str
    approval_id: str
    what: str
    tokens: int = 0
    cost_nanousd: int = 0
    allow_url: str = ""
    deny_url: str = ""


class ApprovalDecided(Event, frozen=True, kw_only=True):
    """A person has answered what an agent asked: whether it may be done is ``allowed``."""

    agent: str
    approval_id: str
    what: str
    allowed: bool


class AgentStopped(Event, frozen=True, kw_only=True):
    """An agent failed more often than its restart intensity allows and takes no more messages."""

    agent: str
    reason: str


class EventLoopBlocked(Event, frozen=True, kw_only=True):
    """Code has held up the whole process: it ran for long without ``await`` where handlers run.

    Attributes:
        agent: The agent whose handler it was; empty for what no handler did, such as a listener.
        where: The line it was in, as ``file:line``.
        blocked_ns: Nanoseconds for which nothing else could run.
    """

    agent: str
    where: str
    blocked_ns: int


class DeadLetterEvent(Event, frozen=True, kw_only=True, tag="DeadLetter"):
    """A message was given up on.

    Attributes:
        message_id: The envelope.
        message_type: The payload's type.
        sender: Who sent it.
        recipient: Whom it was for.
        reason: The enumerated reason.
        detail: The sentence behind it.
    """

    message_id: str
    message_type: str
    sender: str
    recipient: str
    reason: str
    detail: str


class Reported(Event, frozen=True, kw_only=True):
    """An agent has told the outcome of a decision of its own, such as a review or a gate.

    Attributes:
        name: What was decided on, such as ``review``.
        result: How, such as ``passed``.
    """

    agent: str
    name: str
    result: str
    trace_id: str | None = None


class AgentSaid(Event, frozen=True, kw_only=True):
    """A message left an agent; carries content, so it stays in the process unless asked for.

    Attributes:
        agent: The sender.
        recipient: The agent it went to, or ``user``.
        text: The payload as text.
        message_type: The payload's type.
        output: Whether it is an output of its thread: it went to ``user``, or to the agent that spawned the thread.
    """

    agent: str
    recipient: str
    text: str
    message_type: str
    output: bool = False
