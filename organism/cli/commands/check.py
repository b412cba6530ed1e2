"""``organism check``: what a configuration describes."""

import os
from collections.abc import Iterator, Sequence

from organism.agents.llm_agent import tool_prices
from organism.amounts import Limits
from organism.amounts.units import format_limits
from organism.app import Organism
from organism.budget.scopes import BudgetPlan, ScopedLimits, ScopeRule, limits_over_time
from organism.cli import exit_codes
from organism.cli.commands.prices import unpriced_in_words, unpriced_routes, unpriced_step_in_words, unpriced_steps
from organism.cli.options import DEFAULT_FILE, File, Json
from organism.cli.output import print_json
from organism.cli.tables import word_table
from organism.cli.terminal import Terminal
from organism.config.describe import (
    describe_agents,
    describe_breakers,
    describe_graph,
    describe_keys,
    describe_models,
    describe_node_labels,
    describe_providers,
    describe_tool_servers,
    describe_tools,
)
from organism.config.load import LoadedConfig
from organism.config.presets import gateway_in_force
from organism.config.schema.limits import Thresholds
from organism.config.schema.root import ClusterSection, Config, listed_labels
from organism.daemon.examine import examined
from organism.daemon.gateway_settings import gateway_settings
from organism.daemon.node_name import node_name
from organism.journal import JournalError
from organism.ledger.windows import rolling_ns
from organism.text.plain_text import counted


def check(*, file: File = DEFAULT_FILE, json: Json = False) -> int:
    """Check the configuration and show the organism it describes."""
    environment = dict(os.environ)
    loaded = examined(file, environment)
    gateway = gateway_settings(loaded)
    organism = Organism.from_config(loaded, environment)
    config = loaded.config
    if json:
        paid_tools = [dict(zip(("agent", "tool", "price", "held"), row, strict=True)) for row in _paid_tools(organism)]
        more: dict[str, object] = {"gateway": dict(gateway_in_force(config)), "paid_tools": paid_tools}
        if (section := config.cluster) is not None:
            found, wrong = _cluster_database(section, config.name)
            state: dict[str, object] = {"partitions": found, "database": wrong or "as configured"}
            state |= {"labels": listed_labels(section.labels)} if section.labels else {}
            more["cluster"] = {"node": node_name(section), **state}
        return print_json(_as_json(config, organism.budgets.plan) | more)
    console = Terminal()
    warns = f"{_thresholds_text(config.thresholds)} %, warned ahead of the last {counted(config.warn_ahead, 'call')}"
    console.say("[bold]{}[/] mode {}, thresholds {}", config.name, config.mode, warns)
    console.show(word_table(("agent", "model or handler", "next", "gathers"), describe_agents(config)))
    console.show(word_table(("limit on", "at most"), _limit_rows(organism.budgets.plan)))
    console.show(word_table(("model", "routes", "strategy", "then"), describe_models(config)))
    console.show(
        word_table(("provider", "type", "rate limits", "timeouts", "circuit breaker"), describe_providers(config))
    )
    tables: tuple[tuple[tuple[str, ...], Sequence[tuple[str, ...]]], ...] = (
        (("agent", "tool", "approval", "bounds"), describe_tools(config)),
        (("MCP server", "command or URL"), describe_tool_servers(config)),
        (("agent", "paid tool", "price", "held for a run"), _paid_tools(organism)),
        (("agent", "only at nodes labelled", "partitions"), describe_node_labels(config)),
    )
    for heads, rows in tables:
        if rows:
            console.show(word_table(heads, rows))
    if gateway is not None:
        each = ("each thread of the gateway", _limits_text(gateway.limits or organism.budgets.plan.thread))
        console.show(word_table(("gateway", "is"), [*gateway_in_force(config), each]))
    if keys := describe_keys(config):
        console.show(word_table(("gateway key", "spends from", "labels"), keys))
    if config.cluster is not None:
        _show_cluster(console, config.cluster, config.name)
    console.show(word_table(("breakers", "trip after", "what follows"), describe_breakers(config)))
    if over_time := limits_over_time(organism.budgets.plan):
        console.say("kept through restarts, but by run --ephemeral begun anew: {}", ", ".join(over_time))
    bounded = [f"{name} {agent.handlers}" for name, agent in config.agents.items() if agent.handlers is not None]
    console.say(
        "at most {} at once{}",
        counted(config.bounds.handlers, "handler runs", "handlers run"),
        f"; {', '.join(bounded)}" if bounded else "",
    )
    console.say("plain functions run on at most {}", counted(config.bounds.worker_threads, "worker thread"))
    console.say_as_it_is(describe_graph(config))
    for notice in _unpriced(loaded):
        console.say("[yellow]![/] {}", notice)
    if loaded.dotenv.exposed:
        console.say("[yellow]everybody on this machine can read {}[/]; run: chmod 600 on it", loaded.folder / ".env")
    console.say("[green]{} is right[/]", file)
    return exit_codes.OK


