"""What every part of the message loop works with; the composition root makes it."""

from dataclasses import dataclass

from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock
from organism.ids import IdSource
from organism.router.router import LLMRouter
from organism.runtime.active_config import ActiveConfig
from organism.threads.envelopes import EnvelopeFactory
from organism.threads.state_writer import ThreadStateWriter
from organism.usage.activity import ActivityFeed
from organism.usage.outbox import Outbox


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopServices:
    """Agents, budgets, router, journal: what every part of the message loop works with.

    Attributes:
        active: Agents and bounds; a reload replaces what is in it.
        registry: The budgets.
        router: Makes the model calls.
        state_writer: Writes threads and messages to the journal.
        outbox: Takes events.
        activity: Receives every run of a handler.
        envelopes: Wraps messages.
        clock: Instants and periods.
        ids: Thread ids.
    """

    active: ActiveConfig
    registry: ThreadBudgetRegistry
    router: LLMRouter
    state_writer: ThreadStateWriter
    outbox: Outbox
    activity: ActivityFeed
    envelopes: EnvelopeFactory
    clock: Clock
    ids: IdSource
