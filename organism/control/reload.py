"""Applies another spec to a running organism: checked as a whole, then applied in one step, or not at all.

Runs of handlers finish with the agent they began with, attempts settle with the provider they went to, open threads
keep the limits they were promised. Everything else uses the new parts from the next message and the next attempt on.
"""

from organism.budget.holds import Mode
from organism.clock import utc
from organism.control.components import Components, OrganismSpec, check_limited
from organism.errors import ConfigError, StoppedError
from organism.pricing.book import PriceBook, ProviderPrices, check_aliases
from organism.router.planning.plan import check_plans
from organism.router.planning.provider_limiters import ProviderLimiters
from organism.router.router_config import check_providers
from organism.runtime.active_config import AgentConfig, InFlightCounter, agent_config


def check_spec(name: str, spec: OrganismSpec) -> AgentConfig:
    """Return the agents of a spec that a running organism of a name can be given.

    Raises:
        ConfigError: If its parts do not fit together, or name the organism differently.
    """
    if spec.name != name:
        raise ConfigError(f"a running organism keeps its name {name!r}: events are told apart by it")
    agents = agent_config(spec.agents, spec.entry, spec.messages, spec.bounds, spec.on_exhausted)
    check_plans(spec.models, spec.providers)
    check_providers(spec.providers)
    check_limited(spec)
    for priced in spec.prices:
        check_aliases(spec.prices, priced)
    return agents


def apply_spec(components: Components, spec: OrganismSpec, limiters: ProviderLimiters | None = None) -> InFlightCounter:
    """Make parts active; a provider, a tool server or an agent that is the same object as before continues.

    Args:
        limiters: Those of the providers, where several organisms share them. Who has made these runs the tool servers
            and closes providers, too, and may have one of these organisms that never runs.

    Returns:
        The runs of handlers that go on with the agents before.

    Raises:
        ConfigError: If they do not fit together, or name the organism differently. Nothing was changed.
        StoppedError: If the organism is not running. Nothing was changed.
    """
    agents = check_spec(components.name, spec)
    if limiters is None and not components.pump.running:
        raise StoppedError
    book = PriceBook(spec.prices, now=lambda: utc(components.clock), otherwise=spec.unpriced_rates)
    prices = ProviderPrices(book, spec.provider_kinds)

    # From here on nothing fails and nothing awaits: every message and every call sees all of it, or none.
    orders = components.orders
    components.prices.replace(prices, spec.provider_kinds)
    components.router.replace(spec.router_spec(prices, limiters))
    components.budgets.wait_s = spec.wait_s
    orders.budget_changes.replan(spec.limits, spec.thresholds)
    runs = orders.reload.replace(agents)
    if limiters is None:
        components.tool_servers.replace(spec.tool_servers, unused=runs.wait_none)
    switch_mode(components, spec.mode)
    return runs


def switch_mode(components: Components, mode: Mode) -> None:
    """Change what a reached limit does; where it refuses no more, what waits for budget goes on.

    Mode ``off`` warns of nothing, so what was reached meanwhile is reported when another replaces it.
    """
    orders = components.orders
    components.budgets.mode = mode
    orders.budget_changes.tell_reached()
    if mode != "enforce":
        orders.pausing.release_blocked()
