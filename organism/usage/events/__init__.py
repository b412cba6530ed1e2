"""What organism tells the outside about money and threads: one frozen struct per kind of event.

An event is appended in the same step as the ledger entry or the state it reports, so there is never one without the
other. Consumers treat two events of the same ``id`` as one.
"""

from collections.abc import Callable
from typing import get_args

import msgspec

from organism.usage.events.calls import (
    BreakerTripped,
    BudgetExceeded,
    LLMFailover,
    LLMRetry,
    ModelDegraded,
    ThresholdCrossed,
    UsageEvent,
)
from organism.usage.events.event import Event
from organism.usage.events.orders import (
    BudgetAdjusted,
    LimitChanged,
    OperatorAction,
    SpendingFrozen,
    SpendingUnfrozen,
)
from organism.usage.events.partitions import PartitionMoved
from organism.usage.events.threads import (
    AgentSaid,
    AgentStopped,
    ApprovalDecided,
    ApprovalRequested,
    DeadLetterEvent,
    EventLoopBlocked,
    Reported,
    ThreadBlocked,
    ThreadClosed,
    ThreadOpened,
    ThreadResumed,
)

__all__ = [
    "STORED",
    "AgentSaid",
    "AgentStopped",
    "AnyEvent",
    "ApprovalDecided",
    "ApprovalRequested",
    "BreakerTripped",
    "BudgetAdjusted",
    "BudgetExceeded",
    "DeadLetterEvent",
    "Event",
    "EventLoopBlocked",
    "LLMFailover",
    "LLMRetry",
    "LimitChanged",
    "ModelDegraded",
    "OperatorAction",
    "PartitionMoved",
    "Reported",
    "SpendingFrozen",
    "SpendingUnfrozen",
    "ThreadBlocked",
    "ThreadClosed",
    "ThreadOpened",
    "ThreadResumed",
    "ThresholdCrossed",
    "UsageEvent",
    "decode_event",
]

AnyEvent = (
    UsageEvent
    | ThresholdCrossed
    | BudgetExceeded
    | BreakerTripped
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
    | EventLoopBlocked
    | LimitChanged
    | BudgetAdjusted
    | SpendingFrozen
    | SpendingUnfrozen
    | Reported
    | OperatorAction
    | PartitionMoved
    | AgentSaid
)
"""Every kind of event: what a consumer matches on."""

STORED: tuple[type[AnyEvent], ...] = tuple(kind for kind in get_args(AnyEvent) if kind is not AgentSaid)
"""Every kind that is stored. Who wants only these says so: what agents say need not be made events of then."""

decode_event: Callable[[bytes | str], AnyEvent] = msgspec.json.Decoder(AnyEvent).decode
"""Reads an event from JSON."""
