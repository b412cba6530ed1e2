"""What calls are made with: models, providers and how each is treated, prices. It is replaced whole, never in part."""

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
    """What a setup rests on, and what outlives it.

    Attributes:
        registry: The budgets.
        call_events: Tells of refusals and of changes of provider.
        clock: Measures time.
        calibration: What is known of how many tokens text takes with which model.
        gate: Keeps attempts from beginning while the organism is handed over.
    """

    registry: ThreadBudgetRegistry
    call_events: CallEvents
    clock: Clock
    calibration: Calibration
    gate: CallGate


class RouterConfig:
    """One setup.

    Args:
        models: The models agents may name.
        providers: The providers their routes name.
        limiters: Those of the providers.
    """

    def __init__(
        self,
        models: Mapping[str, ModelPlan],
        providers: Mapping[str, Provider],
        prices: RateSource,
        settings: RouterSettings,
        services: RouterServices,
        limiters: ProviderLimiters,
    ) -> None:
        check_providers(providers)
        self.models = ModelPlans(models)
        self.providers = dict(providers)
        self.prices = prices
        self.settings = settings
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
        """Have an attempt talk to its provider."""
        known = self._output_calibration.range_of(attempt.route)
        await attempt.exchange(self.providers[attempt.route.provider], adapters, known)

    def learn(self, attempt: Attempt, charge: Charge) -> None:
        """Take note of what a settled attempt's text has taken, sent and answered."""
        if charge.outcome == "settled":
            if not _has_used_tools(attempt):  # what they have found is input too, of which the request has nothing
                answered_by = charge.response_model or attempt.route.model
                self.estimator.learn(attempt.route, attempt.prepared.guess, charge.usage.input_total, answered_by)
            self._output_calibration.learn(attempt.route, attempt.request, attempt.result)


def _has_used_tools(attempt: Attempt) -> bool:
    """Whether the vendor has run tools of its own for an attempt's answer."""
    answer = attempt.result
    return isinstance(answer, Completion) and bool(answer.tool_uses or answer.vendor_items)


def check_providers(providers: Mapping[str, Provider]) -> None:
    """Refuse what could answer nothing, before a call is held for it.

    Raises:
        ConfigError: If what stands for a provider is none.
    """
    for name, provider in providers.items():
        if isinstance(provider, type) or not callable(getattr(provider, "complete", None)):
            raise ConfigError(
                # Its type and not its text: what stands there by mistake may be a key.
                f"it must be a provider, an object with 'complete', not of type {type(provider).__name__}",
                path=f"providers.{name}",
            )
