"""The rooms that an operator's view and orders go to; :class:`organism.app.Organism` has them all."""

from collections.abc import Mapping
from typing import Protocol

from organism.agents.agent import Agent
from organism.agents.tool_server_tasks import ToolServers
from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock
from organism.control.orders.thread_orders import ThreadOrders
from organism.ids import IdSource
from organism.ledger.ledger import Ledger
from organism.llm.provider import Provider
from organism.messages import MessageRegistry
from organism.pricing.book import ProviderPrices
from organism.router.router import LLMRouter
from organism.runtime.pump import Pump
from organism.usage.event_log import Store
from organism.usage.outbox import Outbox
from organism.usage.tracker import UsageTracker


class Components(Protocol):
    """What an organism is made of, as far as an operator is concerned."""

    name: str
    entry: str
    agents: Mapping[str, Agent]
    providers: dict[str, Provider]
    provider_kinds: dict[str, str]
    prices: ProviderPrices
    tool_servers: ToolServers
    router: LLMRouter
    pump: Pump
    orders: ThreadOrders
    budgets: ThreadBudgetRegistry
    ledger: Ledger
    journal: Store
    outbox: Outbox
    usage: UsageTracker
    messages: MessageRegistry
    ids: IdSource

    @property
    def clock(self) -> Clock:
        """Injected time."""
        ...
