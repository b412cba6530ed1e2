"""From organism.yaml to a checked configuration: every name in it leads somewhere, or the error says which does not."""

import re
from collections import ChainMap
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NoReturn, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from organism.config.dotenv import DotEnv, read_dotenv
from organism.config.limits_section import check_scopes, check_thresholds
from organism.config.presets import applied
from organism.config.price_section import check_price, check_prices, check_tool_price
from organism.config.provider_connections import check_reach
from organism.config.schema.agents import (
    AskToolSection,
    LLMAgentSection,
    MCPToolSection,
    MCPURLSection,
    SendToolSection,
    ToolSection,
)
from organism.config.schema.llm import ModelSection, PriceSection
from organism.config.schema.root import Config
from organism.config.yaml.bind import Binder, did_you_mean
from organism.config.yaml.nodes import Path_, Source, parse_tree, read_text
from organism.ids import AGENT_NAME, THREAD_ID, USER
from organism.router.planning.plan import ANY
from organism.text.credentials import remember_environment

DEFAULT_FILE = "organism.yaml"

_SERVER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
"""It begins the names of the server's tools, which have 64 characters at most."""


_SHA256 = re.compile(r"[0-9a-f]{64}")


class LoadedConfig(msgspec.Struct, frozen=True):
    """A configuration and where each of its values stands.

    Attributes:
        config: The values.
        folder: Where the file is; relative paths start here.
        source: What errors name.
        lines: The line of each value and key, by its path.
        dotenv: What stands in the ``.env`` beside it; the process's own environment has the last word.
    """

    config: Config
    folder: Path
    source: Source
    lines: dict[Path_, int]
    dotenv: DotEnv = DotEnv()

    def fail(self, reason: str, *path: str | int) -> NoReturn:
        """Raise a :class:`ConfigError` about the value at a path."""
        self.source.fail_near(reason, path, self.lines)


def load_config(path: Path, environment: Mapping[str, str]) -> LoadedConfig:
    """Read and check a file.

    Args:
        path: The file.
        environment: Where ``${env:NAME}`` is looked up, before the ``.env`` beside the file.

    Raises:
        ConfigError: If it cannot be read or is wrong anywhere; the first mistake is named with file and line.
    """
    text, folder = read_text(path), path.resolve().parent
    dotenv = read_dotenv(folder / ".env")
    remember_environment({**dotenv, **environment})
    return parse_config(text, str(path), folder, environment, dotenv)


def parse_config(
    text: str,
    name: str,
    folder: Path,
    environment: Mapping[str, str],
    dotenv: DotEnv = DotEnv(),  # noqa: B008 - frozen
) -> LoadedConfig:
    """Check a text as :func:`load_config` checks a file.

    Raises:
        ConfigError: If it is wrong anywhere.
    """
    source = Source(name)
    binder = Binder(source, ChainMap(cast("dict[str, str]", environment), cast("dict[str, str]", dotenv)), Config)
    config = cast("Config", binder.bind(parse_tree(text, source), _shape()))
    loaded = LoadedConfig(applied(config, binder.lines), folder, source, binder.lines, dotenv)
    _check_names(loaded)
    _check_tool_servers(loaded)
    _check_agents(loaded)
    check_reach(loaded.config, loaded.fail)
    _check_models(loaded)
    check_prices(loaded.config.prices, loaded.fail)
    _check_unpriced(loaded)
    _check_limits(loaded)
    check_scopes(loaded.config.limits, loaded.fail, degradable=_degradable(loaded.config))
    _check_gateway(loaded)
    return loaded


@cache
def _shape() -> msgspec.inspect.Type:
    """Return what a file may hold; reading it from the types takes ten times as long as checking a file."""
    return msgspec.inspect.type_info(Config)


def listed(value: str | list[str]) -> list[str]:
    """Return ``next`` as a list, however it was written."""
    return [value] if isinstance(value, str) else value


