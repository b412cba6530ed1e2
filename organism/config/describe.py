"""A configuration as a person wants to see it: tables of what there is, and the graph of who writes to whom. Pure."""

from collections.abc import Iterator

from organism.agents.tools.peer_tool import ASK_TIMEOUT_S
from organism.agents.tools.tool import DEFAULT_TIMEOUT_S
from organism.budget.guards.breakers import ONLY_TOLD, Breakers
from organism.config.build.breakers import breakers_of
from organism.config.price_section import WrittenToolPrice, tool_price_of
from organism.config.provider_connections import is_per_machine
from organism.config.schema.agents import (
    AgentSection,
    AskToolSection,
    FunctionToolSection,
    LLMAgentSection,
    MCPCommandSection,
    MCPServerSection,
    MCPToolSection,
    MCPURLSection,
    PythonAgentSection,
    SendToolSection,
    ToolSection,
    listed,
)
from organism.config.schema.llm import LocalProviderSection, ProviderSection
from organism.config.schema.root import Config
from organism.ids import LABEL_PARTITIONS
from organism.llm.server_tools import uses_of


def describe_agents(config: Config) -> list[tuple[str, str, str, str]]:
    """Return a row for each agent: its name, what it is, where its messages go, what it waits for."""
    rows = []
    for name, agent in config.agents.items():
        match agent:
            case LLMAgentSection(model=model):
                served = config.llm.models[model]
                route = served if isinstance(served, str) else ", ".join(served.routes)
                kind = f"{model} ({route})"
            case PythonAgentSection(handler=handler):
                kind = handler
            case _:
                raise TypeError(agent)
        rows.append((name, kind, ", ".join(listed(agent.next)) or "(reply)", ", ".join(agent.gather)))
    return rows


def describe_node_labels(config: Config) -> list[tuple[str, str, str]]:
    """Return a row for each agent that works only at some nodes of a cluster: its name, their label, its partitions."""
    counts = {} if config.cluster is None else config.cluster.label_partitions
    return [
        (name, agent.node_label, str(counts.get(agent.node_label, LABEL_PARTITIONS)))
        for name, agent in config.agents.items()
        if agent.node_label
    ]


def describe_keys(config: Config) -> list[tuple[str, str, str]]:
    """Return a row for each key of the gateway: its name, the thread that pays, the labels of its threads."""
    gateway = config.gateway
    if gateway is None:
        return []
    rows = [("tokens", "token-NAME, or the one it names", "")] if gateway.tokens else []
    for name, key in gateway.keys.items():
        labels = ", ".join(f"{label}={value}" for label, value in key.labels.items())
        rows.append((name, f"{key.thread or f'key-{name}'}, or the one it names", labels))
    return rows


def describe_breakers(config: Config) -> list[tuple[str, str, str]]:
    """Return a row for all agents and one for each with its own: whose, what trips, what follows."""
    written = [("all agents", breakers_of(config.breakers) or ONLY_TOLD)]
    for name, agent in config.agents.items():
        if (own := breakers_of(agent.breakers)) is not None:
            written.append((name, own))
    return [(name, _trips(breakers), ", then ".join(breakers.actions) or "only an event") for name, breakers in written]


def _trips(breakers: Breakers) -> str:
    parts = [
        f"{breakers.repeat} times the same" if breakers.repeat else "",
        f"{breakers.alternate} rounds of A-B-A-B" if breakers.alternate else "",
        f"a minute of {breakers.rate.times} times the median spend" if breakers.rate is not None else "",
    ]
    return ", ".join(filter(None, parts)) or "nothing"


def describe_tools(config: Config) -> list[tuple[str, str, str, str]]:
    """Return a row for each tool: whose model may use it, what it is, whether it may run, its bounds."""
    return [
        (name, *_tool(tool))
        for name, agent in config.agents.items()
        if isinstance(agent, LLMAgentSection)
        for tool in (*agent.tools, *uses_of(agent.vendor_tools).items())
    ]


def _tool(written: str | ToolSection | tuple[str, int]) -> tuple[str, str, str]:
    if isinstance(written, tuple):
        kind, uses = written
        return f"{kind}, run by the vendor", "allow", f"{uses} uses an answer, for the vendor's fee"
    tool = FunctionToolSection(function=written) if isinstance(written, str) else written
    match tool:
        case FunctionToolSection(function=function):
            kind = function
        case AskToolSection(ask=recipient):
            kind = f"asks {recipient}"
        case SendToolSection(send=recipient):
            kind = f"sends to {recipient}"
        case MCPToolSection(mcp=server, only=only):
            kind = f"mcp {server}: {'all' if only is None else ', '.join(only)}"
        case _:
            raise TypeError(tool)
    default = ASK_TIMEOUT_S if isinstance(tool, AskToolSection) else DEFAULT_TIMEOUT_S
    seconds = default if tool.timeout_seconds is None else tool.timeout_seconds
    return kind, tool.approval, f"{seconds:g} s, {tool.result_bytes:,} bytes{_price(tool.price)}"


