"""What an organism is made of, as plain values: what a configuration comes to, and what a reload puts in force."""

import msgspec

from organism.agents.agent import Agent
from organism.agents.tools.tool import ToolServer
from organism.budget.holds import Mode
from organism.budget.scopes import BudgetPlan
from organism.llm.provider import Provider
from organism.messages import Message
from organism.pricing.book import Override
from organism.pricing.rates import Rates
from organism.router.call import RouterSettings
from organism.router.planning.plan import ModelPlan
from organism.runtime.active_config import OnExhausted
from organism.runtime.bounds import Bounds


class OrganismSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an organism is made of; each is called as the argument of ``Organism`` it becomes."""

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