def _check_names(loaded: LoadedConfig) -> None:
    config = loaded.config
    if not AGENT_NAME.fullmatch(config.name):
        loaded.fail(f"{config.name!r} is no name: use a letter, then letters, digits, '-' or '_', at most 64", "name")
    if not config.agents:
        loaded.fail("there are no agents; an organism needs at least one", "agents")
    for name in config.agents:
        if name == USER or not AGENT_NAME.fullmatch(name):
            reason = f"{name!r} cannot be an agent's name: use a letter, then letters, digits, '-' or '_', not {USER!r}"
            loaded.fail(reason, "agents", name)
    _known(loaded, config.entry, config.agents, "agent", "entry")
    check_thresholds(config.thresholds, loaded.fail, "thresholds", degradable=_degradable(config))


def _degradable(config: Config) -> bool:
    """Whether any model says what takes its place."""
    return any(isinstance(model, ModelSection) and model.degrade is not None for model in config.llm.models.values())


def _check_agents(loaded: LoadedConfig) -> None:
    agents = loaded.config.agents
    for name, agent in agents.items():
        for field, values in (("next", listed(agent.next)), ("gather", agent.gather), ("peers", agent.peers or [])):
            for place, value in enumerate(values):
                if field == "peers" and value == "*":
                    continue
                path: Path_ = ("agents", name, field, place)
                _known(loaded, value, agents, "agent", *(path if path in loaded.lines else path[:-1]))
        for sender in agent.gather:
            if not {name, "*"} & {*listed(agents[sender].next), *(agents[sender].peers or [])}:
                loaded.fail(f"{sender!r} never writes to {name!r}: add it to the 'next' of {sender!r}",
                            "agents", name, "gather")  # fmt: skip
        if isinstance(agent, LLMAgentSection):
            _known(loaded, agent.model, _named_models(loaded), "model", "agents", name, "model")
            _check_tools(loaded, name, agent)


def _check_tools(loaded: LoadedConfig, name: str, agent: LLMAgentSection) -> None:
    for place, tool in enumerate(agent.tools):
        at: Path_ = ("agents", name, "tools", place)
        if isinstance(tool, ToolSection):
            check_tool_price(tool.price, (*at, "price"), loaded.fail)
        match tool:
            case AskToolSection(ask=recipient):
                if recipient == name:
                    loaded.fail("an agent cannot ask itself", *at, "ask")
                _known(loaded, recipient, loaded.config.agents, "agent", *at, "ask")
            case SendToolSection(send=recipient):
                _known(loaded, recipient, loaded.config.agents, "agent", *at, "send")
            case MCPToolSection(mcp=server):
                _known(loaded, server, loaded.config.mcp, "MCP server", *at, "mcp")
            case _:
                pass


def _check_tool_servers(loaded: LoadedConfig) -> None:
    for name, section in loaded.config.mcp.items():
        if not _SERVER_NAME.fullmatch(name):
            loaded.fail(f"{name!r} cannot be a server's name: use letters, digits, '-' and '_'", "mcp", name)
        check_tool_price(section.price, ("mcp", name, "price"), loaded.fail)
        for tool, price in section.prices.items():
            check_tool_price(price, ("mcp", name, "prices", tool), loaded.fail)
        if isinstance(section, MCPURLSection) and not _is_web_address(section.url):
            loaded.fail("this is no address of a server; write one such as https://mcp.example.com/mcp",
                        "mcp", name, "url")  # fmt: skip


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, or brackets that do not close
        return False


def _check_models(loaded: LoadedConfig) -> None:
    llm = loaded.config.llm
    for name, model in llm.models.items():
        routes = [model] if isinstance(model, str) else model.routes
        if ANY in name[:-1]:
            loaded.fail("a '*' may only end a model's name, and stands for every name that begins so",
                        "llm", "models", name)  # fmt: skip
        for place, route in enumerate(routes):
            at: Path_ = ("llm", "models", name)
            if isinstance(model, ModelSection):
                at = (*at, "routes", place)
            provider, slash, served = route.partition("/")
            if not (slash and provider and served):
                loaded.fail(f"{route!r} must have the form provider/model", *at)
            if ANY in served[:-1] or (served.endswith(ANY) and not name.endswith(ANY)):
                loaded.fail("a '*' may only end a route, of a model whose own name ends with it", *at)
            _known(loaded, provider, llm.providers, "provider", *at)
        _check_degrade(loaded, name)


