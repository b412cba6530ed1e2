"""The router's configuration: models, providers, settings and prices. It is replaced as a whole, never in part."""

from collections.abc import Mapping

import msgspec

from organism.budget.calibration import Calibration
from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock
from organism.errors import ConfigError
from organism.llm.answers import Completion
from organism.llm.provider import Provider
from organism.router.adapters import Adapters
from organism.router.admission import Admission
from organism.router.answers.charge import Charge
from organism.router.answers.output_count import OutputCalibration
from organism.router.attempt import Attempt
from organism.router.call import RouterSettings
from organism.router.call_events import CallEvents
from organism.router.limits.call_gate import CallGate
from organism.router.planning.call_rates import RateSource
from organism.router.planning.estimator import InputEstimator
from organism.router.planning.plan import ModelPlan, ModelPlans
from organism.router.planning.planner import Planner
from organism.router.planning.provider_limiters import ProviderLimiters


class RouterServices(msgspec.Struct, frozen=True):
    """The collaborators of a configuration, which outlive it.

    Attributes:
        registry: The budgets.
        call_events: Emits events.
        clock: Measures time.
        calibration: What has been learnt of how many tokens text takes, by model.
        gate: Holds attempts back while the organism is handed over.
    """

    registry: ThreadBudgetRegistry
    call_events: CallEvents
    clock: Clock
    calibration: Calibration
    gate: CallGate


class RouterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a setup is made of.

    Attributes:
        models: The models agents may name.
        providers: The providers their routes name.
        prices: What models cost.
        settings: How calls are made.
        limiters: Those of the providers, where several organisms share them: who made them closes what is gone.
    """

    models: Mapping[str, ModelPlan]
    providers: Mapping[str, Provider]
    prices: RateSource
    settings: RouterSettings = RouterSettings()
    limiters: ProviderLimiters | None = None


class RouterConfig:
    """One configuration of the router.

    Args:
        limiters: Those of the providers, of the setup before where they go on.
    """

    def __init__(self, spec: RouterSpec, services: RouterServices, limiters: ProviderLimiters) -> None:
        check_providers(spec.providers)
        self.models = ModelPlans(spec.models)
        self.providers = dict(spec.providers)
        self.prices = prices = spec.prices
        self.settings = settings = spec.settings
        self.limiters = limiters
        self.gate = services.gate
        self.estimator = InputEstimator(settings.estimate, self.providers, services.calibration)
        self._output_calibration = OutputCalibration(services.calibration)
        self.planner = Planner(
            self.models,
            prices,
            services.registry,
            self.limiters,
            self.estimator,
            refuse_unpriced=settings.refuse_unpriced,
        )
        self.admission = Admission(
            services.registry, self.limiters, prices, self.estimator, services.call_events, settings
        )

    async def exchange(self, attempt: Attempt, adapters: Adapters) -> None:
        """Run an attempt's exchange with its provider."""
        known = self._output_calibration.range_of(attempt.route)
        await attempt.exchange(self.providers[attempt.route.provider], adapters, known)

    def learn(self, attempt: Attempt, charge: Charge) -> None:
        """Learn from a settled attempt how many tokens its text took, request and answer."""
        if charge.outcome == "settled":
            if not _has_used_tools(attempt):  # their results are input, too, and are not in the request's text
                answered_by = charge.response_model or attempt.route.model
                self.estimator.learn(attempt.route, attempt.prepared.guess, charge.usage.input_total, answered_by)
            self._output_calibration.learn(attempt.route, attempt.request, attempt.result)


def _has_used_tools(attempt: Attempt) -> bool:
    """Whether the vendor has run tools of its own for an attempt's answer."""
    answer = attempt.result
    return isinstance(answer, Completion) and bool(answer.tool_uses or answer.vendor_items)


def check_providers(providers: Mapping[str, Provider]) -> None:
    """Refuse objects that are no providers, before a call is held for one.

    Raises:
        ConfigError: If one has no method ``complete``.
    """
    for name, provider in providers.items():
        if isinstance(provider, type) or not callable(getattr(provider, "complete", None)):
            raise ConfigError(
                # Its type and not its text: the object given by mistake may be an API key.
                f"it must be a provider, an object with 'complete', not of type {type(provider).__name__}",
                path=f"providers.{name}",
            )
