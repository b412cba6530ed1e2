"""``organism check``, ``init`` and ``models``: look before anything runs."""

from collections.abc import Sequence
from pathlib import Path

from organism.amounts import Dimension, Limits, format_amount
from organism.app import Organism
from organism.budget.scopes import BudgetPlan
from organism.budget.thresholds import limit_of
from organism.cli import exits
from organism.cli.output import print_json, print_line
from organism.cli.prices import unpriced_in_words, unpriced_routes
from organism.cli.terminal import Table, Terminal
from organism.config.build.exporters import exports
from organism.config.describe import (
    describe_agents,
    describe_graph,
    describe_keys,
    describe_models,
    describe_providers,
    describe_tool_servers,
    describe_tools,
)
from organism.config.json_schema import SHIPPED
from organism.config.load import DEFAULT_FILE, load_config
from organism.config.schema.root import Config
from organism.config.starter import STARTER, STARTER_HANDLER, STARTER_MODULE
from organism.daemon.gateway_settings import gateway_settings
from organism.errors import ConfigError
from organism.providers.model_files import MODELS, ModelFile, find

_DIMENSIONS: tuple[Dimension, ...] = ("tokens", "usd", "seconds", "calls")


def check_file(path: Path, environment: dict[str, str], *, as_json: bool = False) -> int:
    """Check a configuration as far as one can without running it, and draw it, or say it in JSON.

    Raises:
        ConfigError: If it is wrong anywhere.
    """
    loaded = load_config(path, environment)
    gateway_settings(loaded)  # finds keys that are empty, and one that is given twice
    organism = Organism.from_config(loaded, environment)
    exports(loaded, organism.clock.now_ns)  # finds events that do not exist, and secrets that can sign nothing
    config = loaded.config
    if as_json:
        return print_json(_as_json(config, organism.budgets.plan))
    console = Terminal()
    console.say(
        "[bold]{}[/] mode {}, thresholds {} %", config.name, config.mode, ", ".join(map(str, config.thresholds))
    )
    console.show(_table(("agent", "is", "next", "waits for"), describe_agents(config)))
    console.show(_table(("limit on", "is"), _limit_rows(organism.budgets.plan)))
    console.show(_table(("model", "goes to", "by", "then"), describe_models(config)))
    console.show(_table(("provider", "is", "takes", "may take", "rests"), describe_providers(config)))
    if tools := describe_tools(config):
        console.show(_table(("tool of", "is", "approval", "bounds"), tools))
    if servers := describe_tool_servers(config):
        console.show(_table(("MCP server", "is"), servers))
    if keys := describe_keys(config):
        console.show(_table(("gateway key", "spends from", "labels"), keys))
    console.say("plain functions run on at most {} worker threads", config.bounds.worker_threads)
    console.say_as_it_is(describe_graph(config))
    if missing := unpriced_routes(config):
        console.say("[yellow]![/] {}", unpriced_in_words(config, missing))
    console.say("[green]{} is right[/]", path)
    return exits.OK


def _as_json(config: Config, plan: BudgetPlan) -> dict[str, object]:
    """Say what a configuration comes to; nothing of it that could be a secret."""
    routes = [dict(zip(("model", "goes_to", "by", "then"), row, strict=True)) for row in describe_models(config)]
    return {
        "name": config.name,
        "mode": config.mode,
        "thresholds": config.thresholds,
        "agents": {name: {"is": what, "next": after} for name, what, after, _ in describe_agents(config)},
        "limits": dict(_limit_rows(plan)),
        "models": routes,
        "providers": [row[0] for row in describe_providers(config)],
        "unpriced": unpriced_routes(config),
        "worker_threads": config.bounds.worker_threads,
    }


def init_folder(folder: Path, *, force: bool, as_json: bool = False) -> int:
    """Write the starter files.

    Raises:
        ConfigError: If one of them is there already and must not be overwritten, or cannot be written.
    """
    files = {
        DEFAULT_FILE: STARTER,
        STARTER_MODULE: STARTER_HANDLER,
        SHIPPED.name: SHIPPED.read_text(encoding="utf-8"),
    }
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        raise ConfigError(f"already here: {', '.join(there)}; use --force to overwrite", where=str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", where=str(folder)) from None
    told = f'wrote {", ".join(files)}; now try: organism run "Write about tides"'
    return print_json(list(files)) if as_json else print_line(told)


def print_models(*, as_json: bool = False) -> int:
    """List the models known by name."""
    if as_json:
        return print_json([_model_as_json(model) for model in MODELS.values()])
    console = Terminal()
    rows = [
        (model.name, f"{model.size // 1_000_000} MB", model.licence, str(find(model.name) or "not fetched"))
        for model in MODELS.values()
    ]
    console.show(_table(("model", "size", "licence", "file"), rows))
    return exits.OK


def _model_as_json(model: ModelFile) -> dict[str, object]:
    found = find(model.name)
    return {"name": model.name, "bytes": model.size, "licence": model.licence, "file": found and str(found)}


def _limit_rows(plan: BudgetPlan) -> list[tuple[str, str]]:
    rows = [("each thread", _limits_text(plan.thread))]
    rows += [(f"all threads, per {window}", _limits_text(limits)) for window, limits in plan.windows.items()]
    for kind, scoped in (("agent", plan.agents), ("model", plan.models), ("provider", plan.providers)):
        rows += [(f"{kind} {name}, per {limit.per}", _limits_text(limit.limits)) for name, limit in scoped.items()]
    return [row for row in rows if row[1] != "none"]


def _limits_text(limits: Limits) -> str:
    parts = [
        format_amount(dimension, limit)
        for dimension in _DIMENSIONS
        if (limit := limit_of(limits, dimension)) is not None
    ]
    return ", ".join(parts) or "none"


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(*headings, left=headings, fold=True)
    for row in rows:
        table.add_row(*row)
    return table
