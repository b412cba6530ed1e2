"""Which provider does each attempt of a call go to, and how long is the wait before it? Pure."""

from collections.abc import Container, Iterable, Sequence
from typing import Literal

import msgspec

from organism.errors import ConfigError

Strategy = Literal["failover", "round_robin"]
"""``failover``: always the first route first. ``round_robin``: each call begins one route further."""

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
"""The longest wait, also for a provider that asks for more."""


class Route(msgspec.Struct, frozen=True):
    """One way to serve a model: a provider of the configuration, and the model's name there."""

    provider: str
    model: str


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A model as agents name it.

    Attributes:
        name: Its name in the configuration.
        routes: Where it is served, most wanted first; never empty.
        strategy: In which order routes are tried.
    """

    name: str
    routes: tuple[Route, ...]
    strategy: Strategy = "failover"


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


def check_routes(plans: Iterable[ModelPlan], providers: Container[str]) -> None:
    """Refuse routes to providers that do not exist.

    Raises:
        ConfigError: If there is one.
    """
    for plan in plans:
        for route in plan.routes:
            if route.provider not in providers:
                raise ConfigError(f"model {plan.name!r} is routed to provider {route.provider!r}, which does not exist")


def route_for(plan: ModelPlan, call_number: int, attempt: int) -> Route:
    """Return the route of an attempt, counted from 1: each attempt goes one route on, and round again at the end."""
    start = call_number if plan.strategy == "round_robin" else 0
    routes: Sequence[Route] = plan.routes
    return routes[(start + attempt - 1) % len(routes)]


def delay_s(attempt: int, retry_after_s: float | None, *, same_provider: bool) -> float:
    """Return the seconds to wait after a failed attempt, counted from 1.

    What the provider asked for counts, up to :data:`BACKOFF_MAX_S`; without it the wait doubles with each attempt.
    Another provider is tried at once.
    """
    if not same_provider:
        return 0.0
    if retry_after_s is not None:
        return max(0.0, min(retry_after_s, BACKOFF_MAX_S))
    return float(min(BACKOFF_FIRST_S * 2 ** (attempt - 1), BACKOFF_MAX_S))
