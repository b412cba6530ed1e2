"""How a model of the configuration is served: its routes, and its cheaper replacement. Pure."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from organism.amounts import BudgetState, Dimension
from organism.budget.guards.actions import Actions, degrades_at
from organism.budget.thresholds import reached
from organism.errors import ConfigError

Strategy = Literal["failover", "round_robin", "least_loaded", "cheapest"]
"""``failover``: always the first route first. ``round_robin``: each call begins one route further. ``least_loaded``:
the provider with the fewest attempts under way. ``cheapest``: the lowest known price."""


class Route(msgspec.Struct, frozen=True):
    """A provider of the configuration, and a model's name there."""

    provider: str
    model: str


class Degrade(msgspec.Struct, frozen=True):
    """The model that replaces another when the budget runs low.

    Attributes:
        at: Per cent of any limit of the call that must be spent; ``None``: where a limit's thresholds say so.
        to: The other model's name in the configuration.
    """

    at: int | None
    to: str


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the configuration.

    Attributes:
        name: Its name in the configuration.
        routes: Its routes, preferred ones first; never empty.
        strategy: In which order routes are tried.
        degrade: Which model takes its place when the budget runs low; ``None`` for none.
        hedge_after_s: Seconds without an answer after which the next route is asked as well; ``None`` for never.
    """

    name: str
    routes: tuple[Route, ...]
    strategy: Strategy = "failover"
    degrade: Degrade | None = None
    hedge_after_s: float | None = None


class Degraded(msgspec.Struct, frozen=True):
    """A replacement of one model by another.

    Attributes:
        model: The model replaced.
        to_model: Its replacement.
        account: The account whose spend is the reason.
        dimension: The unit.
        threshold: Per cent of the limit that is spent.
    """

    model: str
    to_model: str
    account: str
    dimension: Dimension
    threshold: int


def degraded(
    plan: ModelPlan, budgets: Iterable[BudgetState], actions_of: Callable[[str], Actions] = lambda _account: ()
) -> Degraded | None:
    """Return the replacement of a model if one of a call's budgets has reached its ``degrade`` threshold.

    Args:
        budgets: What its calls hold on.
        actions_of: What happens at thresholds of an account: it may spare the budget before the model does.
    """
    if (degrade := plan.degrade) is None:
        return None
    for state in budgets:
        at = degrades_at(actions_of(state.account), degrade.at)
        for dimension, threshold in reached(state.limits, state.spent, state.elapsed_ns, () if at is None else (at,)):
            return Degraded(plan.name, degrade.to, state.account, dimension, threshold)
    return None


def model_plan(name: str, model: str | ModelPlan) -> ModelPlan:
    """Read ``provider/model`` as a model with one route.

    Raises:
        ConfigError: If it is no text with a slash in it.
    """
    if isinstance(model, ModelPlan):
        return model
    given: object = model
    provider, slash, served = given.partition("/") if isinstance(given, str) else ("", "", "")
    if not (provider and slash and served):
        raise ConfigError(f"model {name!r} must be given as 'provider/model', not {model!r}")
    return ModelPlan(name=name, routes=(Route(provider, served),))


ANY = "*"
"""Ends a pattern of names; in its routes it stands for the rest of the name that was asked for."""

NAME_MAX = 200
"""The longest name that a pattern matches; no vendor has longer ones."""


def pattern_of(name: str, models: Iterable[str]) -> str | None:
    """Return the longest pattern, such as ``claude-*``, that matches a name; ``None`` if none does."""
    if ANY in name or not 0 < len(name) <= NAME_MAX:
        return None
    fitting = (each for each in models if each.endswith(ANY) and name.startswith(each[:-1]))
    return max(fitting, key=len, default=None)


class ModelPlans(Mapping[str, ModelPlan]):
    """Models by name; other names are served by the longest pattern that matches.

    Iterating yields names without patterns.

    Args:
        plans: The models and patterns, by their names in the configuration.
    """

    def __init__(self, plans: Mapping[str, ModelPlan]) -> None:
        self.written: dict[str, ModelPlan] = dict(plans)

    def __getitem__(self, name: str) -> ModelPlan:
        """Return how a model is served.

        Raises:
            KeyError: If nothing stands for that name.
        """
        if ANY not in name and name in self.written:
            return self.written[name]
        if (pattern := pattern_of(name, self.written)) is None:
            raise KeyError(name)
        plan, rest = self.written[pattern], name[len(pattern) - 1 :]
        routes = (msgspec.structs.replace(route, model=_filled(route.model, rest)) for route in plan.routes)
        return msgspec.structs.replace(plan, name=name, routes=tuple(routes))

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.written if not name.endswith(ANY))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _filled(model: str, rest: str) -> str:
    return model[:-1] + rest if model.endswith(ANY) else model


def check_plans(plans: Mapping[str, ModelPlan], providers: Container[str]) -> None:
    """Refuse models whose routes or replacements do not exist, or degrade in a circle.

    Raises:
        ConfigError: If there is one.
    """
    for plan in plans.values():
        for route in plan.routes:
            if route.provider not in providers:
                raise ConfigError(f"model {plan.name!r} is routed to provider {route.provider!r}, which does not exist")
        seen = [plan.name]
        while (degrade := plans[seen[-1]].degrade) is not None:
            if degrade.to not in plans:
                raise ConfigError(f"model {seen[-1]!r} degrades to {degrade.to!r}, but there is no such model")
            if degrade.to in seen:
                raise ConfigError(f"models degrade in a circle: {' -> '.join([*seen, degrade.to])}")
            seen.append(degrade.to)
