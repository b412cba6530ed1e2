"""Decides what an attempt costs, by the table of outcomes of the guarantees page. Pure."""

import msgspec

from organism.amounts import CALL_NANOUSD_MAX, Amounts, TokenUsage
from organism.budget.estimate import input_tokens_likely
from organism.budget.holds import GrantedHold
from organism.errors import ProviderError
from organism.ledger.ledger import Cost
from organism.llm.answers import Completion
from organism.llm.provider import Answer, Request
from organism.llm.requests import CompletionRequest
from organism.llm.server_tools import tokens_of_uses
from organism.pricing.rates import Rates, cost_nanousd
from organism.router.answers.partial_usage import completed_usage, is_hidden, missing_sides
from organism.router.answers.streamed_answer import StreamedAnswer
from organism.router.planning.call_rates import RateSource, charged_rates, cut_rates, rates_for
from organism.router.prepared_call import PreparedCall
from organism.text.error_text import describe
from organism.usage.attempts import Outcome

_DOUBTFUL_FACTOR = 16
_DOUBTFUL_NANOUSD = 10_000_000_000
"""Usage above 16 times its hold and above $10 is taken for a provider's mistake, and disputed."""

_NOTE_MAX = 500

PROVIDER_SAYS = "provider"
"""The source of a cost that the provider itself has reported."""

LIKELY_INPUT_PERMILLE = 1250
"""The factor for the likely input of a stream that was closed before its provider counted it."""


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """The charge by which an attempt is resolved.

    Attributes:
        outcome: How the charge was determined.
        usage: Tokens charged.
        cost_nanousd: Money charged; ``None`` if no price is known.
        price_source: Where the cost comes from; ``None`` if it is unknown.
        response_model: The model that answered, if one did.
        error: What failed.
        rates: The prices the cost was computed with; ``None`` if it was not computed from prices.
        usage_note: How ambiguous counts of the provider were read.
        truncated: Whether the stream was closed because it had passed its hold.
    """

    outcome: Outcome
    usage: TokenUsage = TokenUsage()
    cost_nanousd: int | None = None
    price_source: str | None = None
    response_model: str | None = None
    error: str | None = None
    rates: Rates | None = None
    usage_note: str = ""
    truncated: bool = False

    @property
    def amounts(self) -> Amounts:
        """The amounts that the ledger is charged."""
        return Amounts(self.usage.total, self.cost_nanousd or 0, 1)

    @property
    def cost(self) -> Cost:
        """The origin of the amounts, for the ledger."""
        return Cost(self.outcome, self.cost_nanousd is not None, self.usage, self.rates, self.truncated)


