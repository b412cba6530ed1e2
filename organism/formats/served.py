"""How a provider says in its usage that it has served a call, where that has its price. Pure.

Sources: ``usage`` of Anthropic's messages; relays pass its fields on in other formats too.
"""

from collections.abc import Iterator

from organism.formats.counts import count_of
from organism.formats.json_reading import JsonObject, part, text_of

_WORDS = ("speed", "inference_geo")
_FOR_AN_HOUR = ("cache_creation", "ephemeral_1h_input_tokens")


def surcharges_in(usage: JsonObject) -> Iterator[str]:
    """Yield what usage says of speed and place; see :mod:`organism.pricing.service_tiers`."""
    for name in _WORDS:
        if word := text_of(usage.get(name)).strip().lower():
            yield f"{name}: {word[:64]}"


def keeps_for_an_hour(usage: JsonObject) -> bool:
    """Whether any of the input was written to a cache that keeps it for an hour: a relay may ask for that by itself."""
    return bool(count_of(part(usage, *_FOR_AN_HOUR)))
