"""Events of model calls and other costs: what each cost, which limits it met, where it went."""

from decimal import Decimal
from typing import Literal

import msgspec

from organism.amounts import Amounts, BudgetState, Dimension, TokenUsage, dollars_of
from organism.errors import Refusal
from organism.usage.attempts import Operation, Outcome
from organism.usage.events.event import Event


class UsageEvent(Event, frozen=True, kw_only=True):
    """One attempt at a model call has been resolved, or something else that costs money, such as a run of a tool.

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
        operation: What was paid for.
        usage_note: How the provider's count was read where that was not plain; empty where it was. Of a tool: what its
            cost is made of.
        tool: The tool that ran, or what else a handler has paid for. Then there is no model: the names of model and
            provider are empty. Empty for a model call.
        truncated: Whether the answer's stream was closed because it had passed what was held for it.
        message_id: The message whose handling made the call; empty where none did, as through the gateway.
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
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    trace_id: str | None = None
    abandoned: bool = False
    operation: Operation = "chat"
    usage_note: str = ""
    tool: str = ""
    truncated: bool = False
    message_id: str = ""

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
    """A threshold of a limit is warned of. Once per account, limit revision, window and threshold.

    Attributes:
        agent: The agent whose call crossed it, or else the first that gets the ``BudgetWarning`` message.
        account: The scope.
        dimension: The unit.
        threshold: Per cent of the limit.
        level: ``warning``, ``critical`` or ``final``.
        limit: The ceiling, in the dimension's integer unit.
        spent: What is settled.
        calls_left: How many more calls of the present size fit, where the warning comes ahead of its per cent;
            ``None`` where spend has reached it.
        limits_passed: How many further whole limits it stands for, where one call in mode ``audit`` has passed too many
            for an event each; 0 else.
    """

    agent: str
    account: str
    dimension: Dimension
    threshold: int
    level: Literal["warning", "critical", "final"]
    limit: int
    spent: int
    calls_left: int | None = None
    limits_passed: int = 0


class BudgetExceeded(Event, frozen=True, kw_only=True):
    """A limit refused a call, or would have in mode ``audit``. Once per account and limit revision.

    Attributes:
        agent: Who made the call.
        shortfall: The scope that refused, and every number.
        enforced: Whether the call was blocked.
        model: The model's name in the configuration; empty where it was no model call.
    """

    agent: str
    shortfall: Refusal
    enforced: bool
    model: str = ""


class BreakerTripped(Event, frozen=True, kw_only=True):
    """An agent goes round and round, or its thread spends in bursts, and something follows from it.

    Attributes:
        agent: The agent whose calls, tools or messages go round.
        breaker: Which: ``repeat``, ``alternate`` or ``rate``.
        action: What follows: ``note``, ``pause`` or ``stop``; empty where nothing does.
        step: How many times in a row it has tripped.
        text: What goes round, in words: names and counts, never what was said.
    """

    agent: str
    breaker: str
    action: str
    step: int
    text: str


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
