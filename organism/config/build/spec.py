"""From a checked configuration to the plain values that the rooms take. Only :mod:`organism.app` calls this."""

import msgspec
import structlog
from msgspec.structs import replace

from organism.agents.llm_agent import TextListener
from organism.amounts import NS_PER_S, Limits, nanousd
from organism.budget.guards.breakers import ONLY_TOLD
from organism.budget.scopes import DEFAULT_TOKENS_PER_THREAD, BudgetPlan, ScopedLimits
from organism.config.build.agents import build_agents, response_types
from organism.config.build.breakers import breakers_of
from organism.config.build.providers import ShowProgress, build_provider, provider_kinds
from organism.config.build.router import model_plans, otherwise, overrides, router_settings
from organism.config.build.tools import build_tool_servers
from organism.config.load import LoadedConfig, time_zone
from organism.config.reuse import Reusable, reuse_provider
from organism.config.schema.limits import AllLimitsSection, LimitsSection, ScopedLimitsSection, ThreadLimitsSection
from organism.config.schema.root import Config
from organism.control.components import OrganismSpec
from organism.runtime.bounds import Bounds
from organism.telemetry.logs import LogSettings

_log = structlog.get_logger("organism.config")


def build(
    loaded: LoadedConfig,
    environment: dict[str, str],
    progress: ShowProgress,
    on_text: TextListener | None,
    kept: Reusable | None = None,
) -> OrganismSpec:
    """Turn a configuration into parts.

    Args:
        loaded: The configuration.
        environment: Where default API keys are looked up.
        progress: Called with a line about what takes long.
        on_text: Follows answers of LLM agents while they are written.
        kept: What runs already, and is taken over where the configuration has not changed it.

    Raises:
        ConfigError: If a handler does not import, a key is missing or a package is not installed.
    """
    config = loaded.config
    providers = {
        name: reuse_provider(kept, name, section) or build_provider(loaded, name, section, environment, progress)
        for name, section in config.llm.providers.items()
    }
    servers = build_tool_servers(loaded, environment, kept)
    return OrganismSpec(
        agents=build_agents(loaded, servers, on_text, kept),
        tool_servers=tuple(servers.values()),
        messages=response_types(loaded),
        models=model_plans(config),
        providers=providers,
        provider_kinds=provider_kinds(config),
        prices=overrides(config),
        unpriced_rates=otherwise(config),
        limits=budget_plan(config),
        router=router_settings(config),
        bounds=_bounds(config),
        name=config.name,
        entry=config.entry,
        mode=config.mode,
        thresholds=tuple(config.thresholds),
        on_exhausted=config.on_exhausted,
        wait_s=float(config.llm.wait_seconds),
    )


def log_settings(config: Config) -> LogSettings:
    """Return what is logged."""
    rooms = msgspec.structs.asdict(config.logging.rooms)
    return LogSettings(
        format=config.logging.format,
        level=config.logging.level,
        rooms={room: level for room, level in rooms.items() if level is not None},
    )


def budget_plan(config: Config) -> BudgetPlan:
    """Return all limits in integer units."""
    limits = config.limits
    short = config.max_tokens_per_thread if config.max_tokens_per_thread is not None else limits.max_tokens_per_thread
    written = limits.thread.tokens if short is None else short
    tokens = DEFAULT_TOKENS_PER_THREAD if written is None else written
    return BudgetPlan(
        thread=replace(thread_limits(limits.thread), tokens=None if tokens == "unlimited" else tokens),
        windows={"day": _limits(limits.day), "month": _limits(limits.month)},
        agents={name: _scoped(section) for name, section in limits.agents.items()},
        models={name: _scoped(section) for name, section in limits.models.items()},
        providers={name: _scoped(section) for name, section in limits.providers.items()},
        time_zone=time_zone(config),
        final_reserve_percent=_final_reserve(limits),
    )


def _final_reserve(limits: AllLimitsSection) -> int:
    if limits.wrap_up is None:
        return limits.final_reserve
    _log.warning("renamed_key", key="limits.wrap_up", use="limits.final_reserve")
    return limits.wrap_up


def thread_limits(section: ThreadLimitsSection) -> Limits:
    """Return the limits of a thread in integer units."""
    elapsed = None if section.seconds is None else int(section.seconds * NS_PER_S)
    return replace(_limits(section), elapsed_ns=elapsed)


def _limits(section: LimitsSection | ThreadLimitsSection) -> Limits:
    tokens = None if section.tokens == "unlimited" else section.tokens
    return Limits(tokens=tokens, cost_nanousd=_cost(section), calls=section.calls)


def _scoped(section: ScopedLimitsSection) -> ScopedLimits:
    return ScopedLimits(_limits(section), section.per)


def _cost(section: LimitsSection) -> int | None:
    return None if section.usd is None else nanousd(section.usd)


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
        worker_threads=bounds.worker_threads,
        breakers=breakers_of(config.breakers) or ONLY_TOLD,
    )
