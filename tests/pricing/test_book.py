"""Where prices are found: the configuration's own first, then the shipped ones."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import data_snapshot
from genai_prices.types import TieredPrices

from organism.amounts import NANOUSD_PER_USD
from organism.errors import ConfigError
from organism.pricing.book import DatedRates, PriceBook, ProviderPrices
from organism.pricing.names import undated
from organism.pricing.rates import Rate, Rates, flat_rates
from organism.pricing.shipped import kinds_of, shipped_rates


def rate(usd: int, source: str = "mine") -> Rates:
    return flat_rates(input=usd * 10**9, output=usd * 10**9, source=source)


def book(*, at: str = "2026-06-15T12:00", otherwise: Rates | None = None, **overrides: Any) -> PriceBook:
    """Make a book at an instant; ``__`` in a name stands for a slash."""
    now = datetime.fromisoformat(at).replace(tzinfo=UTC)
    names = {name.replace("__", "/"): override for name, override in overrides.items()}
    return PriceBook(names, now=lambda: now, otherwise=otherwise)


def test_the_nearer_name_wins() -> None:
    """A price for one provider's model goes before one for the model anywhere, and both before the shipped one."""
    prices = book(**{"gpt-5": rate(2), "openai__gpt-5": rate(3)})

    assert prices.rates("openai", "gpt-5") == rate(3)
    assert prices.rates("azure", "gpt-5") == rate(2)
    shipped = book().rates("openai", "gpt-5")
    assert shipped is not None
    assert shipped.source.startswith("genai-prices ")


@pytest.mark.parametrize("name", ["gpt-5-2025-08-07", "gpt-5-20250807", "gpt-5@20250807", "gpt-5-latest"])
def test_price_of_a_family_covers_its_dated_names(name: str) -> None:
    """What a provider calls the model in its answer is priced as what was asked for."""
    assert undated(name) == "gpt-5"
    assert book(**{"gpt-5": rate(2)}).rates("openai", name) == rate(2)


@pytest.mark.parametrize("name", ["gpt-4-0613", "model-9999-99-99", "llama-3-70b", "latest"])
def test_what_is_no_date_is_part_of_the_name(name: str) -> None:
    """A model is not taken for another because its name ends in digits."""
    assert undated(name) == name


def test_prices_change_on_their_day() -> None:
    """Of dated prices the newest that has begun holds; before the first the shipped one does."""
    dated = (DatedRates(rate(5), date(2026, 7, 1)), DatedRates(rate(2), date(2026, 1, 1)), DatedRates(rate(1)))

    assert book(at="2025-12-31T23:59", m=dated).rates("p", "m") == rate(1)
    assert book(at="2026-06-30T23:59", m=dated).rates("p", "m") == rate(2)
    assert book(at="2026-07-01T00:00", m=dated).rates("p", "m") == rate(5)
    later = {"gpt-5": (DatedRates(rate(9), date(2027, 1, 1)),)}
    found = book(**later).rates("openai", "gpt-5")
    assert found is not None
    assert found.source.startswith("genai-prices")


def test_prices_of_the_hour_are_not_kept_for_the_day() -> None:
    """A provider that is cheaper at night is charged at the price of the hour."""
    clock = [datetime(2025, 3, 1, 12, tzinfo=UTC)]
    prices = PriceBook(now=lambda: clock[0])
    by_day = prices.rates("deepseek", "deepseek-chat")
    clock[0] = datetime(2025, 3, 1, 20, tzinfo=UTC)
    by_night = prices.rates("deepseek", "deepseek-chat")

    assert by_day is not None
    assert by_night is not None
    assert by_day.input != by_night.input


def test_alias_costs_what_the_other_model_does() -> None:
    """A deployment of one's own naming is priced as the model it is; a provider may be named as configured."""
    names: dict[str, Any] = {"azure__prod": "openai/gpt-5", "mine": "gpt-5", "via": "claude/claude-haiku-4-5"}
    prices = ProviderPrices(book(**names), {"claude": "anthropic"})

    assert prices.rates("azure", "prod") == book().rates("openai", "gpt-5")
    assert prices.rates("openai", "mine") == book().rates("openai", "gpt-5")
    assert prices.rates("x", "via") == book().rates("anthropic", "claude-haiku-4-5")
    with pytest.raises(ConfigError, match="in a circle: a -> b -> a"):
        book(a="b", b="a")


@pytest.mark.parametrize(
    ("alias", "target"),
    [("gpt-5", "openai/gpt-5"), ("gpt-5", "gpt-5-2025-08-07"), ("openai__gpt-5", "gpt-5-2025-08-07")],
)
def test_alias_that_its_target_is_looked_up_by_too_leads_to_the_shipped_price(alias: str, target: str) -> None:
    """A name without its provider or date covers what it refers to; following it again and again would never end."""
    prices = book(**{alias: target})

    assert prices.rates("openai", "gpt-5") == book().rates("openai", "gpt-5") is not None
    assert prices.rates("openai", "gpt-5-2025-08-07") == book().rates("openai", "gpt-5") is not None


