"""What an attempt costs, where its count is no count: the rows of the outcome table that need no provider."""

import pytest

from organism.amounts import Amounts, TokenUsage, nanousd
from organism.budget.estimate import input_tokens_likely
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.ledger.entries import CallRecord
from organism.llm.answers import Completion
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.pricing.rates import Rates, flat_rates
from organism.router.answers.charge import Charge, Charges
from organism.router.answers.streamed_answer import StreamedAnswer
from organism.router.planning.plan import Route
from organism.router.prepared_call import PreparedCall

REQUEST = CompletionRequest(model="m", messages=(ChatMessage("user", "hello"),), max_output_tokens=1_000)
DOLLAR = 1_000_000_000
DEAR = flat_rates(input=100 * DOLLAR, output=100 * DOLLAR, source="list")
"""A hundred dollars for a million tokens."""


class NoPrices:
    """Knows no model but the one that was asked for."""

    def rates(self, _provider: str, _model: str) -> Rates | None:
        return None


def charges(request: CompletionRequest = REQUEST, *, rates: Rates | None = DEAR, held_usd: str = "0.20") -> Charges:
    """Make what charges a call that held two thousand tokens, at its price."""
    record = CallRecord(
        thread_id="t", root_thread_id="t", agent="a", message_id="", call_id="c", attempt=1, provider="p", model="main",
        request_model="m", input_tokens=1_000, output_cap=1_000, price_source="list",
    )  # fmt: skip
    prepared = PreparedCall(
        Route("p", "m"), Spender("t", "a", "main"), Ask(input_tokens=1_000, output_cap=1_000), record, rates, None
    )
    held = GrantedHold(
        hold_id="h",
        accounts=("thread:t",),
        amounts=Amounts(2_000, nanousd(held_usd) if rates else 0, 1),
        output_cap=1_000,
    )
    return Charges(prepared, request, held)


def charge(
    usage: TokenUsage | None, *, rates: Rates | None = DEAR, cost_nanousd: int | None = None, held_usd: str = "0.20"
) -> Charge:
    """Charge an answer to such a call."""
    answer = Completion(text="yes", model="m", finish_reason="stop", usage=usage, cost_nanousd=cost_nanousd)
    return charges(rates=rates, held_usd=held_usd).answer(answer, NoPrices())


@pytest.mark.parametrize(
    ("tokens", "outcome"),
    [
        (2_000, "settled"),
        (32_000, "settled"),  # sixteen times what was held, and $3.20
        (100_000, "settled"),  # fifty times, but no more than $10
        (100_001, "disputed"),
        (5_000_000, "disputed"),
    ],
)
def test_a_count_beyond_belief_is_disputed(tokens: int, outcome: str) -> None:
    """Usage of many times its hold and of more than ten dollars is the provider's mistake: the hold is charged."""
    made = charge(TokenUsage(input=tokens - 1, output=1))

    assert made.outcome == outcome
    assert made.amounts.tokens == (tokens if outcome == "settled" else 2_000)
    assert made.amounts.cost_nanousd == (tokens * 100_000 if outcome == "settled" else DOLLAR // 5)


@pytest.mark.parametrize(
    ("cost", "outcome"),
    [(DOLLAR, "settled"), (10 * DOLLAR, "settled"), (10 * DOLLAR + 1, "disputed"), (2**53, "disputed")],
)
def test_a_cost_beyond_belief_is_disputed(cost: int, outcome: str) -> None:
    """The same for what the provider itself says that a call has cost."""
    assert charge(TokenUsage(input=1_000, output=1), cost_nanousd=cost).outcome == outcome


def test_a_call_that_was_dear_by_itself_may_cost_more_than_ten_dollars() -> None:
    """Not every large bill is a mistake: one in proportion to what was held is believed."""
    dearest = flat_rates(input=2_500 * DOLLAR, output=2_500 * DOLLAR, source="list")

    made = charge(TokenUsage(input=7_999, output=1), rates=dearest, held_usd="5")

    assert (made.outcome, made.amounts.cost_nanousd) == ("settled", 20 * DOLLAR)

    most = charge(TokenUsage(input=31_999, output=1), rates=dearest, held_usd="5")

    assert (most.outcome, most.amounts.cost_nanousd) == ("settled", 80 * DOLLAR), "sixteen times both, and no more"


def test_an_answer_without_a_price_is_charged_in_tokens() -> None:
    """Money that nobody knows is said to be unknown, never to be nothing."""
    made = charge(TokenUsage(input=10, output=2), rates=None)

    assert (made.outcome, made.amounts, made.cost_nanousd, made.cost.priced) == (
        "settled",
        Amounts(12, 0, 1),
        None,
        False,
    )


def test_a_price_without_a_count_is_charged_where_it_is_more_than_what_is_estimated() -> None:
    """What a provider says that it took is no less: of an answer without a count the larger figure is charged."""
    estimated = charge(None).cost_nanousd
    assert estimated is not None

    assert charge(None, cost_nanousd=1).cost_nanousd == estimated
    assert charge(None, cost_nanousd=estimated).price_source == "list", "whose figure it is when both say the same"
    assert charge(None, cost_nanousd=estimated + 1).cost_nanousd == estimated + 1
    assert charge(None, rates=None, cost_nanousd=1).cost_nanousd == 1
    assert charge(TokenUsage(input=5, output=1), cost_nanousd=1).cost_nanousd == 1


@pytest.mark.parametrize("words", range(400, 440, 4))
def test_of_a_stream_that_is_cut_the_input_is_charged_at_its_likely_count_and_a_quarter(words: int) -> None:
    """Its provider has not come to count it: who goes away pays neither the whole hold nor less than is billed."""
    request = CompletionRequest(model="m", messages=(ChatMessage("user", "tide " * words),), max_output_tokens=1_000)

    made = charges(request).cut(StreamedAnswer(request), 1.0, by_caller=True)

    assert made.usage.input == -(-input_tokens_likely(request.texts()) * 5 // 4) < 1_000
