"""What a call costs more when its provider has served it at a dearer tier, faster, or where it was told to. Pure.

A tier is chosen by the account's or the project's settings as well as by the request, so that a call that asked for
nothing may come back as ``priority``; so is the place of the work. What is cheaper (``flex``, ``batch``) is charged as
usual: a budget rather holds too much than too little.

Sources: "Pricing", "Fast mode" and "Ultrafast mode" of OpenAI's API: priority processing, called fast since July 2026,
costs 1.67 to 2 times as much, 2.5 times for GPT-5.5, ultrafast 6 times. "Pricing", "Data residency" and "Fast mode" of
Anthropic's: work in the United States alone costs 1.1 times as much, fast mode twice, 6 times for Opus 4.6 and 4.7; its
priority tier is paid in advance, at the usual prices.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from organism.pricing.rates import Rate, Rates, Tier

_USUAL = 1000
_DEARER_PERMILLE = {"priority": 2000, "fast": 2000, "ultrafast": 6000}
_DEAREST_MODELS = ("gpt-5.5",)
_DEAREST_PERMILLE = 2500
_PREPAID = ("claude", "anthropic")

FAST, IN_USA = "speed: fast", "inference_geo: us"
"""What usage in Anthropic's words says of a call that costs more; relays pass it on in other formats too."""

_EXTRA_PERMILLE = {FAST: 2000, IN_USA: 1100}
_FASTEST_MODELS = ("claude-opus-4-6", "claude-opus-4-7", "claude-opus-4.6", "claude-opus-4.7")
_FASTEST_PERMILLE = 6000


def at_tier(rates: Rates, tier: str, model: str, surcharges: Iterable[str] = ()) -> Rates:
    """Return the prices of a model at the tier that its provider says it has served a call at.

    Args:
        tier: The provider's word; empty when it says none.
        surcharges: What else it says that it has served the call with, :data:`FAST` and the like.
    """
    name = model.lower().rpartition("/")[2]
    rates = _dearer(rates, _of_tier(tier.strip().lower(), name), f"tier {tier}")
    for word in surcharges:
        rates = _dearer(rates, _of_surcharge(word, name), word)
    return rates


def _of_tier(tier: str, name: str) -> int:
    permille = _DEARER_PERMILLE.get(tier, _USUAL)
    if permille == _USUAL or name.startswith(_PREPAID):
        return _USUAL
    return max(permille, _DEAREST_PERMILLE) if name.startswith(_DEAREST_MODELS) else permille


def _of_surcharge(word: str, name: str) -> int:
    fastest = word == FAST and any(model in name for model in _FASTEST_MODELS)
    return _FASTEST_PERMILLE if fastest else _EXTRA_PERMILLE.get(word, _USUAL)


def _dearer(rates: Rates, permille: int, why: str) -> Rates:
    if permille == _USUAL:
        return rates
    return replace(
        rates,
        input=_times(rates.input, permille),
        cached_input=_times(rates.cached_input, permille),
        cache_write=_times(rates.cache_write, permille),
        output=_times(rates.output, permille),
        reasoning=_times(rates.reasoning, permille),
        source=f"{rates.source}, {why}",
    )


def _times(rate: Rate, permille: int) -> Rate:
    tiers = tuple(Tier(tier.above_input, _scaled(tier.nanousd_per_mtok, permille)) for tier in rate.tiers)
    return Rate(_scaled(rate.base, permille), tiers)


def _scaled(price: int, permille: int) -> int:
    return -(-price * permille // _USUAL)
