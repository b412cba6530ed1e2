"""What is written under ``prices:``: checked, and read from a file that may hold nothing else."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec

from organism.config.checking import Report, reporting
from organism.config.schema.agents import ToolPriceSection
from organism.config.schema.llm import PriceSection
from organism.config.schema.root import Config
from organism.config.yaml.bind import WRONG, Binder
from organism.config.yaml.mistakes import Mistakes, Path_, Source
from organism.config.yaml.nodes import parse_tree, read_text
from organism.errors import ConfigError
from organism.pricing.tool_fees import TOOLS
from organism.pricing.tool_prices import ToolPrice, tool_price
from organism.pricing.written import USD_MAX

WrittenPrices = Mapping[str, PriceSection | list[PriceSection] | str]
"""Prices by ``provider/model`` or model, as they are written."""

WrittenToolPrice = Decimal | ToolPriceSection
"""Dollars for each run of a tool, or the parts of its price."""

_KINDS = ("input", "output", "cached_input", "cache_write", "reasoning")


def check_prices(prices: WrittenPrices, report: Report) -> None:
    """Refuse prices that lead in a circle, that are beyond belief, or of which two hold on one day."""
    in_circle: set[str] = set()
    for name, written in prices.items():
        seen = [name]
        while isinstance(target := prices.get(seen[-1]), str):
            if target in seen:
                if target == name and name not in in_circle:  # those that lead into one have no mistake of their own
                    in_circle.update(seen)
                    report(f"prices refer to each other in a circle: {' -> '.join([*seen, target])}", "prices", name)
                break
            seen.append(target)
        if written == []:
            report("the list is empty; it needs at least one price", "prices", name)
        sections = written if isinstance(written, list) else [written] if isinstance(written, PriceSection) else []
        for place, section in enumerate(sections):
            at: Path_ = ("prices", name, place) if isinstance(written, list) else ("prices", name)
            check_price(section, at, report)
            if any(section.since == other.since for other in sections[:place]):
                report(f"has two prices for {section.since or 'always'}; give each its own 'since'", *at)


def check_price(section: PriceSection, at: Path_, report: Report) -> None:
    """Refuse a price that is beyond belief, and tiers that are out of order or change nothing."""
    above = [tier.above_input_tokens for tier in section.tiers]
    if sorted(set(above)) != above:
        report("tiers stand shortest first, each once", *at, "tiers")
    for tool, usd in section.tools.items():
        if tool not in TOOLS:
            report(f"no vendor's tool is called {tool!r}; there are: {', '.join(TOOLS)}", *at, "tools", tool)
        check_tool_price(usd, (*at, "tools", tool), report)
    for place, part in enumerate((section, *section.tiers)):
        where = at if part is section else (*at, "tiers", place - 1)
        given = {kind: usd for kind in _KINDS if (usd := getattr(part, kind)) is not None}
        if not given:
            report(f"changes no price; give one of: {', '.join(_KINDS)}", *where)
        for kind, usd in given.items():
            if usd > USD_MAX:
                report(f"{usd} dollars per million tokens is beyond belief", *where, kind)


def check_tool_price(written: WrittenToolPrice | None, at: Path_, report: Report) -> None:
    """Refuse a price of a tool that is made of nothing, or beyond belief."""
    try:
        tool_price_of(written)
    except ConfigError as error:
        _, _, part = (error.path or "").partition(".")
        report(error.reason, *at, *((part,) if part and isinstance(written, ToolPriceSection) else ()))


def tool_price_of(written: WrittenToolPrice | None) -> ToolPrice | None:
    """Return what the price of a tool means; ``None`` if it has none.

    Raises:
        ConfigError: If it is none; what :func:`check_tool_price` has passed is one.
    """
    if written is None:
        return None
    return tool_price(msgspec.structs.asdict(written) if isinstance(written, ToolPriceSection) else written)


def load_prices(path: Path) -> WrittenPrices:
    """Read the prices of a file: an organism.yaml, or one that has nothing but ``prices:``.

    Raises:
        ConfigError: If it cannot be read, has no prices, or they are wrong anywhere.
    """
    source = Source(str(path))
    mistakes = Mistakes()
    root = parse_tree(read_text(path), source, mistakes)
    if (node := root.entries.get("prices")) is None:
        source.fail("there are no prices in it; they stand under 'prices:', as in an organism.yaml", root.place)
    binder = Binder(source, {}, Config, mistakes)
    (shape,) = (field.type for field in msgspec.structs.fields(Config) if field.name == "prices")
    prices = binder.bind(node, msgspec.inspect.type_info(shape), ("prices",))
    if prices is not WRONG:
        check_prices(cast("WrittenPrices", prices), reporting(source, binder.places, mistakes))
    mistakes.refuse()
    return cast("WrittenPrices", prices)
