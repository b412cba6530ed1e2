"""From a checked configuration to how models are routed, how providers are treated and what models cost."""

from decimal import Decimal
from typing import Literal

from organism.amounts import nanousd
from organism.config.schema import (
    Config,
    LocalProviderSection,
    ModelSection,
    PriceSection,
    ProviderSection,
)
from organism.pricing import Rates, flat_rates
from organism.router.backoff import Backoff
from organism.router.call import RouterSettings
from organism.router.circuit import CircuitSettings
from organism.router.plan import Degrade, ModelPlan, model_plan
from organism.router.provider_settings import ProviderSettings, Timeouts
from organism.router.rate_limit import RateLimits


def router_settings(config: Config) -> RouterSettings:
    """Return how calls are made."""
    llm = config.llm
    return RouterSettings(
        estimate=llm.estimate,
        output_min=llm.min_output_tokens,
        attempts=llm.attempts,
        retry_uncertain=llm.retry == "uncertain",
        backoff=Backoff(first_s=float(llm.backoff.first_seconds), max_s=float(llm.backoff.max_seconds)),
        deadline_s=float(llm.deadline_seconds),
        timeout_s=float(llm.call_timeout_seconds),
        calls_in_flight=config.bounds.calls_in_flight,
        refuse_unpriced=llm.unpriced == "refuse",
        providers={name: _provider_settings(section) for name, section in llm.providers.items()},
    )


def model_plans(config: Config) -> dict[str, ModelPlan]:
    """Return how each model is routed."""
    return {name: _model(config, name, model) for name, model in config.llm.models.items()}


def _model(config: Config, name: str, model: str | ModelSection) -> ModelPlan:
    if isinstance(model, str):
        return ModelPlan(name=name, routes=model_plan(name, model).routes, strategy=config.llm.strategy)
    return ModelPlan(
        name=name,
        routes=tuple(model_plan(name, route).routes[0] for route in model.routes),
        strategy=model.strategy or config.llm.strategy,
        degrade=None if model.degrade is None else Degrade(model.degrade.at, model.degrade.to),
        hedge_after_s=None if model.hedge_after_seconds is None else float(model.hedge_after_seconds),
    )


def _provider_settings(section: ProviderSection) -> ProviderSettings:
    timeouts, circuit = section.timeouts, section.circuit
    # A local model serves no more than its slots; what waits for one is to wait outside, where no timeout runs.
    places = section.slots if isinstance(section, LocalProviderSection) else None
    return ProviderSettings(
        concurrency=section.concurrency or places,
        rates=RateLimits(requests=section.requests_per_minute, tokens=section.tokens_per_minute),
        timeouts=Timeouts(
            first_token_s=_seconds(timeouts.first_token_seconds),
            between_tokens_s=_seconds(timeouts.between_tokens_seconds),
            call_s=None if timeouts.call_seconds is None else float(timeouts.call_seconds),
        ),
        circuit=CircuitSettings(
            failures=circuit.failures, within_s=float(circuit.within_seconds), open_s=float(circuit.open_seconds)
        ),
    )


def _seconds(written: int | Literal["unlimited"]) -> float | None:
    return None if written == "unlimited" else float(written)


def rates(section: PriceSection) -> Rates:
    """Return what a price in the configuration means."""

    def rate(usd: Decimal | None) -> int | None:
        return None if usd is None else nanousd(usd)

    return flat_rates(
        input=nanousd(section.input),
        output=nanousd(section.output),
        cached_input=rate(section.cached_input),
        cache_write=rate(section.cache_write),
        reasoning=rate(section.reasoning),
        source="organism.yaml",
    )
