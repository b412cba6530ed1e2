"""``organism prices``: what models cost, where that is known from, and which models of an organism have no price."""

from collections.abc import Iterator

import msgspec
from cyclopts import App

from organism.amounts import format_usd
from organism.cli import exit_codes
from organism.cli.completion import ModelName
from organism.cli.options import DEFAULT_FILE, File, Json
from organism.cli.output import complain, print_json
from organism.cli.terminal import Table, Terminal, markup
from organism.clock import SystemClock, utc
from organism.config.build.providers import provider_kinds
from organism.config.build.router import model_plans, otherwise, overrides
from organism.config.load import LoadedConfig, load_config
from organism.config.schema.root import Config
from organism.config.yaml.scalars import AnyEnvironment
from organism.pricing.book import PriceBook, ProviderPrices
from organism.pricing.rates import Rate, Rates
from organism.pricing.shipped import kinds_of

app = App(name="prices")

_HEADINGS = ("input", "cached", "written", "output", "reasoning", "from")


class Priced(msgspec.Struct, frozen=True, omit_defaults=True):
    """A route and its prices, in nano-USD per million tokens; ``None`` when nobody knows them.

    Attributes:
        served_by: ``provider/model``.
        rates: Its prices.
        model: The model of the configuration that it serves; empty for none.
    """

    served_by: str
    rates: Rates | None
    model: str = ""


@app.default
def show_prices(model: ModelName, *, file: File = DEFAULT_FILE, json: Json = False) -> int:
    """Show what a model costs, and where the price is known from.

    Without a configuration only the shipped prices are known.

    Args:
        model: A model of the configuration, provider/model, or a model's name anywhere.
    """
    config = load_config(file, AnyEnvironment()).config if file.exists() else None
    found = tuple(_found(model, config))
    known = any(priced.rates is not None for priced in found)
    if json:
        print_json(found)
    elif found:
        _print_table(found, "served by")
    if not known:
        complain(f"no price is known for {model!r}; give it one under 'prices:' in {file}")
    return exit_codes.OK if known else exit_codes.FAILED


@app.command(name="check")
def check_prices(*, file: File = DEFAULT_FILE, json: Json = False) -> int:
    """Show what every model of the configuration costs; fails if calls may be refused because a price is unknown."""
    config = load_config(file, AnyEnvironment()).config
    prices = prices_of(config)
    found = tuple(
        Priced(f"{route.provider}/{route.model}", prices.rates(route.provider, route.model), plan.name)
        for plan in model_plans(config).values()
        for route in plan.routes
    )
    missing = unpriced_routes(config)
    if json:
        print_json(found)
    else:
        _print_table(found, "model", "served by")
        if missing:
            Terminal().say("[yellow]![/] {}", unpriced_in_words(config, missing))
    return exit_codes.FAILED if missing and config.llm.unpriced == "refuse" else exit_codes.OK


def _print_table(found: tuple[Priced, ...], *headings: str) -> None:
    table = _table(*headings)
    last = ""
    for priced in found:
        for row in _rows(priced.served_by, priced.rates):
            table.add_row(*([priced.model if priced.model != last else ""] if len(headings) > 1 else []), *row)
            last = priced.model
    console = Terminal()
    console.say("[dim]dollars per million tokens[/]")
    console.show(table)


def prices_of(config: Config) -> ProviderPrices:
    """Return the prices that a configuration works with; needs no API key."""
    clock = SystemClock()
    book = PriceBook(overrides(config), now=lambda: utc(clock), otherwise=otherwise(config))
    return ProviderPrices(book, provider_kinds(config))


def unpriced_routes(config: Config) -> tuple[str, ...]:
    """Return the routes whose price nobody knows."""
    prices = prices_of(config)
    routes = {route for plan in model_plans(config).values() for route in plan.routes}
    unknown = ((route, prices.rates(route.provider, route.model)) for route in routes)
    return tuple(
        sorted(f"{route.provider}/{route.model}" for route, rates in unknown if rates is None or rates.assumed)
    )


def unpriced_steps(config: Config) -> tuple[tuple[str, str], ...]:
    """Return the models that degrade to one of whose routes none has a price: a limit in USD never lets calls there."""
    plans, unpriced = model_plans(config), set(unpriced_routes(config))
    steps = ((plan.name, plan.degrade.to) for plan in plans.values() if plan.degrade is not None)
    return tuple(
        (name, to)
        for name, to in steps
        if config.llm.unpriced == "refuse"
        and all(f"{route.provider}/{route.model}" in unpriced for route in plans[to].routes)
    )


def unpriced_step_in_words(loaded: LoadedConfig, name: str, to: str) -> str:
    """Say where a model is written to degrade to one without a price, and what that comes to."""
    reason = (
        f"no price is known for {to!r}, so where a limit in USD is enforced calls stay with {name!r}; "
        f"give what {to!r} is served by a price under 'prices:'"
    )
    return loaded.at(reason, "llm", "models", name, "degrade", "to").sentence


def unpriced_in_words(config: Config, routes: tuple[str, ...]) -> str:
    """Say how calls to routes without a price are treated."""
    match config.llm.unpriced:
        case "refuse":
            then = "a limit in USD refuses their calls in mode enforce"
        case "record":
            then = "their calls are made and recorded without a cost"
        case _:
            then = "they are taken to cost what 'unpriced' says"
    return f"no price is known for {', '.join(routes)}: {then}; give them one under 'prices:'"


def _found(model: str, config: Config | None) -> Iterator[Priced]:
    prices = prices_of(config) if config is not None else ProviderPrices(PriceBook(now=lambda: utc(SystemClock())), {})
    if config is not None and model in config.llm.models:
        for route in model_plans(config)[model].routes:
            yield Priced(f"{route.provider}/{route.model}", prices.rates(route.provider, route.model), model)
        return
    provider, slash, served = model.partition("/")
    if slash and (rates := prices.rates(provider, served)) is not None:
        yield Priced(model, rates)
        return
    for kind in kinds_of(model):
        if (rates := prices.rates(kind, model)) is not None:
            yield Priced(f"{kind}/{model}", rates)


def _rows(name: str, rates: Rates | None) -> Iterator[tuple[str, ...]]:
    """Yield a row of prices, and one more for each length of input from which they differ."""
    if rates is None:
        yield (name, markup("[yellow]unknown[/]"), "", "", "", "", "")
        return
    kinds = [rates.input, rates.cached_input, rates.cache_write]
    kinds += () if rates.input_only else (rates.output, rates.reasoning)
    none = ("",) * (5 - len(kinds))
    note = f", and {format_usd(rates.request)} a request" if rates.request else ""
    yield (name, *(_usd(rate, 0) for rate in kinds), *none, rates.source + note)
    for above in sorted({tier.above_input for rate in kinds for tier in rate.tiers}):
        yield (markup("  input > {:,}", above), *(_usd(rate, above + 1) for rate in kinds), *none, "")


def _usd(rate: Rate, input_tokens: int) -> str:
    return format_usd(rate.at(input_tokens))


def _table(*names: str) -> Table:
    return Table(*names, *_HEADINGS, left=(*names, "from"), title_column=True)
