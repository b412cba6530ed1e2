"""What a call costs: exact, from the shipped data or one's own numbers, and never zero because nobody knew."""

from datetime import UTC, datetime

from organism.amounts import TokenUsage
from organism.pricing import PriceBook, Rate, Rates, Tier, cost_nanousd, flat_rates


def book(**overrides: Rates) -> PriceBook:
    return PriceBook(overrides, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))


def test_cost_is_the_sum_of_the_buckets_rounded_up_once() -> None:
    """Each bucket has its own price, and fractions of a nano-dollar are lost to nobody but the spender."""
    rates = flat_rates(input=3, output=15, cached_input=1, cache_write=4, reasoning=20, source="test")
    usage = TokenUsage(
        input=1_000_000, cached_input=1_000_000, cache_write=1_000_000, output=1_000_000, reasoning=1_000_000
    )

    assert cost_nanousd(rates, usage) == 3 + 1 + 4 + 15 + 20
    assert cost_nanousd(rates, TokenUsage(input=1)) == 1
    assert cost_nanousd(rates, TokenUsage()) == 0


def test_long_calls_cost_their_own_rate_for_every_token() -> None:
    """A tier counts the whole input, cached or not, and begins above its number of tokens, not at it."""
    rate = Rate(1_000_000, (Tier(100, 2_000_000),))
    rates = Rates(input=rate, cached_input=rate, cache_write=rate, output=Rate(0), reasoning=Rate(0), source="test")

    assert cost_nanousd(rates, TokenUsage(input=60, cached_input=40)) == 100
    assert cost_nanousd(rates, TokenUsage(input=60, cached_input=41)) == 202
    assert rates.dearest_input() == 2_000_000


def test_shipped_prices_are_found_and_name_their_source() -> None:
    """A known model of a known vendor has a price out of the box, and the event can say where from."""
    rates = book().rates("openai", "gpt-4o-mini")

    assert rates is not None
    assert (rates.input.base, rates.output.base) == (150_000_000, 600_000_000)
    assert rates.source.startswith("genai-prices ")


def test_unknown_is_not_zero_and_local_is() -> None:
    """A model that nobody has a price for has none; one's own machine costs nothing."""
    assert book().rates("openai", "no-such-model") is None
    assert book().rates("nobody", "gpt-4o-mini") is None
    local = book().rates("mine", "anything", kind="local")
    assert local is not None
    assert local.dearest_output() == 0


def test_own_prices_win_the_nearest_first() -> None:
    """What the configuration says goes before what is shipped, and provider/model before model."""
    general, special = flat_rates(input=1, output=1, source="mine"), flat_rates(input=2, output=2, source="mine")
    prices = book(**{"gpt-4o-mini": general, "azure/gpt-4o-mini": special})

    assert prices.rates("openai", "gpt-4o-mini") is general
    assert prices.rates("azure", "gpt-4o-mini") is special
