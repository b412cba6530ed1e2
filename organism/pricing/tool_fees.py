"""Vendors' fees for uses of tools that they run themselves. Pure.

Fees are added to the price of a request beside its tokens, so that recomputing a cost gives the same: for all uses that
a call may make when it is held, for those that it has made when it is charged.

Sources: "Pricing" of OpenAI's API, "Built-in tools" (a search 10 dollars a thousand, the older one 25 with models that
do not think, file search 2.50, a container 0.03 to 1.92 dollars by its memory; pictures by the tokens of a model of
their own, of which the dearest comes to less than 0.30 dollars each), and "Pricing" of Anthropic's, "Tool use"
(a search 10 dollars a thousand, fetching nothing, a container 0.05 dollars an hour: a call is charged one hour).
"""

from collections.abc import Mapping

from msgspec.structs import replace

from organism.pricing.rates import Rates

FEES_NANOUSD: dict[str, int] = {
    "messages:web_search": 10_000_000,
    "messages:web_fetch": 0,
    "messages:code_execution": 50_000_000,
    "responses:web_search": 10_000_000,
    "responses:web_search_preview": 25_000_000,
    "responses:file_search": 2_500_000,
    "responses:image_generation": 300_000_000,
    "responses:container_1g": 30_000_000,
    "responses:container_4g": 120_000_000,
    "responses:container_16g": 480_000_000,
    "responses:container_64g": 1_920_000_000,
    "chat:web_search": 50_000_000,
}
"""The fee of one use, by the format in which the tool is asked for and its name there."""

TOOLS: tuple[str, ...] = tuple(dict.fromkeys(name.partition(":")[2] for name in FEES_NANOUSD))
"""The names of tools with a fee, without their format."""

_ON_ONES_OWN = "local"


def with_fees(rates: Rates, uses: Mapping[str, int]) -> Rates:
    """Return the prices of a call whose vendor runs tools for it.

    Args:
        rates: The model's prices; a model on the user's own machine has no fees.
        uses: Uses of each tool, by its name in :data:`FEES_NANOUSD`.
    """
    if not uses or (rates.source == _ON_ONES_OWN and not rates.fees):
        return rates
    fees = sum(_fee(rates, tool) * max(0, count) for tool, count in uses.items())
    return replace(rates, request=rates.request + fees, source=f"{rates.source}, fees") if fees else rates


def _fee(rates: Rates, tool: str) -> int:
    """Return the fee of one use: the one configured with the model's price, else the vendor's."""
    own = rates.fees.get(tool.partition(":")[2])
    return FEES_NANOUSD.get(tool, 0) if own is None else own
