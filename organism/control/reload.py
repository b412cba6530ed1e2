"""Applies another spec to a running organism: checked as a whole, then applied in one step, or not at all.

Runs of handlers finish with the agent they began with, attempts settle with the provider they went to, open threads
keep the limits they were promised. Everything else uses the new parts from the next message and the next attempt on.
"""

from organism.budget.holds import Mode
from organism.clock import utc
from organism.control.components import Components, OrganismSpec
from organism.errors import ConfigError, StoppedError
from organism.pricing.book import PriceBook, ProviderPrices
from organism.router.planning.plan import check_plans
from organism.runtime.active_config import agent_config


def apply_spec(components: Components, spec: OrganismSpec) -> None:
    """Make parts active; a provider, a tool server or an agent that is the same object as before continues.

    Raises:
        ConfigError: If they do not fit together, or name the organism differently. Nothing was changed.
        StoppedError: If the organism is not running. Nothing was changed.
    """
    if spec.name != components.name:
        raise ConfigError(f"a running organism keeps its name {components.name!r}: events are told apart by it")
    if not components.pump.running:
        raise StoppedError
    agents = agent_config(spec.agents, spec.entry, spec.messages, spec.bounds, spec.on_exhausted)
    check_plans(spec.models, spec.providers)
    book = PriceBook(spec.prices, now=lambda: utc(components.clock), otherwise=spec.unpriced_rates)
    prices = ProviderPrices(book, spec.provider_kinds)

    # From here on nothing fails and nothing awaits: every message and every call sees all of it, or none.
    orders = components.orders
    components.prices.replace(prices, spec.provider_kinds)
    components.router.replace(spec.models, spec.providers, prices, spec.router)
    components.budgets.wait_s = spec.wait_s
    orders.budget_changes.replan(spec.limits, spec.thresholds)
    runs = orders.reload.replace(agents)
    components.tool_servers.replace(spec.tool_servers, unused=runs.wait_none)
    switch_mode(components, spec.mode)


def switch_mode(components: Components, mode: Mode) -> None:
    """Change what a reached limit does; where it refuses no more, what waits for budget goes on.

    Mode ``off`` warns of nothing, so what was reached meanwhile is reported when another replaces it.
    """
    orders = components.orders
    components.budgets.mode = mode
    orders.budget_changes.tell_reached()
    if mode != "enforce":
        orders.pausing.release_blocked()
