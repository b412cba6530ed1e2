"""The prices of a call: when it is held, charged, or cut short."""

from typing import Protocol

from organism.budget.holds import Spender
from organism.budget.registry import ThreadBudgetRegistry
from organism.llm.answers import Completion
from organism.llm.provider import Answer, Request
from organism.llm.requests import CompletionRequest
from organism.llm.server_tools import uses_at_most
from organism.pricing.rates import Rates, kept_for_an_hour
from organism.pricing.service_tiers import at_tier
from organism.pricing.tool_fees import with_fees


class RateSource(Protocol):
    """The prices of models."""

    def rates(self, provider: str, model: str) -> Rates | None:
        """Return the prices of a provider's model, or ``None`` when unknown, which is not zero."""
        ...


def rates_for(prices: RateSource, provider: str, model: str, request: Request) -> Rates | None:
    """Return the prices for a request to a provider's model; ``None`` if they are unknown.

    Prices of input alone do not cover a request that has output.
    """
    rates = prices.rates(provider, model)
    if rates is not None and isinstance(request, CompletionRequest) and request.keeps_for_an_hour:
        rates = kept_for_an_hour(rates)
    return None if rates is not None and rates.input_only and request.max_output_tokens else rates


def needs_price(registry: ThreadBudgetRegistry, spender: Spender) -> bool:
    """Whether a limit in USD is enforced on what a call spends from, so that its price must be known."""
    return any(
        state.limits.cost_nanousd is not None and registry.mode_of(state.account) == "enforce"
        for state in registry.scopes_of(spender)
    )


def held_rates(rates: Rates, request: Request, model: str) -> Rates:
    """Return the prices at which a call is held: at the tier it asks for, with all uses of tools it may make.

    Args:
        model: The provider's model that serves it; the request has the name by which its caller asked.
    """
    if not isinstance(request, CompletionRequest):
        return rates
    return with_fees(at_tier(rates, request.service_tier or "", model), uses_at_most(request))


def charged_rates(rates: Rates, request: Request, answer: Answer) -> Rates:
    """Return the prices at which an answer is charged: at the tier it was served at, with the tools it has used."""
    if not isinstance(answer, Completion) or not isinstance(request, CompletionRequest):
        return rates
    if answer.keeps_for_an_hour and not request.keeps_for_an_hour:
        rates = kept_for_an_hour(rates)
    tier = answer.service_tier or request.service_tier or ""
    return with_fees(at_tier(rates, tier, answer.model, answer.surcharges), answer.tool_uses)


def cut_rates(rates: Rates, request: Request, *, used: bool) -> Rates:
    """Return the prices of an answer that was cut short before its provider reported the uses of tools.

    Args:
        used: Whether the vendor's tools have visibly run: then all their possible uses are charged.
    """
    if used or not isinstance(request, CompletionRequest):
        return held_rates(rates, request, request.model)
    unseen = {fee: uses for fee, uses in uses_at_most(request).items() if fee.startswith("chat:")}
    return with_fees(at_tier(rates, request.service_tier or "", request.model), unseen)