class Charges:
    """Determines the charge of one attempt."""

    def __init__(self, prepared: PreparedCall, request: Request, held: GrantedHold) -> None:
        self._prepared = prepared
        self._request = request
        self._held = held
        self._input_tokens = prepared.record.input_tokens
        self._rates = prepared.rates

    def answer(self, answer: Answer, prices: RateSource) -> Charge:
        """Charge an answer; the whole hold if its cost cannot be determined."""
        try:
            return self._answer(answer, prices)
        except Exception as error:  # noqa: BLE001 - what is in an answer is a stranger's
            return self.whole_hold("disputed", f"its cost cannot be worked out: {describe(error)}")

    def failed(self, counted: Completion, prices: RateSource, error: ProviderError) -> Charge:
        """Charge the usage that a provider has counted for an attempt that failed."""
        return msgspec.structs.replace(self.answer(counted, prices), error=str(error))

    def cut(self, streamed: StreamedAnswer, after_s: float, *, by_caller: bool) -> Charge:
        """Charge an answer whose stream was closed in the middle.

        Args:
            after_s: Seconds from the request until then.
            by_caller: Whether its caller has gone; else it has passed its hold.
        """
        used = streamed.has_used_tools
        cap = self._held.output_cap
        usage = streamed.usage(self._input_of_cut(used=used), cap, after_s, self._uses_tokens if used else 0)
        rates = cut_rates(self._rates, self._request, used=used) if self._rates is not None else None
        return Charge(
            outcome="estimated",
            usage=usage,
            cost_nanousd=cost_nanousd(rates, usage) if rates is not None else None,
            price_source=rates.source if rates is not None else None,
            error=(
                "closed by its caller in the middle of the answer"
                if by_caller
                else f"stopped at the budget: the provider wrote more than the {cap:,} tokens it was allowed"
            ),
            rates=rates,
            truncated=not by_caller,
        )

    def whole_hold(self, outcome: Outcome, error: str, response_model: str | None = None) -> Charge:
        """Charge the whole hold."""
        return Charge(
            outcome=outcome,
            usage=TokenUsage(input=self._input_tokens, output=self._held.output_cap),
            cost_nanousd=self._held.amounts.cost_nanousd if self._rates is not None else None,
            price_source=self._rates.source if self._rates is not None else None,
            response_model=response_model,
            error=error,
        )

    @property
    def _uses_tokens(self) -> int:
        """Input tokens held for the results of the vendor's tools."""
        return tokens_of_uses(self._request) if isinstance(self._request, CompletionRequest) else 0

    def _input_of_cut(self, *, used: bool) -> int:
        """Return the input to charge: its likely count with a margin, at most what is held for it."""
        extra = self._prepared.extra_tokens - (0 if used else self._uses_tokens)
        likely = -(-input_tokens_likely(self._request.texts()) * LIKELY_INPUT_PERMILLE // 1000)
        return min(self._input_tokens, likely + max(0, extra))

    def _answer(self, answer: Answer, prices: RateSource) -> Charge:
        if answer.usage_error is not None:
            return self.whole_hold("disputed", answer.usage_error, answer.model)
        missing = missing_sides(answer, self._request)
        if answer.usage is None and is_hidden(answer, self._request):
            return self.whole_hold("estimated", "no usage, and more may have been generated than shows", answer.model)
        rates = self._rates_of(answer, prices)
        if rates is not None:
            rates = charged_rates(rates, self._request, answer)
        usage = completed_usage(answer, self._request, missing, self._input_tokens, self._held.output_cap)
        cost, source = (cost_nanousd(rates, usage), rates.source) if rates is not None else (None, None)
        if rates is not None and isinstance(answer, Completion) and answer.usage_elsewhere:
            cost, rates = self._cost_of_several(rates, usage, answer, prices), None
        is_bill = not missing and not (isinstance(answer, Completion) and answer.is_cost_assumed)
        if answer.cost_nanousd is not None and (is_bill or answer.cost_nanousd > (cost or 0)):
            cost, source, rates = answer.cost_nanousd, PROVIDER_SAYS, None
        if cost is not None and self._is_beyond_belief(usage, cost):
            return self.whole_hold("disputed", f"usage of {usage.total} tokens is beyond belief", answer.model)
        return Charge(
            outcome="estimated" if missing else "settled",
            usage=usage,
            cost_nanousd=cost,
            price_source=source,
            response_model=answer.model,
            rates=rates,
            usage_note=answer.usage_note[:_NOTE_MAX] if isinstance(answer, Completion) else "",
        )

    def _rates_of(self, answer: Answer, prices: RateSource) -> Rates | None:
        """Return the prices of the model that answered; if unknown, those of the model that was asked."""
        if answer.model == self._request.model:
            return self._rates
        found = rates_for(prices, self._prepared.route.provider, answer.model, self._request)
        return found if found is not None and not found.assumed else self._rates or found

    def _cost_of_several(self, rates: Rates, usage: TokenUsage, answer: Completion, prices: RateSource) -> int:
        """Return the cost of an answer that other models added to; one without a price is charged as the answer's."""
        cost, own = 0, usage
        for model, spent in answer.usage_elsewhere.items():
            found = rates_for(prices, self._prepared.route.provider, model, self._request)
            if found is not None and not found.assumed:
                cost, own = cost + cost_nanousd(found, spent), own - spent
        return cost + cost_nanousd(rates, own)

    def _is_beyond_belief(self, usage: TokenUsage, cost: int) -> bool:
        held = self._held.amounts
        much = usage.total > _DOUBTFUL_FACTOR * max(1, held.tokens)
        dear = self._rates is not None and cost > _DOUBTFUL_FACTOR * max(1, held.cost_nanousd)
        return cost > CALL_NANOUSD_MAX or (cost > _DOUBTFUL_NANOUSD and (much or dear))
