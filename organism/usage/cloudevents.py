"""Events in the envelope that the rest of the world knows: CloudEvents 1.0, structured JSON. Pure.

``source`` names the organism and its journal, ``id`` is unique within it and ascending: two envelopes with the same
pair are the same event, whatever way they came.
"""

from datetime import UTC, datetime

import msgspec

from organism.usage import events

MEDIA_TYPE = "application/cloudevents+json"
BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"

_NS_PER_S = 1_000_000_000
_TYPES: dict[type, str] = {
    events.UsageEvent: "llm.usage",
    events.LLMRetry: "llm.retry",
    events.ThresholdCrossed: "budget.threshold",
    events.BudgetExceeded: "budget.exceeded",
    events.BreakerTripped: "breaker.tripped",
    events.LimitChanged: "budget.limits",
    events.BudgetAdjusted: "budget.adjusted",
    events.SpendingFrozen: "spending.frozen",
    events.SpendingUnfrozen: "spending.unfrozen",
    events.ThreadOpened: "thread.opened",
    events.ThreadBlocked: "thread.blocked",
    events.ThreadResumed: "thread.resumed",
    events.ThreadClosed: "thread.closed",
    events.AgentStopped: "agent.stopped",
    events.AgentSaid: "agent.said",
    events.DeadLetterEvent: "message.dead",
    events.EventLoopBlocked: "loop.blocked",
    events.OperatorAction: "operator.action",
    events.PartitionMoved: "partition.moved",
}


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event in its envelope.

    Attributes:
        id: The event's id; unique within the source.
        source: The organism and its journal.
        type: Reverse DNS, with the version of ``data``: ``dev.organism.llm.usage.v1``.
        subject: The thread; the organism itself for events about no thread.
        time: When, RFC 3339, to the nanosecond.
        data: The event; its ``type`` is its name in Python and in filters.
    """

    id: str
    source: str
    type: str
    subject: str
    time: str
    data: events.AnyEvent
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


def type_of(event_type: type) -> str:
    """Return what a kind of event is called in envelopes; a kind without a name of its own goes by its class's."""
    return f"dev.organism.{_TYPES.get(event_type, event_type.__name__.lower())}.v1"


def envelope(event: events.AnyEvent, source: str) -> CloudEvent:
    """Put an event into its envelope."""
    return CloudEvent(
        id=event.id or f"live-{event.time_ns}",
        source=source,
        type=type_of(type(event)),
        subject=event.thread_id or "organism",
        time=rfc3339(event.time_ns),
        data=event,
    )


def rfc3339(time_ns: int) -> str:
    """Write nanoseconds since the Unix epoch as a date and time in UTC."""
    seconds, rest = divmod(time_ns, _NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
