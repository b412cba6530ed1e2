"""What a call costs more when its provider has served it at a dearer tier. Pure.

A tier is chosen by the account's or the project's settings as well as by the request, so that a call that asked for
nothing may come back as ``priority``. What is cheaper (``flex``, ``batch``) is charged as usual: a budget rather holds
too much than too little.

Source: "Pricing" of OpenAI's API: priority processing costs 1.67 to 2 times as much, 2.5 times for GPT-5.5. Anthropic's
priority tier is paid in advance, at the usual prices.
"""

from msgspec.structs import replace

from organism.pricing.rates import Rate, Rates, Tier

_USUAL = 1000
_DEARER_PERMILLE = {"priority": 2000}
_DEAREST_MODELS = ("gpt-5.5", "gpt-6")
_DEAREST_PERMILLE = 2500
_PREPAID = ("claude", "anthropic")


def at_tier(rates: Rates, tier: str, model: str) -> Rates:
    """Return the prices of a model at the tier that its provider says it has served a call at.

    Args:
        tier: The provider's word; empty when it says none.
    """
    permille = _DEARER_PERMILLE.get(tier.strip().lower(), _USUAL)
    name = model.lower().rpartition("/")[2]
    if permille == _USUAL or name.startswith(_PREPAID):
        return rates
    if name.startswith(_DEAREST_MODELS):
        permille = _DEAREST_PERMILLE
    return replace(
        rates,
        input=_times(rates.input, permille),
        cached_input=_times(rates.cached_input, permille),
        cache_write=_times(rates.cache_write, permille),
        output=_times(rates.output, permille),
        reasoning=_times(rates.reasoning, permille),
        source=f"{rates.source}, tier {tier}",
    )


def _times(rate: Rate, permille: int) -> Rate:
    tiers = tuple(Tier(tier.above_input, _scaled(tier.nanousd_per_mtok, permille)) for tier in rate.tiers)
    return Rate(_scaled(rate.base, permille), tiers)


def _scaled(price: int, permille: int) -> int:
    return -(-price * permille // _USUAL)
