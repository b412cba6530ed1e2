"""From a checked configuration to how models are routed, how providers are treated and what models cost."""

from hashlib import sha256
from typing import Literal

import msgspec
from msgspec.structs import replace

from organism.amounts import nanousd
from organism.config.schema import Config
from organism.config.schema_llm import LocalProviderSection, ModelSection, PriceSection, ProviderSection
from organism.pricing.book import DatedRates, Override
from organism.pricing.rates import Rate, Rates, Tier
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


def overrides(config: Config) -> dict[str, Override]:
    """Return the configuration's own prices."""
    return {name: _override(written) for name, written in config.prices.items()}


def otherwise(config: Config) -> Rates | None:
    """Return what models without a price are taken to cost."""
    unpriced = config.llm.unpriced
    return replace(_rates(unpriced, "assumed"), assumed=True) if isinstance(unpriced, PriceSection) else None


def _override(written: PriceSection | list[PriceSection] | str) -> Override:
    if isinstance(written, str):
        return written
    sections = written if isinstance(written, list) else [written]
    return tuple(DatedRates(_rates(section, "organism.yaml"), section.since) for section in sections)


def _rates(section: PriceSection, source: str) -> Rates:
    """Return what a price means; its source carries a digest, so that an entry tells which version it was made by."""
    rates = Rates(
        input=_rate(section, "input", "input"),
        cached_input=_rate(section, "cached_input", "input"),
        cache_write=_rate(section, "cache_write", "input"),
        output=_rate(section, "output", "output"),
        reasoning=_rate(section, "reasoning", "output"),
        request=nanousd(section.request),
        source="",
    )
    return replace(rates, source=f"{source} {sha256(msgspec.json.encode(rates)).hexdigest()[:8]}")


def _rate(section: PriceSection, name: str, like: str) -> Rate:
    """Return the rate of one kind of token: its own, or where that is not given that of the kind it is like."""
    kind = like if getattr(section, name) is None else name
    steps = ((tier.above_input_tokens, getattr(tier, kind)) for tier in section.tiers)
    own = ((tier.above_input_tokens, getattr(tier, name)) for tier in section.tiers)
    tiers = {above: usd for above, usd in (*steps, *own) if usd is not None}
    return Rate(
        nanousd(getattr(section, kind)), tuple(Tier(above, nanousd(usd)) for above, usd in sorted(tiers.items()))
    )