def _named_models(loaded: LoadedConfig) -> list[str]:
    """Return the models without the patterns, which stand for names that only a program from outside may choose."""
    return [name for name in loaded.config.llm.models if not name.endswith(ANY)]


def _check_degrade(loaded: LoadedConfig, name: str) -> None:
    """Follow what takes a model's place: every name must lead somewhere, and not round and round."""
    models = loaded.config.llm.models
    seen = [name]
    while isinstance(model := models[seen[-1]], ModelSection) and model.degrade is not None:
        at = ("llm", "models", seen[-1], "degrade", "to")
        _known(loaded, model.degrade.to, _named_models(loaded), "model", *at)
        if model.degrade.to in seen:
            loaded.fail(f"models degrade in a circle: {' -> '.join([*seen, model.degrade.to])}", *at)
        seen.append(model.degrade.to)


def _check_unpriced(loaded: LoadedConfig) -> None:
    unpriced = loaded.config.llm.unpriced
    if isinstance(unpriced, PriceSection):
        at: Path_ = ("llm", "unpriced")
        check_price(unpriced, at, loaded.fail)
        if unpriced.since is not None:
            loaded.fail("what is assumed holds always; leave 'since' out", *at, "since")


THREAD_TOKENS: tuple[Path_, ...] = (
    ("max_tokens_per_thread",),
    ("limits", "max_tokens_per_thread"),
    ("limits", "thread", "tokens"),
)
"""Where the tokens of a thread may be written."""


def _check_limits(loaded: LoadedConfig) -> None:
    config = loaded.config
    keys = config.gateway.keys if config.gateway is not None else {}
    for name in config.limits.agents:
        _known(loaded, name, [*config.agents, *keys], "agent", "limits", "agents", name)
    for name in config.limits.models:
        _known(loaded, name, _named_models(loaded), "model", "limits", "models", name)
    for name in config.limits.providers:
        _known(loaded, name, config.llm.providers, "provider", "limits", "providers", name)
    given: list[Path_] = [path for path in THREAD_TOKENS if path in loaded.lines]
    if len(given) > 1:
        first = ".".join(map(str, given[0]))
        loaded.fail(f"says again what {first!r} on line {loaded.lines[given[0]]} says; keep one", *given[1])
    zone = config.limits.time_zone
    # Zones are listed for others alone: it takes 20 ms.
    if zone != "UTC" and zone not in available_timezones():
        known = sorted(available_timezones())
        loaded.fail(f"no time zone is called {zone!r}{did_you_mean(zone, known)}", "limits", "time_zone")


def _check_gateway(loaded: LoadedConfig) -> None:
    gateway = loaded.config.gateway
    if gateway is None:
        return
    for place, model in enumerate(gateway.models):
        _known(loaded, model, loaded.config.llm.models, "model", "gateway", "models", place)
    for name, key in gateway.keys.items():
        at: Path_ = ("gateway", "keys", name)
        if name == USER or not AGENT_NAME.fullmatch(name):
            loaded.fail(f"{name!r} cannot be a key's name: use a letter, then letters, digits, '-' or '_'", *at)
        if name in loaded.config.agents:
            loaded.fail(f"an agent is called {name!r} too, so nobody could tell what each has spent", *at)
        if (key.key is None) == (key.sha256 is None):
            loaded.fail("give either the key, as ${env:NAME}, or its sha256", *at)
        if key.sha256 is not None and not _SHA256.fullmatch(key.sha256):
            loaded.fail("this is no hash: write 64 hexadecimal digits, as sha256sum does", *at, "sha256")
        if key.thread is not None and not THREAD_ID.fullmatch(key.thread):
            loaded.fail(f"{key.thread!r} cannot be a thread's id: use letters, digits, '-', '_'", *at, "thread")


def time_zone(config: Config) -> ZoneInfo:
    """Return the zone in which days and months begin."""
    return ZoneInfo(config.limits.time_zone)


def _known(loaded: LoadedConfig, name: str, known: Iterable[str], kind: str, *path: str | int) -> None:
    names = list(known)
    if name not in names:
        there = f"; there are: {', '.join(names)}" if names else f"; there is no {kind} at all"
        loaded.fail(f"no {kind} is called {name!r}{did_you_mean(name, names) or there}", *path)
