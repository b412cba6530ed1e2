"""Other parts in a running organism: checked as a whole, then put in force in one step, or not at all.

Runs of handlers finish with the agent they began with, attempts settle with the provider they went to, open threads
keep the limits they were promised. Everything else goes by the new parts from the next message and the next attempt on.
"""

from organism.agents.agent_registry import agents_by_name, check_names, known_messages
from organism.budget.holds import Mode
from organism.clock import utc
from organism.control.components import Components
from organism.control.organism_spec import OrganismSpec
from organism.errors import ConfigError, StoppedError
from organism.pricing.book import PriceBook, ProviderPrices
from organism.router.planning.plan import check_plans


def apply_spec(components: Components, spec: OrganismSpec) -> None:
    """Put parts in force; a provider, a tool server or an agent that is the same object as before simply goes on.

    Raises:
        ConfigError: If they do not fit together, or name the organism differently. Nothing was changed.
        StoppedError: If the organism is not running. Nothing was changed.
    """
    if spec.name != components.name:
        raise ConfigError(f"a running organism keeps its name {components.name!r}: events are told apart by it")
    if not components.pump.running:
        raise StoppedError
    agents = agents_by_name(spec.agents)
    check_names(agents, spec.entry)
    check_plans(spec.models, spec.providers)
    messages = known_messages(agents, spec.messages)
    book = PriceBook(spec.prices, now=lambda: utc(components.clock), otherwise=spec.unpriced_rates)
    prices = ProviderPrices(book, spec.provider_kinds)

    # From here on nothing fails and nothing awaits: what is in force is the one or the other.
    components.agents, components.entry, components.messages = agents, spec.entry, messages
    components.providers = dict(spec.providers)
    components.provider_kinds.clear()  # exporters look things up in this very dictionary
    components.provider_kinds.update(spec.provider_kinds)
    components.prices = prices
    components.router.replace(spec.models, spec.providers, prices, spec.router)
    components.budgets.wait_s = spec.wait_s
    components.orders.budget_changes.replan(spec.limits, spec.thresholds)
    runs = components.orders.reload.replace(agents, spec.bounds, spec.on_exhausted)
    components.tool_servers.replace(spec.tool_servers, unused=runs.wait_none)
    switch_mode(components, spec.mode)


def switch_mode(components: Components, mode: Mode) -> None:
    """Change what a reached limit does; where it refuses no more, what waits for budget goes on.

    Mode ``off`` warns of nothing, so what was reached meanwhile is told when another takes its place.
    """
    components.budgets.mode = mode
    components.orders.budget_changes.tell_reached()
    if mode != "enforce":
        components.orders.pausing.release_blocked()
