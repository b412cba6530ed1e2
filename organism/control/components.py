"""What an organism is made of: as plain values, and as the parts that the composition root makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from organism.agents.agent import Agent
from organism.agents.tool_server_tasks import ToolServers
from organism.agents.tools.tool import ToolServer
from organism.budget.holds import Mode
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.clock import SteadyClock
from organism.control.observed.history import History
from organism.control.orders.thread_orders import ThreadOrders
from organism.errors import ConfigError
from organism.ids import IdSource
from organism.ledger.ledger import Ledger
from organism.llm.provider import Provider
from organism.messages import Message
from organism.pricing.book import Override, PriceBook, ProviderPrices
from organism.pricing.rates import Rates
from organism.router.call import RouterSettings
from organism.router.planning.plan import ModelPlan
from organism.router.planning.provider_limiters import ProviderLimiters
from organism.router.router import LLMRouter
from organism.router.router_config import RouterSpec
from organism.runtime.active_config import ActiveConfig, OnExhausted
from organism.runtime.bounds import Bounds
from organism.runtime.pump import Pump
from organism.usage.activity import ActivityFeed
from organism.usage.event_log import Store
from organism.usage.outbox import Outbox
from organism.usage.tracker import UsageTracker


class OrganismSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an organism is made of; each is called as the argument of ``Organism`` it becomes.

    Attributes:
        configuration: The mark of the file that says so; empty where a program does.
    """

    agents: tuple[Agent, ...]
    tool_servers: tuple[ToolServer, ...]
    messages: tuple[type[Message], ...]
    models: dict[str, ModelPlan]
    providers: dict[str, Provider]
    provider_kinds: dict[str, str]
    prices: dict[str, Override]
    unpriced_rates: Rates | None
    limits: BudgetPlan
    router: RouterSettings
    bounds: Bounds
    name: str
    entry: str
    mode: Mode
    thresholds: tuple[int, ...]
    on_exhausted: OnExhausted
    wait_s: float
    configuration: str = ""

    def router_spec(self, prices: ProviderPrices, limiters: ProviderLimiters | None) -> RouterSpec:
        """Return what the router is made of at these prices, with the limiters that several organisms share."""
        return RouterSpec(
            models=self.models, providers=self.providers, prices=prices, settings=self.router, limiters=limiters
        )


def check_limited(spec: OrganismSpec) -> None:
    """Refuse limits of what does not exist: by a misprint in its name nothing is limited.

    Of agents nothing is known here: keys of a gateway spend under names of their own.

    Raises:
        ConfigError: If there are some, or calls are to degrade and no model has another in its place.
    """
    limits = spec.limits
    for kind, limited, there in (
        ("model", limits.models, spec.models),
        ("provider", limits.providers, spec.providers),
    ):
        if unknown := sorted(set(limited) - set(there)):
            raise ConfigError(f"limits of no {kind}: {', '.join(unknown)}; there are: {', '.join(sorted(there))}")
    rules = (*limits.rules.values(), *(scoped.rule for scoped in limits.all_scoped))
    actions = (*limits.actions, *(each for rule in rules for each in rule.actions))
    if any(action == "degrade" for _, action in actions) and not any(plan.degrade for plan in spec.models.values()):
        raise ConfigError("no model says what takes its place; give one a 'degrade' in models")


class ActivePrices:
    """What models cost now, for those who look; a reload replaces it.

    Attributes:
        prices: What models cost.
        provider_kinds: The kind of each provider in the price data; changed in place, since exporters hold it.
    """

    def __init__(self, prices: ProviderPrices, provider_kinds: Mapping[str, str]) -> None:
        self.provider_kinds: dict[str, str] = {}
        self.replace(prices, provider_kinds)

    def replace(self, prices: ProviderPrices, provider_kinds: Mapping[str, str]) -> None:
        """Make other prices active."""
        self.prices = prices
        self.provider_kinds.clear()
        self.provider_kinds.update(provider_kinds)


@dataclass(frozen=True, kw_only=True)
class Components:
    """The parts of one organism; each is there for its whole life, and a reload changes what is in them.

    Attributes:
        spec: The values that they were made of; a reload changes the parts, not these.
        shared: Whether its providers are others' too, and so not closed with it.
        book: What models cost, as it was at first.
        name: What the organism is called where several are watched.
        active: Agents, message types and bounds.
        prices: What models cost.
        tool_servers: Where tools come from that are not ours.
        router: Makes the model calls.
        pump: Runs the threads.
        orders: What an operator does to threads.
        budgets: The accounts.
        ledger: Their entries.
        journal: Where what happens is kept.
        outbox: Takes events.
        usage: Hands them to listeners.
        activity: Hands activity to observers.
        history: What has happened lately.
        clock: Injected time.
        ids: Injected ids.
    """

    spec: OrganismSpec
    shared: bool
    book: PriceBook
    name: str
    active: ActiveConfig
    prices: ActivePrices
    tool_servers: ToolServers
    router: LLMRouter
    pump: Pump
    orders: ThreadOrders
    budgets: ThreadBudgetRegistry
    ledger: Ledger
    journal: Store
    outbox: Outbox
    usage: UsageTracker
    activity: ActivityFeed
    history: History
    clock: SteadyClock
    ids: IdSource
