"""Whether a configuration can be run: all that would stop a daemon at its start is found without opening anything."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from organism.clock import SystemClock, utc
from organism.config.build.exporters import exports
from organism.config.build.providers import provider_kinds
from organism.config.build.router import model_plans
from organism.config.build.spec import foreign_parts
from organism.config.load import LoadedConfig, read_config
from organism.config.yaml.mistakes import Mistakes
from organism.daemon.file_safety import refuse_foreign_file
from organism.daemon.gateway_settings import gateway_settings
from organism.daemon.journal_file import check_store
from organism.pricing.book import PriceBook, ProviderPrices, names_of
from organism.router.planning.plan import ANY
from organism.telemetry.otel import asked_of_otel


def examined(path: Path, environment: Mapping[str, str]) -> LoadedConfig:
    """Read a file, and refuse it for everything that a daemon cannot run with.

    ``organism check`` and the daemon itself ask this, so what one refuses the other does in the same words.

    Args:
        environment: Where ``${env:NAME}``, keys and addresses are looked up, before the ``.env`` beside the file.

    Raises:
        ConfigError: If it cannot be read or anything in it cannot be used: every mistake with file, line and column.
    """
    refuse_foreign_file(path)
    mistakes = Mistakes()
    loaded = read_config(path, environment, mistakes)
    with mistakes.kept():
        exports(loaded, lambda: 0)
    with mistakes.kept():
        gateway_settings(loaded)
    with mistakes.kept():
        check_store(loaded, environment)
    with mistakes.kept():
        asked_of_otel(environment)
    if mistakes:  # else they are made once more soon
        foreign_parts(loaded, dict(environment), mistakes)
    else:
        with mistakes.kept():
            _refuse_misspelt_prices(loaded)
    mistakes.refuse()
    return loaded


def _refuse_misspelt_prices(loaded: LoadedConfig) -> None:
    """Refuse a price that no model has, where a model that has none is called nearly so."""
    config = loaded.config
    routes = {(route.provider, route.model) for plan in model_plans(config).values() for route in plan.routes}
    used = {name for provider, model in routes for name in names_of(provider, model)}
    used |= {target for target in config.prices.values() if isinstance(target, str)}
    unused = [name for name in config.prices if name not in used and not _is_by_pattern(name, routes)]
    if not unused:
        return
    mistakes = Mistakes()
    prices = ProviderPrices(PriceBook(now=lambda: utc(SystemClock())), provider_kinds(config))
    for provider, model in sorted(routes):
        if any(name in config.prices for name in names_of(provider, model)):
            continue
        known = prices.rates(provider, model)
        if known is not None and provider_kinds(config)[provider] != "local":
            continue
        served = f"{provider}/{model}"
        for near in (get_close_matches(served, unused, n=1) or get_close_matches(model, unused, n=1))[:1]:
            with mistakes.kept():
                loaded.fail(
                    f"no model is served as {near!r}; did you mean {served!r}, which has no price?", "prices", near
                )
    mistakes.refuse()


def _is_by_pattern(name: str, routes: set[tuple[str, str]]) -> bool:
    """Whether a model that only a program from outside names may have a price."""
    patterns = [f"{provider}/{model[:-1]}" for provider, model in routes if model.endswith(ANY)]
    return any(name.startswith(pattern) or "/" not in name for pattern in patterns)
