"""From a checked configuration to the plain values that the rooms take. Only :mod:`organism.app` calls this."""

import msgspec

from organism.agents.agent import Agent
from organism.agents.llm_agent import TextListener
from organism.agents.tools.tool import ToolServer
from organism.budget.guards.actions import thresholds_in
from organism.budget.guards.breakers import ONLY_TOLD
from organism.config.build.agents import build_agents, response_types
from organism.config.build.breakers import breakers_of
from organism.config.build.limits import budget_plan
from organism.config.build.providers import ShowProgress, build_provider, provider_kinds
from organism.config.build.router import model_plans, otherwise, overrides, router_settings
from organism.config.build.tools import build_tool_servers
from organism.config.load import LoadedConfig
from organism.config.reuse import Reusable, reuse_provider
from organism.config.schema.root import Config
from organism.config.yaml.mistakes import Mistakes
from organism.control.components import OrganismSpec
from organism.llm.provider import Provider
from organism.runtime.bounds import Bounds
from organism.telemetry.logs import LogSettings


def build(
    loaded: LoadedConfig,
    environment: dict[str, str],
    progress: ShowProgress,
    on_text: TextListener | None,
    kept: Reusable | None = None,
) -> OrganismSpec:
    """Turn a configuration into parts.

    Args:
        environment: Where default API keys are looked up, before the ``.env`` beside the file.
        progress: Called with a line about what takes long.
        on_text: Follows answers of LLM agents while they are written.
        kept: What runs already, and is taken over where the configuration has not changed it.

    Raises:
        ConfigError: If a handler does not import, a key is missing or a package is not installed.
    """
    config, mistakes = loaded.config, Mistakes()
    parts = foreign_parts(loaded, environment, mistakes, progress=progress, on_text=on_text, kept=kept)
    mistakes.refuse()
    return OrganismSpec(
        agents=parts.agents,
        tool_servers=parts.tool_servers,
        messages=response_types(loaded),
        models=model_plans(config),
        providers=parts.providers,
        provider_kinds=provider_kinds(config),
        prices=overrides(config),
        unpriced_rates=otherwise(config),
        limits=budget_plan(config),
        router=router_settings(config),
        bounds=_bounds(config),
        name=config.name,
        entry=config.entry,
        mode=config.mode,
        thresholds=thresholds_in(config.thresholds),
        on_exhausted=config.on_exhausted,
        wait_s=float(config.llm.wait_seconds),
        configuration=loaded.mark,
    )


class ForeignParts(msgspec.Struct, frozen=True):
    """What is made of a configuration and of what stands outside it: code, keys, packages, programs, folders."""

    providers: dict[str, Provider]
    tool_servers: tuple[ToolServer, ...]
    agents: tuple[Agent, ...]


def foreign_parts(
    loaded: LoadedConfig,
    environment: dict[str, str],
    mistakes: Mistakes,
    *,
    progress: ShowProgress = lambda _line: None,
    on_text: TextListener | None = None,
    kept: Reusable | None = None,
) -> ForeignParts:
    """Make the parts that can be made; nothing is opened, started or called. The arguments are as for :func:`build`.

    Args:
        loaded: The configuration, which may have mistakes.
        environment: Where default API keys are looked up, before the ``.env`` beside the file.
        mistakes: Takes what cannot be made.
        progress: Called with a line about what takes long.
        on_text: Follows answers of LLM agents while they are written.
    """
    environment = {**loaded.dotenv, **environment}
    llm, providers = loaded.config.llm, dict[str, Provider]()
    for name, section in llm.providers.items():
        with mistakes.kept():
            providers[name] = reuse_provider(kept, name, section) or build_provider(
                loaded, name, section, environment, progress
            )
    servers = build_tool_servers(loaded, environment, kept, mistakes)
    agents = build_agents(loaded, servers, on_text, kept, mistakes)
    return ForeignParts(providers, tuple(servers.values()), agents)


def log_settings(config: Config) -> LogSettings:
    """Return what is logged."""
    rooms = msgspec.structs.asdict(config.logging.rooms)
    return LogSettings(
        format=config.logging.format,
        level=config.logging.level,
        rooms={room: level for room, level in rooms.items() if level is not None},
    )


def _bounds(config: Config) -> Bounds:
    bounds = config.bounds
    return Bounds(
        mailbox_messages=bounds.mailbox_messages,
        mailbox_bytes=bounds.mailbox_bytes,
        message_bytes=bounds.message_bytes,
        hops=bounds.hops,
        fan_out=bounds.fan_out,
        depth=bounds.depth,
        descendants=bounds.descendants,
        attempts=bounds.attempts,
        restarts=bounds.restarts,
        restart_s=float(bounds.restart_seconds),
        handlers=bounds.handlers,
        worker_threads=bounds.worker_threads,
        breakers=breakers_of(config.breakers) or ONLY_TOLD,
    )
