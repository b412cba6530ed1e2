"""From the sections of tools and their servers to tools. Only the other builders call this."""

from collections.abc import Mapping
from pathlib import Path
from shutil import which

from msgspec.structs import replace

from organism.agents.loading import load
from organism.agents.tools.budget_tool import REQUEST_BUDGET, request_budget_tool
from organism.agents.tools.function_tool import declared, function_tool
from organism.agents.tools.peer_tool import ASK_TIMEOUT_S, ask_tool, message_for, send_tool
from organism.agents.tools.tool import DEFAULT_TIMEOUT_S, ServedTools, ToolRules, ToolServer, ToolSource
from organism.config.load import LoadedConfig
from organism.config.price_section import tool_price_of
from organism.config.reuse import Reusable, reuse_server
from organism.config.schema.agents import (
    AskToolSection,
    FunctionToolSection,
    LLMAgentSection,
    MCPCommandSection,
    MCPServerSection,
    MCPToolSection,
    MCPURLSection,
    SendToolSection,
    ToolSection,
)
from organism.config.yaml.mistakes import Mistakes
from organism.errors import ConfigError
from organism.messages import Message
from organism.tool_servers.mcp import MCPServer
from organism.tool_servers.targets import Command, WebAddress

Accepts = Mapping[str, tuple[type[Message], ...]]


def build_tools(
    loaded: LoadedConfig, agent: str, accepts: Accepts, servers: Mapping[str, ToolServer], mistakes: Mistakes
) -> tuple[ToolSource, ...]:
    """Make the tools of an agent.

    Args:
        mistakes: Takes it if a function does not import or cannot be used, or an agent takes nothing that a model
            could write.
    """
    section = loaded.config.agents[agent]
    if not isinstance(section, LLMAgentSection):
        return ()
    sources: list[ToolSource] = []
    for place, written in enumerate(section.tools):
        if written == REQUEST_BUDGET:
            sources.append(request_budget_tool())
            continue
        tool = FunctionToolSection(function=written) if isinstance(written, str) else written
        if _leads_nowhere(tool, accepts, servers):
            continue
        with mistakes.kept():
            try:
                sources.append(_tool(tool, accepts, servers, loaded.config.mcp))
            except ConfigError as error:
                loaded.fail(error.reason, "agents", agent, "tools", place)
    return tuple(sources)


def _leads_nowhere(section: ToolSection, accepts: Accepts, servers: Mapping[str, ToolServer]) -> bool:
    """Whether what a tool names is wrong itself, which is said where that stands."""
    match section:
        case AskToolSection(ask=recipient) | SendToolSection(send=recipient):
            return recipient not in accepts
        case MCPToolSection(mcp=server):
            return server not in servers
        case _:
            return False


def _tool(
    section: ToolSection, accepts: Accepts, servers: Mapping[str, ToolServer], sections: Mapping[str, MCPServerSection]
) -> ToolSource:
    match section:
        case FunctionToolSection(function=path, name=name):
            function = load(path)
            if not callable(function):
                raise ConfigError(f"{path!r} is no function")
            return function_tool(function, name=name, rules=_function_rules(section, function))
        case AskToolSection(ask=recipient, description=description):
            rules = _rules(section, ASK_TIMEOUT_S)
            return ask_tool(recipient, message_for(accepts[recipient]), description=description, rules=rules)
        case SendToolSection(send=recipient, description=description):
            rules = _rules(section)
            return send_tool(recipient, message_for(accepts[recipient]), description=description, rules=rules)
        case MCPToolSection(mcp=server, only=only):
            return _served(section, servers[server], sections[server], None if only is None else tuple(only))
        case _:
            raise TypeError(section)


def _function_rules(section: ToolSection, function: object) -> ToolRules:
    """Return the rules of a function; the price that stands at it holds unless another is written."""
    rules = _rules(section)
    return rules if rules.price is not None else replace(rules, price=declared(function).rules.price)


def _served(
    section: ToolSection, server: ToolServer, served: MCPServerSection, only: tuple[str, ...] | None
) -> ServedTools:
    """Make the tools of a server; a price that stands with the agent wins over those that stand with the server."""
    rules = _rules(section)
    if rules.price is not None:
        return ServedTools(server=server, only=only, rules=rules)
    prices = {
        name: price
        for name, written in served.prices.items()
        if (only is None or name in only) and (price := tool_price_of(written)) is not None
    }
    rules = replace(rules, price=tool_price_of(served.price))
    return ServedTools(server=server, only=only, rules=rules, prices=prices)


def _rules(section: ToolSection, timeout_s: float = DEFAULT_TIMEOUT_S) -> ToolRules:
    return ToolRules(
        timeout_s=timeout_s if section.timeout_seconds is None else float(section.timeout_seconds),
        result_bytes=section.result_bytes,
        approval=section.approval,
        price=tool_price_of(section.price),
    )


def build_tool_servers(
    loaded: LoadedConfig, environment: Mapping[str, str], kept: Reusable | None, mistakes: Mistakes
) -> dict[str, ToolServer]:
    """Make the servers of tools; nothing is started or connected to yet.

    Args:
        environment: Where the variables are looked up that servers are given.
        mistakes: Takes it if a package is not installed, a program or a folder is not there, or a variable not set.
    """
    servers: dict[str, ToolServer] = {}
    for name, section in loaded.config.mcp.items():
        with mistakes.kept():
            target = _target(loaded, name, section, environment)
            try:
                servers[name] = reuse_server(kept, loaded.config, name) or MCPServer(
                    name, target, start_timeout_s=float(section.start_seconds)
                )
            except ConfigError as error:
                loaded.fail(error.reason, "mcp", name)
    return servers


def _is_program(name: str, folder: Path, environment: Mapping[str, str]) -> bool:
    """Whether a program would be found as the server is started: by its path from its folder, or by ``PATH``."""
    return which(str(folder / name) if "/" in name else name, path=environment.get("PATH")) is not None


def _target(
    loaded: LoadedConfig, name: str, section: MCPServerSection, environment: Mapping[str, str]
) -> Command | WebAddress:
    match section:
        case MCPURLSection(url=url, token=token):
            return WebAddress(url, None if token is None else token.reveal())
        case MCPCommandSection(command=command, env=variables):
            for place, variable in enumerate(variables):
                if variable not in environment:
                    loaded.fail(f"the environment variable {variable} is not set", "mcp", name, "env", place)
            folder = loaded.folder / section.folder
            if not folder.is_dir():
                loaded.fail(f"there is no folder {str(folder)!r}", "mcp", name, "folder")
            if not _is_program(command[0], folder, environment):
                loaded.fail(
                    f"there is no program {command[0]!r}; install it, or write its path", "mcp", name, "command"
                )
            return Command(tuple(command), {variable: environment[variable] for variable in variables}, folder)
        case _:
            raise TypeError(section)