def _price(written: WrittenToolPrice | None) -> str:
    price = tool_price_of(written)
    return "" if price is None else f", {price}"


def describe_tool_servers(config: Config) -> list[tuple[str, str]]:
    """Return a row for each MCP server: its name, and what is run or where it is."""
    rows = []
    for name, server in config.mcp.items():
        match server:
            case MCPCommandSection(command=command):
                rows.append((name, " ".join(command) + _prices(server)))
            case MCPURLSection(url=url):
                rows.append((name, url + _prices(server)))
            case _:
                raise TypeError(server)
    return rows


def _prices(server: MCPServerSection) -> str:
    """Return what its tools cost, behind what it is; nothing where they have no price."""
    single = "".join(f"; {tool}{_price(price)}" for tool, price in server.prices.items())
    return f"{_price(server.price)}{single}"


def describe_models(config: Config) -> list[tuple[str, str, str, str]]:
    """Return a row for each model: its name, its routes, how one is chosen, what else may happen."""
    rows = []
    for name, model in config.llm.models.items():
        if isinstance(model, str):
            rows.append((name, model, "", ""))
            continue
        then = []
        if model.hedge_after_seconds is not None:
            then.append(f"hedged after {model.hedge_after_seconds} s")
        if model.degrade is not None:
            at = "where thresholds say so" if model.degrade.at is None else f"from {model.degrade.at} % of a limit on"
            then.append(f"{model.degrade.to} {at}")
        rows.append((name, ", ".join(model.routes), model.strategy or config.llm.strategy, ", ".join(then)))
    return rows


def describe_providers(config: Config) -> list[tuple[str, str, str, str, str]]:
    """Return a row for each provider: its name, type, rate limits, timeouts and circuit breaker."""
    return [
        (
            name,
            str(section.__struct_config__.tag),
            _rate_limits(config, section),
            _timeouts(config, section),
            _circuit(section),
        )
        for name, section in config.llm.providers.items()
    ]


def _rate_limits(config: Config, section: ProviderSection) -> str:
    slots = section.slots if isinstance(section, LocalProviderSection) else None
    parts = [
        f"{most:,} {what}"
        for most, what in (
            (section.concurrency or slots, "at a time"),
            (section.requests_per_minute, "requests/min"),
            (section.tokens_per_minute, "tokens/min"),
        )
        if most is not None
    ]
    if parts and config.cluster is not None:
        parts.append("for each node" if is_per_machine(section) else "for all nodes together")
    return ", ".join(parts) or "none"


def _timeouts(config: Config, section: ProviderSection) -> str:
    times = section.timeouts
    whole = config.llm.call_timeout_seconds if times.call_seconds is None else times.call_seconds
    parts = (
        (times.first_token_seconds, "first token"),
        (times.between_tokens_seconds, "between tokens"),
        (whole, "not streamed" if times.call_seconds is None else "total"),
    )
    return ", ".join(f"{seconds} s {what}" for seconds, what in parts if seconds != "unlimited")


def _circuit(section: ProviderSection) -> str:
    circuit = section.circuit
    return f"opens for {circuit.open_seconds} s after {circuit.failures} failures in {circuit.within_seconds} s"


def describe_graph(config: Config) -> str:
    """Draw who writes to whom as a tree from the entry agent; what was drawn before is only named again."""
    nobody = "nobody's next"
    lines = [f"user -> {config.entry}"]
    _branch(config, config.entry, "", {config.entry}, lines)
    reached = {line.split("> ")[-1].split(" ")[0] for line in lines}
    asked = {recipient: name for name, agent in config.agents.items() for recipient in _recipients(agent)}
    lines += [
        f"{name} ({f'a tool of {asked[name]}' if name in asked else nobody})"
        for name in config.agents
        if name not in reached
    ]
    return "\n".join(lines)


def _recipients(agent: AgentSection) -> Iterator[str]:
    """Yield the agents that an agent's model may write to."""
    for tool in agent.tools if isinstance(agent, LLMAgentSection) else ():
        if isinstance(tool, AskToolSection):
            yield tool.ask
        elif isinstance(tool, SendToolSection):
            yield tool.send


def _branch(config: Config, name: str, indent: str, drawn: set[str], lines: list[str]) -> None:
    following = listed(config.agents[name].next) or ["user"]
    for place, target in enumerate(following):
        last = place == len(following) - 1
        again = target in drawn
        waits = config.agents[target].gather if target in config.agents else []
        note = f" (waits for {', '.join(waits)})" if waits else ""
        lines.append(f"{indent}{'└' if last else '├'}─> {target}{note}{' (as above)' if again else ''}")
        if not again and target in config.agents:
            drawn.add(target)
            _branch(config, target, indent + ("   " if last else "│  "), drawn, lines)