def _unpriced(loaded: LoadedConfig) -> Iterator[str]:
    """Say which models have no price, and where calls are to step down to one of them."""
    if missing := unpriced_routes(loaded.config):
        yield unpriced_in_words(loaded.config, missing)
    for name, to in unpriced_steps(loaded.config):
        yield unpriced_step_in_words(loaded, name, to)


def _cluster_database(section: ClusterSection, name: str) -> tuple[int | None, str]:
    """Return how many partitions a cluster's database has, or what is wrong with it: a check needs none."""
    from organism.stores.postgres.preparation import Purpose, found_as_configured

    try:
        return found_as_configured(section.url, Purpose(name=name, partitions=section.partitions)), ""
    except JournalError as error:
        return None, str(error)


def _show_cluster(console: Terminal, section: ClusterSection, name: str) -> None:
    found, wrong = _cluster_database(section, name)
    at = section.advertise or "only this machine"
    labels = f", labelled {', '.join(listed_labels(section.labels))}" if section.labels else ""
    console.say("one of a cluster: node {}, reached by {}{}", node_name(section), at, labels)
    if found is None:
        console.say("[yellow]![/] {}", wrong)
    else:
        console.say("its database has {}, as configured", counted(found, "partition"))


def _paid_tools(organism: Organism) -> list[tuple[str, str, str, str]]:
    """Return a row for each tool that has a price, wherever that is written: in the file or at the function."""
    return [(name, *row) for name, agent in organism.agents.items() for row in tool_prices(agent)]


def _as_json(config: Config, plan: BudgetPlan) -> dict[str, object]:
    """Say what a configuration comes to; nothing of it that could be a secret."""
    routes = [dict(zip(("model", "goes_to", "by", "then"), row, strict=True)) for row in describe_models(config)]
    return {
        "name": config.name,
        "mode": config.mode,
        "thresholds": config.thresholds,
        "warn_ahead": config.warn_ahead,
        "agents": {name: {"is": what, "next": after} for name, what, after, _ in describe_agents(config)},
        "limits": dict(_limit_rows(plan)),
        "node_labels": {name: label for name, label, _ in describe_node_labels(config)},
        "models": routes,
        "providers": [row[0] for row in describe_providers(config)],
        "unpriced": unpriced_routes(config),
        "degrades_unpriced": dict(unpriced_steps(config)),
        "handlers": {"all": config.bounds.handlers}
        | {name: agent.handlers for name, agent in config.agents.items() if agent.handlers is not None},
        "worker_threads": config.bounds.worker_threads,
        "breakers": {who: {"after": trips, "then": then} for who, trips, then in describe_breakers(config)},
    }


def _limit_rows(plan: BudgetPlan) -> list[tuple[str, str]]:
    rows = [("each thread", _limits_text(plan.thread))]
    rows[0] = (rows[0][0], rows[0][1] + _rule_text(plan.rules.get("thread", ScopeRule())))
    for window, limits in plan.windows.items():
        who = "each call" if window == "call" else f"all threads, {_per_text(window)}"
        rows.append((who, _limits_text(limits) + _rule_text(plan.rules.get(window, ScopeRule()))))
    for kind, by_name in (("agent", plan.agents), ("model", plan.models), ("provider", plan.providers)):
        rows += [_scoped_row(f"{kind} {name}", scoped) for name, scoped in by_name.items()]
    for name, label in plan.labels.items():
        rows.append(_scoped_row(f"each {name}{' (required)' if label.required else ''}", label.each))
        rows += [_scoped_row(f"{name}={value}", scoped) for value, scoped in label.values.items()]
        for pool_name, pool in label.pools.items():
            together = ", ".join(sorted(pool.values))
            rows.append(_scoped_row(f"pool {pool_name} of {name} ({together})", pool.scoped))
    return [row for row in rows if not row[1].startswith("none") or "(required)" in row[0]]


def _scoped_row(who: str, scoped: ScopedLimits) -> tuple[str, str]:
    return f"{who}, {_per_text(scoped.per)}", _limits_text(scoped.limits) + _rule_text(scoped.rule)


def _per_text(per: str) -> str:
    if rolling_ns(per):
        return f"in any {per}"
    return "in all" if per == "lifetime" else f"per {per}"


def _rule_text(rule: ScopeRule) -> str:
    """Say what happens on a scope where it differs from the organism's."""
    parts = [f"mode {rule.mode}"] if rule.mode is not None else []
    if rule.actions:
        parts += [", ".join(f"{threshold} % {action}" for threshold, action in rule.actions)]
    elif rule.thresholds is not None:
        parts += [f"warns at {', '.join(map(str, rule.thresholds))} %"]
    return f" ({'; '.join(parts)})" if parts else ""


def _thresholds_text(written: Thresholds) -> str:
    if isinstance(written, list):
        return ", ".join(map(str, written))
    return ", ".join(f"{threshold} {action}" for threshold, action in written.items())


def _limits_text(limits: Limits) -> str:
    return format_limits(limits) or "none"
