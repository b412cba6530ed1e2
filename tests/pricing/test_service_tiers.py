"""A call that its provider has served at a dearer tier is charged at it."""

import pytest

from organism.amounts import TokenUsage
from organism.pricing.rates import Rate, Rates, Tier, cost_nanousd, flat_rates
from organism.pricing.service_tiers import FAST, IN_USA, at_tier

RATES = flat_rates(input=1_000_000, output=3_000_001, cached_input=100_000, source="a list")
USAGE = TokenUsage(input=1_000_000, cached_input=1_000_000, output=1_000_000, reasoning=1_000_000)


@pytest.mark.parametrize(
    ("tier", "model", "permille"),
    [
        ("", "gpt-5", 1000),
        ("default", "gpt-5", 1000),
        ("flex", "gpt-5", 1000),
        ("standard", "claude-opus-4-6", 1000),
        ("priority", "claude-opus-4-6", 1000),
        ("priority", "gpt-5-mini", 2000),
        ("Priority", "openai/gpt-4o", 2000),
        ("priority", "gpt-5.5-pro", 2500),
        ("fast", "gpt-5.5", 2500),
        ("fast", "gpt-6-astra", 2000),
        ("priority", "gpt-6-sol", 2000),
        ("ultrafast", "gpt-6-astra", 6000),
    ],
)
def test_priority_costs_more(tier: str, model: str, permille: int) -> None:
    """What a provider bills more for, organism does, and never less than it bills."""
    charged = cost_nanousd(at_tier(RATES, tier, model), USAGE)
    usual = cost_nanousd(RATES, USAGE)
    assert usual * permille <= charged * 1000 <= usual * permille + 5000


@pytest.mark.parametrize(
    ("surcharges", "model", "permille"),
    [
        ((), "claude-opus-5", 1000),
        ((IN_USA,), "claude-opus-5", 1100),
        (("inference_geo: global", "speed: standard"), "claude-opus-5", 1000),
        ((FAST,), "claude-opus-5-5", 2000),
        ((FAST,), "anthropic/claude-opus-4.6", 6000),
        ((FAST, IN_USA), "claude-opus-4-8", 2200),
    ],
)
def test_speed_and_place_cost_more(surcharges: tuple[str, ...], model: str, permille: int) -> None:
    """What Anthropic takes for fast mode and for work in one country alone is charged, one on top of the other."""
    charged = cost_nanousd(at_tier(RATES, "standard", model, surcharges), USAGE)
    usual = cost_nanousd(RATES, USAGE)
    assert usual * permille <= charged * 1000 <= usual * permille + 5000


def test_prices_of_long_calls_are_dearer_too() -> None:
    """The rates of long calls are those of the tier as well, and the entry says which prices were used."""
    rate = Rate(10, (Tier(200, 21),))
    rates = Rates(input=rate, cached_input=rate, cache_write=rate, output=rate, reasoning=rate, source="a list")
    dearer = at_tier(rates, "priority", "gpt-5")
    assert (dearer.output.at(100), dearer.output.at(300)) == (20, 42)
    assert dearer.source == "a list, tier priority"
