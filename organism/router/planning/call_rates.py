"""Where the router learns what a call costs."""

from typing import Protocol

from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest
from organism.pricing.rates import Rates, kept_for_an_hour


class RateSource(Protocol):
    """The prices of models."""

    def rates(self, provider: str, model: str) -> Rates | None:
        """Return the prices of a provider's model, or ``None`` when unknown, which is not zero."""
        ...


def rates_for(prices: RateSource, provider: str, model: str, request: Request) -> Rates | None:
    """Return the prices that a request to a provider's model is charged by, or ``None`` when they are unknown.

    Prices of input alone say nothing of a request that has output.
    """
    rates = prices.rates(provider, model)
    if rates is not None and isinstance(request, CompletionRequest) and request.keeps_for_an_hour:
        rates = kept_for_an_hour(rates)
    return None if rates is not None and rates.input_only and request.max_output_tokens else rates
