"""What organism tells the outside about money and threads: one frozen struct per kind of event.

An event is appended in the same step as the ledger entry or the state it reports, so there is never one without the
other. Consumers treat two events of the same ``id`` as one.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Literal, get_args

import msgspec

from organism.amounts import Amounts, BudgetState, Dimension, Limits, TokenUsage, dollars_of
from organism.errors import Refusal
from organism.messages import ThreadOutcome
from organism.usage.attempts import Operation, Outcome


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True, omit_defaults=False, gc=False):
    """What every event carries; the garbage collector need not look, for no event is part of a circle.

    Attributes:
        id: Unique and ascending in the order of the journal; given by the outbox. Empty for what is never stored.
        time_ns: When, in nanoseconds since the Unix epoch, UTC; given by the outbox.
        thread_id: The thread it is about; empty for events about the organism.
        root_thread_id: The thread at the top of its tree.
    """

    id: str = ""
    time_ns: int = 0
    thread_id: str = ""
    root_thread_id: str = ""


class UsageEvent(Event, frozen=True, kw_only=True):
    """One attempt at a model call has been resolved.

    Attributes:
        agent: Who made the call.
        call_id: The call; its attempts share it.
        attempt: Counted from 1.
        provider: The provider's name in the configuration.
        model: The model's name in the configuration.
        request_model: The name sent to the provider.
        response_model: The name the provider answered with; ``None`` without an answer.
        usage: Tokens charged, in disjoint buckets.
        cost_nanousd: Cost in nano-USD; ``None`` when no price is known, which is not zero.
        price_source: Where the price came from, with its version; ``None`` when unknown.
        latency_ns: Nanoseconds from dispatch to resolution.
        outcome: How the attempt was resolved.
        error: What failed, in one line; ``None`` when nothing did.
        overrun: What was settled above the hold.
        budgets: Every account the attempt was charged to, after it.
        labels: What the thread was labelled with when it was opened.
        trace_id: The trace it belongs to, if there is one.
        abandoned: Whether its caller had gone before it was resolved: cancelled, or out of time.
        operation: What the model was asked for.
        usage_note: How the provider's count was read where that was not plain; empty where it was.
    """

    agent: str
    call_id: str
    attempt: int
    provider: str
    model: str
    request_model: str
    response_model: str | None
    usage: TokenUsage
    cost_nanousd: int | None
    price_source: str | None
    latency_ns: int
    outcome: Outcome
    error: str | None = None
    overrun: Amounts = Amounts()
    budgets: tuple[BudgetState, ...] = ()
    labels: dict[str, str] = {}
    trace_id: str | None = None
    abandoned: bool = False
    operation: Operation = "chat"
    usage_note: str = ""

    @property
    def total_tokens(self) -> int:
        """All tokens charged."""
        return self.usage.total

    @property
    def cost_usd(self) -> Decimal | None:
        """The cost in dollars, exactly; ``None`` when no price is known."""
        return None if self.cost_nanousd is None else dollars_of(self.cost_nanousd)

    @property
    def latency_ms(self) -> float:
        """Milliseconds from dispatch to resolution."""
        return self.latency_ns / 1e6


class ThresholdCrossed(Event, frozen=True, kw_only=True):
    """Spend reached a threshold of a limit. Once per account, limit revision, window and threshold.

    Attributes:
        agent: The agent whose call crossed it, or else the first that gets the ``BudgetWarning`` message.
        account: The scope.
        dimension: The unit.
        threshold: Per cent of the limit.
        level: ``warning``, ``critical`` or ``final``.
        limit: The ceiling, in the dimension's integer unit.
        spent: What is settled.
    """

    agent: str
    account: str
    dimension: Dimension
    threshold: int
    level: Literal["warning", "critical", "final"]
    limit: int
    spent: int


class BudgetExceeded(Event, frozen=True, kw_only=True):
    """A limit refused a call, or would have in mode ``audit``. Once per account and limit revision.

    Attributes:
        agent: Who made the call.
        shortfall: The scope that refused, and every number.
        enforced: Whether the call was blocked.
    """

    agent: str
    shortfall: Refusal
    enforced: bool


class ThreadOpened(Event, frozen=True, kw_only=True):
    """A conversation began.

    Attributes:
        entry: The agent its first message went to.
        parent_thread_id: The thread that spawned it; ``None`` at the root.
        trace_id: The trace it belongs to, if there is one.
    """

    entry: str
    parent_thread_id: str | None = None
    labels: dict[str, str] = {}
    trace_id: str | None = None


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
    labels: dict[str, str] = {}
    trace: str | None = None
    parent_trace: str | None = None


class LLMRetry(Event, frozen=True, kw_only=True):
    """An attempt failed and another follows.

    Attributes:
        call_id: The call.
        attempt: The attempt that failed.
        delay_s: Seconds until the next one.
        provider: Where the failed one went.
        next_provider: Where the next one goes.
        reason: Why the attempt failed.
    """

    agent: str
    call_id: str
    attempt: int
    delay_s: float
    provider: str
    next_provider: str
    reason: str


class LLMFailover(Event, frozen=True, kw_only=True):
    """A call goes to another provider than it would have.

    Attributes:
        call_id: The call.
        model: The model's name in the configuration.
        from_provider: Where it would have gone.
        to_provider: Where it goes.
        reason: Why: what failed, what refused, or that the provider has failed too often lately.
    """

    agent: str
    call_id: str
    model: str
    from_provider: str
    to_provider: str
    reason: str


class ModelDegraded(Event, frozen=True, kw_only=True):
    """A call is made with another model than was asked for, because a limit has been spent to a threshold.

    Attributes:
        model: The model asked for, by its name in the configuration.
        to_model: The model that takes its place.
        account: The scope whose spend has reached the threshold.
        threshold: Per cent of the limit.
    """

    agent: str
    call_id: str
    model: str
    to_model: str
    account: str
    dimension: Dimension
    threshold: int


class ApprovalRequested(Event, frozen=True, kw_only=True):
    """A message waits for a person. What exactly is asked is to be had from the organism, not from events.

    Attributes:
        agent: Who asks.
        approval_id: What to answer.
        what: What is to be done, such as a tool's name.
    """

    agent: str
    approval_id: str
    what: str


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


class LimitChanged(Event, frozen=True, kw_only=True):
    """The limits of an account were changed by an operator.

    Attributes:
        account: The scope.
        before: The limits until now.
        after: The limits from now on.
        revision: The number of the new revision.
    """

    account: str
    before: Limits
    after: Limits
    revision: int


class BudgetAdjusted(Event, frozen=True, kw_only=True):
    """What an account has spent was corrected by an operator, as after a provider's invoice or a refund.

    Attributes:
        account: The scope.
        amounts: What was added; negative where spend fell.
        reason: Why, and on whose word.
        budgets: Every account that it counts on, afterwards.
    """

    account: str
    amounts: Amounts
    reason: str
    budgets: tuple[BudgetState, ...]


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


class OperatorAction(Event, frozen=True, kw_only=True):
    """Somebody has done something to the organism from outside: the audit row of a mutation.

    Attributes:
        by: The name of the token it was done with; ``python`` for the program that embeds the organism.
        action: What, such as ``budget.limits`` or ``thread.terminate``.
        target: To what: a thread, an account, an agent, a message; empty for the organism.
        before: What it was, as JSON; ``None`` where that means nothing.
        after: What it is now, as JSON.
    """

    by: str
    action: str
    target: str = ""
    before: str | None = None
    after: str | None = None


class AgentSaid(Event, frozen=True, kw_only=True):
    """A message left an agent; carries content, so it stays in the process unless asked for.

    Attributes:
        agent: The sender.
        recipient: The agent it went to, or ``user``.
        text: The payload as text.
        message_type: The payload's type.
    """

    agent: str
    recipient: str
    text: str
    message_type: str


AnyEvent = (
    UsageEvent
    | ThresholdCrossed
    | BudgetExceeded
    | ThreadOpened
    | ThreadBlocked
    | ThreadResumed
    | ThreadClosed
    | LLMRetry
    | LLMFailover
    | ModelDegraded
    | ApprovalRequested
    | ApprovalDecided
    | AgentStopped
    | DeadLetterEvent
    | LimitChanged
    | BudgetAdjusted
    | Reported
    | OperatorAction
    | AgentSaid
)
"""Every kind of event: what a consumer matches on."""

STORED: tuple[type[AnyEvent], ...] = tuple(kind for kind in get_args(AnyEvent) if kind is not AgentSaid)
"""Every kind that is stored. Who wants only these says so: what agents say need not be made events of then."""

decode_event: Callable[[bytes | str], AnyEvent] = msgspec.json.Decoder(AnyEvent).decode
"""Reads an event from JSON."""
