"""What the daemon logs of events: names and numbers, never what agents say."""

import structlog

from organism.usage.events import AnyEvent, BudgetExceeded, ThreadBlocked, ThreadClosed, UsageEvent
from organism.usage.headlines import with_headline

_FIELDS = (
    "agent",
    "call_id",
    "outcome",
    "threshold",
    "account",
    "reason",
    "trace_id",
    "by",
    "action",
    "target",
    "what",
    "approval_id",
    "allowed",
)
"""Fields that are logged of every event that has them."""


def log_event(event: AnyEvent) -> None:
    """Log an event in a line."""
    log = structlog.get_logger("organism.event")
    event = with_headline(event)
    fields = {name: value for name in _FIELDS if (value := getattr(event, name, None)) is not None}
    match event:
        case UsageEvent(usage=usage):
            used = {"tool": event.tool} if event.tool else {"model": event.model}
            fields |= {**used, "tokens": usage.total, "cost_nanousd": event.cost_nanousd}
        case BudgetExceeded(shortfall=shortfall) | ThreadBlocked(shortfall=shortfall):
            fields["refused"] = str(shortfall)
        case ThreadClosed(budget=budget):
            fields |= {"calls": budget.spent.calls, "tokens": budget.spent.tokens}
        case _:
            pass
    log.info(str(type(event).__struct_config__.tag), event_id=event.id, thread_id=event.thread_id, **fields)
