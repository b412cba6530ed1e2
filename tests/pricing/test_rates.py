"""What a call costs: integers, rounded up once."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from organism.amounts import TokenUsage
from organism.pricing.rates import FREE, Rate, Rates, Tier, cost_nanousd, flat_rates, kept_for_an_hour

tokens = st.integers(0, 1_000_000)
usages = st.builds(TokenUsage, tokens, tokens, tokens, tokens, tokens)
prices = st.integers(0, 10**11)
rates = st.builds(
    flat_rates,
    input=prices,
    output=prices,
    cached_input=prices,
    cache_write=prices,
    reasoning=prices,
    source=st.just("t"),
)


def test_every_bucket_has_its_own_rate() -> None:
    """Cached, written, visible and reasoning tokens are each priced as what they are."""
    book = flat_rates(
        input=1_000_000, cached_input=10_000_000, cache_write=100_000_000, output=10**9, reasoning=10**10, source="t"
    )

    assert cost_nanousd(book, TokenUsage(1, 2, 3, 4, 5)) == 1 + 20 + 300 + 4_000 + 50_000


@given(rates, usages)
def test_cost_is_rounded_up_once_and_never_above_the_dearest(book: Rates, usage: TokenUsage) -> None:
    """A hold at the dearest rates always covers the cost."""
    cost = cost_nanousd(book, usage)
    dearest = usage.input_total * book.dearest_input() + usage.output_total * book.dearest_output()

    assert 0 <= cost <= -(-dearest // 1_000_000)


def test_long_calls_cost_their_tier() -> None:
    """All tokens of a call cost what its length says, and a hold knows the dearest tier."""
    rate = Rate(1_000_000, (Tier(100, 2_000_000), Tier(200, 3_000_000)))
    book = Rates(input=rate, cached_input=rate, cache_write=rate, output=rate, reasoning=rate, source="t")

    assert [cost_nanousd(book, TokenUsage(input=length)) for length in (100, 101, 200, 201)] == [100, 202, 400, 603]
    assert cost_nanousd(book, TokenUsage(input=60, cached_input=41)) == 202, "the whole input counts, cached or not"
    assert book.dearest_input() == 3_000_000


def test_price_of_a_request_is_added() -> None:
    """What each request costs beside its tokens is charged even for an empty answer."""
    assert cost_nanousd(flat_rates(input=0, output=0, source="t"), TokenUsage()) == 0
    book = Rates(
        input=Rate(0),
        cached_input=Rate(0),
        cache_write=Rate(0),
        output=Rate(0),
        reasoning=Rate(0),
        source="t",
        request=7,
    )
    assert cost_nanousd(book, TokenUsage()) == 7


def test_own_machine_costs_nothing() -> None:
    """A local model is free, which is a known price."""
    assert cost_nanousd(FREE, TokenUsage(10**6, 10**6, 10**6, 10**6, 10**6)) == 0


def test_input_that_is_kept_for_an_hour_is_written_at_twice_its_price() -> None:
    """In each tier; where writing is dearer anyway, that price stays."""
    tiered = Rate(3, (Tier(200, 5),))
    plain = flat_rates(input=3, output=9, cache_write=4, source="s")

    assert kept_for_an_hour(plain).cache_write == Rate(6)
    assert kept_for_an_hour(replace(plain, input=tiered)).cache_write == Rate(6, (Tier(200, 10),))
    assert kept_for_an_hour(replace(plain, cache_write=Rate(70))).cache_write == Rate(70)
