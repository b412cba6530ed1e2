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


class Reusable(msgspec.Struct, frozen=True, kw_only=True):
    """The active parts, and the configuration they were made from.

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


def reuse_provider(reusable: Reusable | None, name: str, section: ProviderSection) -> Provider | None:
    """Return the provider that goes on: it is reached in the same way, however it is treated."""
    if reusable is None:
        return None
    llm = reusable.config.llm
    before = llm.providers.get(name)
    is_same = before is not None and _untreated(before) == _untreated(section)
    return reusable.providers.get(name) if is_same else None


def reuse_server(reusable: Reusable | None, config: Config, name: str) -> ToolServer | None:
    """Return the MCP server that goes on."""
    if reusable is None or reusable.config.mcp.get(name) != config.mcp[name]:
        return None
    return reusable.tool_servers.get(name)


def reuse_agent(reusable: Reusable | None, config: Config, name: str) -> Agent | None:
    """Return the agent that goes on: Python keeps what it remembers; an agent that is a model remembers nothing."""
    section = config.agents[name]
    if reusable is None or not isinstance(section, PythonAgentSection) or reusable.config.agents.get(name) != section:
        return None
    return reusable.agents.get(name)


def _untreated(section: ProviderSection) -> ProviderSection:
    """Return a provider's section without what its limiter does: numbers, pauses and patience."""
    return replace(
        section,
        concurrency=None,
        requests_per_minute=None,
        tokens_per_minute=None,
        circuit=CircuitSection(),
        timeouts=TimeoutsSection(connect_seconds=section.timeouts.connect_seconds),
    )
