"""The shape of organism.yaml where it is about agents and the tools of their models."""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from organism.config.schema.breakers import BreakersSection
from organism.config.schema.values import Count, Positive, Secret, Section
from organism.llm.requests import Effort


class ToolPriceSection(Section, frozen=True, kw_only=True):
    """What a run of a tool costs, in dollars; what is given adds up. Held at its worst case, charged as it was."""

    call: Annotated[Decimal | None, Meta(description="a run")] = None
    second: Annotated[Decimal | None, Meta(description="each second of it; held for all of its timeout")] = None
    unit: Annotated[Decimal | None, Meta(description="each unit of its result")] = None
    of: Annotated[
        str | None,
        Meta(description="the field of a JSON result that holds the units, a list or their number; else the result"),
    ] = None
    max_units: Annotated[Positive | None, Meta(description="so many units are held; 100 unless given")] = None


class ToolSection(Section, frozen=True, kw_only=True):
    """A tool, and bounds on it."""

    timeout_seconds: Annotated[
        Positive | None, Meta(description="seconds one run may take; 30, for an agent 60, unless given")
    ] = None
    result_bytes: Annotated[Positive, Meta(description="the most of a result that the model is shown")] = 16384
    approval: Annotated[
        Literal["allow", "ask", "deny"], Meta(description="whether it may run; ask: a person decides each time")
    ] = "allow"
    price: Annotated[
        Decimal | ToolPriceSection | None, Meta(description="dollars for each run, or what its price is made of")
    ] = None


class FunctionToolSection(ToolSection, frozen=True, kw_only=True):
    """A Python function: its schema from its annotations, its description from its docstring."""

    function: Annotated[str, Meta(description="package.module:function")]
    name: Annotated[str | None, Meta(description="what the model calls it; the function's name unless given")] = None


class AskToolSection(ToolSection, frozen=True, kw_only=True):
    """Another agent: the model gives it a task and waits for the answer."""

    ask: Annotated[str, Meta(description="the agent")]
    description: Annotated[str, Meta(description="what it is good for")] = ""


class SendToolSection(ToolSection, frozen=True, kw_only=True):
    """Another agent: the model sends it a message and goes on."""

    send: Annotated[str, Meta(description="the agent")]
    description: Annotated[str, Meta(description="what it is good for")] = ""


class MCPToolSection(ToolSection, frozen=True, kw_only=True):
    """Tools of an MCP server."""

    mcp: Annotated[str, Meta(description="one of the servers under mcp")]
    only: Annotated[list[str] | None, Meta(description="which of its tools, by its own names; all unless given")] = None


class MCPServerSection(Section, frozen=True, kw_only=True):
    """An MCP server; needs the extra 'mcp'. It is started or connected to when it is first needed."""

    start_seconds: Annotated[Positive, Meta(description="seconds until it must be ready")] = 30
    price: Annotated[
        Decimal | ToolPriceSection | None, Meta(description="of each of its tools: dollars for each run, or its parts")
    ] = None
    prices: Annotated[
        dict[str, Decimal | ToolPriceSection], Meta(description="of single tools, by the server's names for them")
    ] = {}


class MCPCommandSection(MCPServerSection, frozen=True, kw_only=True):
    """A server that is run here and spoken to over its standard input and output."""

    command: Annotated[list[str], Meta(description="the program and its arguments", min_length=1)]
    env: Annotated[
        list[str], Meta(description="names of environment variables it is given, besides HOME, PATH and the like")
    ] = []
    folder: Annotated[str, Meta(description="where it runs, from this file")] = "."


class MCPURLSection(MCPServerSection, frozen=True, kw_only=True):
    """A server that is spoken to over streamable HTTP."""

    url: Annotated[str, Meta(description="such as https://mcp.example.com/mcp")]
    token: Annotated[Secret | None, Meta(description="${env:NAME}, sent as a bearer token")] = None


class AgentSection(Section, frozen=True, kw_only=True):
    """What all agents have in common."""

    next: Annotated[str | list[str], Meta(description="where what it returns goes")] = []
    peers: Annotated[list[str] | None, Meta(description="whom it may write to; those in next unless given")] = None
    accepts: Annotated[list[str] | None, Meta(description="message types it takes")] = None
    gather: Annotated[list[str], Meta(description="waits for one message of each of these agents")] = []
    timeout_seconds: Annotated[Positive, Meta(description="seconds one run may take")] = 120
    handlers: Annotated[
        Positive | None, Meta(description="messages it handles at once, in all threads; bounds.handlers unless given")
    ] = None
    breakers: Annotated[
        BreakersSection | Literal["off"] | None, Meta(description="other breakers for this agent than for all")
    ] = None
    node_label: Annotated[
        str | None,
        Meta(description="in a cluster its threads are only at daemons that have this label; at any unless given"),
    ] = None


class MemorySection(Section, frozen=True, kw_only=True):
    """What an LLM agent remembers of a thread."""

    tokens: Annotated[Count, Meta(description="how much of its own conversation it is shown again")] = 2000


class LLMAgentSection(AgentSection, frozen=True, kw_only=True):
    """An agent that is a model with instructions."""

    model: Annotated[str, Meta(description="one of llm.models")]
    system: Annotated[str, Meta(description="its instructions")] = ""
    max_output_tokens: Annotated[Positive, Meta(description="cap of an answer")] = 512
    memory: Annotated[MemorySection, Meta(description="what it remembers of a thread")] = MemorySection()
    temperature: Annotated[Decimal | None, Meta(description="sampling temperature")] = None
    stop: Annotated[list[str], Meta(description="texts that end an answer")] = []
    seed: Annotated[Count | None, Meta(description="makes sampling repeatable")] = None
    reasoning_effort: Annotated[Effort | None, Meta(description="how much the model is to think")] = None
    response_type: Annotated[
        str | None, Meta(description="package.module:Type of the message it answers with; Text unless given")
    ] = None
    tools: Annotated[
        list[str | ToolSection],
        Meta(description="what its model may have run; a text is package.module:function or request_budget"),
    ] = []
    vendor_tools: Annotated[
        dict[str, Positive] | list[str],
        Meta(
            description="tools that the model's vendor runs, and how often each may be used for one answer, 10 times "
            "in a list of names: web_search and its kin of OpenAI's responses, web_search_20250305 and its kin of "
            "Anthropic"
        ),
    ] = {}
    tool_rounds: Annotated[Positive, Meta(description="model calls for one message; the last one must answer")] = 8
    budget: Annotated[
        Literal["show"] | None, Meta(description="show: its model reads in every round what is left of the budget")
    ] = None
    prompt_cache: Annotated[
        Literal["off", "on"], Meta(description="asks the provider to keep instructions and conversation")
    ] = "off"
    # Its model's calls and its tools have ends of their own; a model that reasons takes minutes for each.
    timeout_seconds: Annotated[Positive, Meta(description="seconds one run may take")] = 3600


class PythonAgentSection(AgentSection, frozen=True, kw_only=True):
    """An agent that is Python."""

    handler: Annotated[str, Meta(description="package.module:function or :Class")]


def listed(value: str | list[str]) -> list[str]:
    """Return ``next`` as a list, however it was written."""
    return [value] if isinstance(value, str) else value


VARIANTS: dict[type[msgspec.Struct], tuple[type[Section], ...]] = {
    AgentSection: (LLMAgentSection, PythonAgentSection),
    ToolSection: (FunctionToolSection, AskToolSection, SendToolSection, MCPToolSection),
    MCPServerSection: (MCPCommandSection, MCPURLSection),
}
"""Sections that take one of several shapes, told apart by the key that only one of them requires."""
