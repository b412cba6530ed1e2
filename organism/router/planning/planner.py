"""Chooses the model of a call and the order of its routes, by budgets, prices and the load of providers."""

from collections.abc import Mapping
from functools import partial

import msgspec
from msgspec.structs import replace

from organism.amounts import TokenUsage
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import actions_of
from organism.errors import ConfigError, UnboundedError, UnsupportedError
from organism.llm.provider import Request
from organism.pricing.rates import Rates, cost_nanousd
from organism.router.call import Call
from organism.router.planning.call_rates import RateSource, needs_price, rates_for
from organism.router.planning.estimator import InputEstimator
from organism.router.planning.plan import Degraded, ModelPlan, Route, degraded
from organism.router.planning.provider_limiters import ProviderLimiters
from organism.router.planning.route_queue import Candidate, RouteQueue, preferred


class Planned(msgspec.Struct, frozen=True):
    """The plan of a call.

    Attributes:
        plan: The model it is made with.
        queue: Its routes.
        degraded: The replacements that led to this model.
        stayed: A replacement that is due and not made, since a limit in USD would refuse every call there.
    """

    plan: ModelPlan
    queue: RouteQueue
    degraded: tuple[Degraded, ...]
    stayed: Degraded | None = None


class Planner:
    """Plans calls.

    Args:
        models: The models agents may name.
        limiters: The load of providers.
        estimator: Estimates calls.
        refuse_unpriced: Whether a limit in USD refuses models without a price.
    """

    def __init__(
        self,
        models: Mapping[str, ModelPlan],
        prices: RateSource,
        registry: ThreadBudgetRegistry,
        limiters: ProviderLimiters,
        estimator: InputEstimator,
        *,
        refuse_unpriced: bool,
    ) -> None:
        self._models = models
        self._prices = prices
        self._registry = registry
        self._limiters = limiters
        self._estimator = estimator
        self._refuse_unpriced = refuse_unpriced
        self._calls_made: dict[str, int] = {}

    def plan(self, call: Call) -> Planned:
        """Choose the model and the order of its routes.

        Raises:
            ConfigError: If no model has that name.
            UnknownAccountError: If the thread has no budget.
        """
        plan = self._model(call.spender.model)
        steps: list[Degraded] = []
        while (step := self._degraded(call, plan)) is not None:
            cheaper = self._model(step.to_model)
            if self._is_refused(call, cheaper):
                break
            steps.append(step)
            plan = cheaper
        number = self._turn_of(plan)
        candidates = [
            Candidate(route, self._limiters[route.provider].load, self._cost_there(call, plan, route))
            for route in plan.routes
        ]
        return Planned(plan, RouteQueue(preferred(plan.strategy, candidates, number)), tuple(steps), stayed=step)

    def likely_input(self, model: str, request: Request) -> dict[Route, int]:
        """Return the likely input of a request on each route of a model that serves it.

        Raises:
            ConfigError: If no model has that name.
            UnboundedError: Nothing bounds the request on any route.
            UnsupportedError: No route serves requests of its kind.
        """
        counts: dict[Route, int] = {}
        refusal: UnboundedError | UnsupportedError | None = None
        for route in self._model(model).routes:
            try:
                counts[route] = self._estimator.likely(route, request)
            except (UnboundedError, UnsupportedError) as error:
                refusal = error
        if not counts and refusal is not None:
            raise refusal
        return counts

    def _model(self, name: str) -> ModelPlan:
        try:
            return self._models[name]
        except KeyError:
            known = ", ".join(sorted(self._models)) or "none"
            raise ConfigError(f"no model is called {name!r}; there are: {known}") from None

    def _turn_of(self, plan: ModelPlan) -> int:
        """Return the number of a round-robin call, from 0; other models are not counted, as names may be unlimited."""
        if plan.strategy != "round_robin":
            return 0
        number = self._calls_made.get(plan.name, 0)
        self._calls_made[plan.name] = number + 1
        return number

    def _degraded(self, call: Call, plan: ModelPlan) -> Degraded | None:
        """Return the replacement of a model, if a limit of the call has reached its threshold.

        Only limits in mode ``enforce`` count: the other modes change nothing.
        """
        if plan.degrade is None:
            return None
        states = self._registry.scopes_of(replace(call.spender, model=plan.name))
        enforced = (state for state in states if self._registry.mode_of(state.account) == "enforce")
        return degraded(plan, enforced, partial(actions_of, self._registry.plan))

    def _is_refused(self, call: Call, plan: ModelPlan) -> bool:
        """Whether a limit in USD would refuse every route of a model for its missing price."""
        return self._refuse_unpriced and all(
            self._rates(call, route) is None
            and needs_price(self._registry, replace(call.spender, model=plan.name, provider=route.provider))
            for route in plan.routes
        )

    def _rates(self, call: Call, route: Route) -> Rates | None:
        return rates_for(self._prices, route.provider, route.model, call.request)

    def _cost_there(self, call: Call, plan: ModelPlan, route: Route) -> int | None:
        """Return the cost of a call on a route for the strategy ``cheapest``; ``None`` if unknown or not needed."""
        rates = self._rates(call, route) if plan.strategy == "cheapest" else None
        if rates is None:
            return None
        try:
            tokens = self._estimator.estimate(route, call.request).tokens
        except (UnboundedError, UnsupportedError):
            return None
        return cost_nanousd(rates, TokenUsage(input=tokens, output=call.request.output_at_most))