def test_unknown_is_not_zero_but_may_be_assumed() -> None:
    """A model nobody knows has no price, or the one that the configuration takes it to have."""
    assert book().rates("openai", "no-such-model") is None
    assert book(otherwise=rate(4)).rates("openai", "no-such-model") == rate(4)
    assert book(otherwise=rate(4)).rates("openai", "gpt-5") != rate(4)


def test_reasoning_and_requests_have_the_prices_of_the_data() -> None:
    """What the data know beside plain input and output is read, not rounded away."""
    searching = book().rates("perplexity", "sonar")
    assert searching is not None
    assert 0 < searching.request < NANOUSD_PER_USD // 10, "cents for one request, not dollars for a thousand"
    research = book().rates("openrouter", "perplexity/sonar-deep-research")
    assert research is not None
    assert research.reasoning != research.output


def test_each_price_of_the_data_is_read_as_it_stands() -> None:
    """Of every model and kind of token, with its steps: what has no price of its own costs what the like of it does."""
    now, read = datetime(2026, 1, 1, tzinfo=UTC), 0
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            found = provider.find_model(model.id)
            prices = found.get_prices(now) if found is not None else None
            rates = shipped_rates(provider.id, model.id, now)
            if prices is None or prices.input_mtok is None:
                assert rates is None, model.id
                continue
            read += 1
            assert rates is not None, model.id
            output = prices.output_mtok or Decimal(0)
            kinds = {
                "input": prices.input_mtok,
                "output": output,
                "cached_input": prices.cache_read_mtok or prices.input_mtok,
                "cache_write": prices.cache_write_mtok or prices.input_mtok,
                "reasoning": prices.output_reasoning_mtok or output,
            }
            assert {kind: steps_of(getattr(rates, kind)) for kind in kinds} == {
                kind: steps_of(usd) for kind, usd in kinds.items()
            }, model.id
            a_thousand = max(price for _, price in steps_of(prices.requests_kcount or Decimal(0)))
            assert 1000 * (rates.request - 1) < a_thousand <= 1000 * rates.request, model.id
    assert read > 500


def steps_of(price: Decimal | TieredPrices | Rate) -> list[tuple[int, int]]:
    """From how many tokens on what costs how many nano-USD."""
    if isinstance(price, Rate):
        return [(0, price.base), *((tier.above_input, tier.nanousd_per_mtok) for tier in price.tiers)]
    if isinstance(price, Decimal):
        return [(0, int(price * NANOUSD_PER_USD))]
    tiers = ((tier.start, tier.price) for tier in price.tiers)
    return [(start, int(usd * NANOUSD_PER_USD)) for start, usd in ((0, price.base), *tiers)]


def test_model_is_found_at_every_provider_that_has_it() -> None:
    """Looking for a name finds who serves it."""
    assert {"openai", "openrouter"} <= set(kinds_of("openai/gpt-5")) | set(kinds_of("gpt-5"))
    assert list(kinds_of("no-such-model")) == []


def test_shipped_prices_are_those_of_the_vendor_and_name_their_source() -> None:
    """A known model of a known vendor has a price out of the box; another server with that model has none."""
    rates = book().rates("openai", "gpt-4o-mini")

    assert rates is not None
    assert (rates.input.base, rates.output.base) == (150_000_000, 600_000_000)
    assert rates.source.startswith("genai-prices ")
    assert book().rates("nobody", "gpt-4o-mini") is None
    local = book().rates("mine", "anything", {"mine": "local"})
    assert local is not None
    assert local.dearest_output() == 0


def test_models_that_embed_have_prices_of_input_alone() -> None:
    """What makes vectors has no price for output, and is not taken to be without a price, nor to answer for nothing."""
    found = book().rates("openai", "text-embedding-3-small")

    assert found is not None
    assert (found.input.base, found.input_only) == (20_000_000, True)
    chat = book().rates("openai", "gpt-5")
    assert chat is not None
    assert not chat.input_only


def test_prices_on_trial_win_over_those_of_the_book() -> None:
    """A book with other prices has all that the first had beside them, and the first is as it was."""
    prices = book(otherwise=rate(9), a=rate(1), b=rate(2))
    tried = prices.with_overrides({"a": rate(5)})

    assert [tried.rates("p", name) for name in ("a", "b", "unknown-of-all")] == [rate(5), rate(2), rate(9)]
    assert prices.rates("p", "a") == rate(1)


def test_prices_on_trial_win_over_those_of_a_configured_provider() -> None:
    """What a call would have cost is asked by the provider's name in the configuration, and so are prices on trial."""
    prices = ProviderPrices(book(), {"mine": "openai"})

    tried = prices.with_overrides({"gpt-4o-mini": rate(5)})

    assert tried.rates("mine", "gpt-4o-mini") == rate(5)
    assert tried.rates("mine", "gpt-4o") == prices.rates("mine", "gpt-4o") == book().rates("openai", "gpt-4o")
