"""Other parts in a running organism: checked as a whole, then put in force in one step, or not at all.

Runs of handlers finish with the agent they began with, attempts settle with the provider they went to, open threads
keep the limits they were promised. Everything else goes by the new parts from the next message and the next attempt on.
"""

from organism.agents.agent_registry import check_names, known_messages, roster
from organism.budget.holds import Mode
from organism.clock import utc
from organism.control.components import Rooms
from organism.control.organism_spec import Parts
from organism.errors import ConfigError, StoppedError
from organism.pricing.book import PriceBook, ProviderPrices
from organism.router.planning.plan import check_plans


def put_in_force(rooms: Rooms, parts: Parts) -> None:
    """Put parts in force; a provider, a tool server or an agent that is the same object as before simply goes on.

    Raises:
        ConfigError: If they do not fit together, or name the organism differently. Nothing was changed.
        StoppedError: If the organism is not running. Nothing was changed.
    """
    if parts.name != rooms.name:
        raise ConfigError(f"a running organism keeps its name {rooms.name!r}: events are told apart by it")
    if not rooms.pump.running:
        raise StoppedError
    agents = roster(parts.agents)
    check_names(agents, parts.entry)
    check_plans(parts.models, parts.providers)
    messages = known_messages(agents, parts.messages)
    book = PriceBook(parts.prices, now=lambda: utc(rooms.clock), otherwise=parts.unpriced_rates)
    prices = ProviderPrices(book, parts.provider_kinds)

    # From here on nothing fails and nothing awaits: what is in force is the one or the other.
    rooms.agents, rooms.entry, rooms.messages = agents, parts.entry, messages
    rooms.providers = dict(parts.providers)
    rooms.provider_kinds.clear()  # exporters look things up in this very dictionary
    rooms.provider_kinds.update(parts.provider_kinds)
    rooms.prices = prices
    rooms.router.replace(parts.models, parts.providers, prices, parts.router)
    rooms.budgets.wait_s = parts.wait_s
    rooms.pump.budget_changes.replan(parts.limits, parts.thresholds)
    rooms.pump.on_exhausted = parts.on_exhausted
    runs = rooms.pump.reload.replace(agents, parts.bounds)
    rooms.tool_servers.replace(parts.tool_servers, unused=runs.wait_none)
    switch(rooms, parts.mode)


def switch(rooms: Rooms, mode: Mode) -> None:
    """Change what a reached limit does; where it refuses no more, what waits for budget goes on.

    Mode ``off`` warns of nothing, so what was reached meanwhile is told when another takes its place.
    """
    rooms.budgets.mode = mode
    rooms.pump.budget_changes.tell_reached()
    if mode != "enforce":
        rooms.pump.pausing.release_blocked()
