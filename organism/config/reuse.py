"""What of a running organism a new configuration leaves as it is: connections, loaded models, handlers with state."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from organism.agents.agent import Agent
from organism.agents.tools.tool import ToolServer
from organism.config.schema.agents import PythonAgentSection
from organism.config.schema.llm import CircuitSection, ProviderSection, TimeoutsSection
from organism.config.schema.root import Config
from organism.llm.provider import Provider


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force, and by which configuration; empty for an organism that is only being made.

    Attributes:
        config: The configuration.
        agents: Its agents.
        providers: Its providers.
        tool_servers: Its MCP servers.
    """

    config: Config
    agents: Mapping[str, Agent]
    providers: Mapping[str, Provider]
    tool_servers: Mapping[str, ToolServer]


def kept_provider(kept: Kept | None, name: str, section: ProviderSection) -> Provider | None:
    """Return the provider that goes on: it is reached in the same way, however it is treated."""
    before = None if kept is None else kept.config.llm.providers.get(name)
    if kept is None or before is None or _untreated(before) != _untreated(section):
        return None
    return kept.providers.get(name)


def kept_server(kept: Kept | None, config: Config, name: str) -> ToolServer | None:
    """Return the MCP server that goes on."""
    if kept is None or kept.config.mcp.get(name) != config.mcp[name]:
        return None
    return kept.tool_servers.get(name)


def kept_agent(kept: Kept | None, config: Config, name: str) -> Agent | None:
    """Return the agent that goes on: Python keeps what it remembers; an agent that is a model remembers nothing."""
    section = config.agents[name]
    if kept is None or not isinstance(section, PythonAgentSection) or kept.config.agents.get(name) != section:
        return None
    return kept.agents.get(name)


def _untreated(section: ProviderSection) -> ProviderSection:
    """Return a provider's section without what its gate does: numbers, pauses and patience."""
    return replace(
        section,
        concurrency=None,
        requests_per_minute=None,
        tokens_per_minute=None,
        circuit=CircuitSection(),
        timeouts=TimeoutsSection(connect_seconds=section.timeouts.connect_seconds),
    )
