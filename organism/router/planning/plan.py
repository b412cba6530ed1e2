"""How is a model of the configuration served? Its routes, and what to do when it becomes too dear. Pure."""

from collections.abc import Container, Iterable, Mapping
from typing import Literal

import msgspec

from organism.amounts import BudgetState, Dimension
from organism.budget.thresholds import reached
from organism.errors import ConfigError

Strategy = Literal["failover", "round_robin", "least_loaded", "cheapest"]
"""``failover``: always the first route first. ``round_robin``: each call begins one route further. ``least_loaded``:
the provider with the fewest attempts under way. ``cheapest``: the lowest known price."""


class Route(msgspec.Struct, frozen=True):
    """One way to serve a model: a provider of the configuration, and the model's name there."""

    provider: str
    model: str


class Degrade(msgspec.Struct, frozen=True):
    """What takes a model's place when the budget runs low.

    Attributes:
        at: Per cent of any limit of the call that must be spent.
        to: The other model's name in the configuration.
    """

    at: int
    to: str


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A model as agents name it.

    Attributes:
        name: Its name in the configuration.
        routes: Where it is served, most wanted first; never empty.
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
    """Another model takes a model's place.

    Attributes:
        model: The model until here.
        to_model: The other one.
        account: The scope whose spend is why.
        dimension: The unit.
        threshold: Per cent of the limit that is spent.
    """

    model: str
    to_model: str
    account: str
    dimension: Dimension
    threshold: int


def degraded(plan: ModelPlan, budgets: Iterable[BudgetState]) -> Degraded | None:
    """Return what takes a model's place if any of a call's budgets is spent as far as its ``degrade`` says."""
    if (degrade := plan.degrade) is None:
        return None
    for state in budgets:
        for dimension, threshold in reached(state.limits, state.spent, state.elapsed_ns, (degrade.at,)):
            return Degraded(plan.name, degrade.to, state.account, dimension, threshold)
    return None


def model_plan(name: str, model: str | ModelPlan) -> ModelPlan:
    """Read ``provider/model`` as a model with one route.

    Raises:
        ConfigError: If there is no slash in it.
    """
    if isinstance(model, ModelPlan):
        return model
    provider, slash, served = model.partition("/")
    if not (provider and slash and served):
        raise ConfigError(f"model {name!r} must be given as 'provider/model', not {model!r}")
    return ModelPlan(name=name, routes=(Route(provider, served),))


def check_plans(plans: Mapping[str, ModelPlan], providers: Container[str]) -> None:
    """Refuse models that lead nowhere: to a provider or a model that does not exist, or round and round.

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
