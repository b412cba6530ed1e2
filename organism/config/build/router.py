"""From a checked configuration to how models are routed, how providers are treated and what models cost."""

from typing import Literal

import msgspec
from msgspec.structs import replace

from organism.config.provider_connections import is_per_machine
from organism.config.schema.gateway import GatewaySection
from organism.config.schema.llm import LocalProviderSection, ModelSection, PriceSection, ProviderSection
from organism.config.schema.root import Config
from organism.pricing.book import Override
from organism.pricing.rates import Rates
from organism.pricing.written import WrittenPrice, override_of, rates_of
from organism.router.call import RouterSettings
from organism.router.limits.backoff import Backoff
from organism.router.limits.circuit import CircuitSettings
from organism.router.limits.provider_settings import ProviderSettings, Timeouts
from organism.router.limits.rate_limit import RateLimits
from organism.router.planning.plan import Degrade, ModelPlan, model_plan


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
        direct_calls_in_flight=(config.gateway or GatewaySection()).calls_in_flight,
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
        per_machine=is_per_machine(section),
    )


def _seconds(written: int | Literal["unlimited"]) -> float | None:
    return None if written == "unlimited" else float(written)


def overrides(config: Config) -> dict[str, Override]:
    """Return the configuration's own prices."""
    return {name: override(written, "organism.yaml") for name, written in config.prices.items()}


def otherwise(config: Config) -> Rates | None:
    """Return what models without a price are taken to cost."""
    unpriced = config.llm.unpriced
    if not isinstance(unpriced, PriceSection):
        return None
    return replace(rates_of(_written(unpriced), "assumed"), assumed=True)


def override(written: PriceSection | list[PriceSection] | str, source: str) -> Override:
    """Return what a section of prices means; ``source`` says where it stands."""
    if isinstance(written, str):
        return written
    sections = written if isinstance(written, list) else [written]
    return override_of([_written(section) for section in sections], source)


def _written(section: PriceSection) -> WrittenPrice:
    return msgspec.convert(section, WrittenPrice, from_attributes=True)
