"""Other parts in a running organism: checked as a whole, then put in force in one step, or not at all.

Runs of handlers finish with the agent they began with, attempts settle with the provider they went to, open threads
keep the limits they were promised. Everything else goes by the new parts from the next message and the next attempt on.
"""

from organism.agents.roster import check_names, known_messages, roster
from organism.amounts import UNLIMITED, Limits
from organism.budget.holds import Mode
from organism.budget.scopes import BudgetPlan
from organism.clock import utc
from organism.control.parts import Parts
from organism.control.rooms import Rooms
from organism.errors import ConfigError, StoppedError
from organism.pricing.book import PriceBook, ProviderPrices
from organism.router.plan import check_plans


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
    _replan(rooms, parts.limits, parts.thresholds)
    rooms.pump.on_exhausted = parts.on_exhausted
    runs = rooms.pump.replacing.replace(agents, parts.bounds)
    rooms.tool_servers.replace(parts.tool_servers, unused=runs.wait_none)
    switch(rooms, parts.mode)


def switch(rooms: Rooms, mode: Mode) -> None:
    """Change what a reached limit does; where it refuses no more, what waits for budget goes on."""
    rooms.budgets.mode = mode
    if mode != "enforce":
        rooms.pump.pauses.release_blocked()


def _replan(rooms: Rooms, plan: BudgetPlan, thresholds: tuple[int, ...]) -> None:
    """Give new threads and all open accounts of windows, agents, models and providers the limits of a plan.

    Open threads keep their own: they were promised to whoever opened them, and are changed one by one.
    """
    before = rooms.budgets.plan
    rooms.budgets.replan(plan, thresholds)
    for account in rooms.ledger.accounts:
        old, new = _planned(before, account), _planned(plan, account)
        if old != new:
            rooms.pump.set_limits(account, new)


def _planned(plan: BudgetPlan, account: str) -> Limits:
    """Return what a plan says of an account; no limit where it says nothing."""
    scope, _, over = account.partition("@")
    kind, _, name = scope.partition(":")
    if kind == "organism":
        return next((limits for window, limits in plan.windows.items() if over.startswith(window)), UNLIMITED)
    by_name = {"agent": plan.agents, "model": plan.models, "provider": plan.providers}.get(kind, {})
    return by_name[name].limits if name in by_name else UNLIMITED
