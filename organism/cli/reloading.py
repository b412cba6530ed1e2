"""Reading the configuration again: what can change while threads run changes at once, and all of it or nothing."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from organism.amounts import UNLIMITED, Limits
from organism.app import Organism
from organism.budget.scopes import BudgetPlan
from organism.config.build import budget_plan
from organism.config.load import LoadedConfig, load_config
from organism.control.views import Reloaded
from organism.errors import ConfigError

_LIVE = ("mode", "thresholds", "on_exhausted", "limits", "max_tokens_per_thread")
"""Keys that are put in force without a restart."""


def reloader(
    organism: Organism, file: Path, loaded: LoadedConfig, environment: dict[str, str]
) -> Callable[[], Awaitable[Reloaded]]:
    """Return what reads a file again and puts it in force.

    Args:
        organism: Whose configuration it is.
        file: The file.
        loaded: What is in force.
        environment: Where ``${env:NAME}`` is looked up.
    """
    current = loaded

    async def reload() -> Reloaded:
        """Do it.

        Raises:
            ConfigError: If the file is wrong anywhere, or changes what only a restart can.
        """
        nonlocal current
        fresh = load_config(file, environment)
        changed = [key for key in fresh.config.__struct_fields__ if _differs(current, fresh, key)]
        if others := [key for key in changed if key not in _LIVE]:
            raise ConfigError(
                f"a reload cannot change {', '.join(others)}, so nothing was changed; restart the daemon for that",
                where=str(file),
            )
        # From here on nothing fails and nothing awaits: what is in force is the old file or the new one.
        config = fresh.config
        organism.budgets.mode = config.mode
        organism.pump.on_exhausted = config.on_exhausted
        put_in_force(organism, budget_plan(config), tuple(config.thresholds))
        current = fresh
        return Reloaded(tuple(f"{key} changed" for key in changed))

    return reload


def put_in_force(organism: Organism, plan: BudgetPlan, thresholds: tuple[int, ...]) -> None:
    """Give new threads and all open accounts of windows, agents and models the limits of a plan.

    Open threads keep their own: they were promised to whoever opened them, and are changed one by one.
    """
    before = organism.budgets.plan
    organism.budgets.replan(plan, thresholds)
    for account in organism.ledger.accounts:
        old, new = _planned(before, account), _planned(plan, account)
        if old != new:
            organism.pump.set_limits(account, new)


def _planned(plan: BudgetPlan, account: str) -> Limits:
    """Return what a plan says of an account; no limit where it says nothing."""
    scope, _, over = account.partition("@")
    kind, _, name = scope.partition(":")
    if kind == "organism":
        return next((limits for window, limits in plan.windows.items() if over.startswith(window)), UNLIMITED)
    by_name = {"agent": plan.agents, "model": plan.models, "provider": plan.providers}.get(kind, {})
    return by_name[name].limits if name in by_name else UNLIMITED


def _differs(current: LoadedConfig, fresh: LoadedConfig, key: str) -> bool:
    return bool(getattr(current.config, key) != getattr(fresh.config, key))
