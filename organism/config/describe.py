"""A configuration as a person wants to see it: a table of its agents, and the graph of who writes to whom. Pure."""

from organism.config.load import listed
from organism.config.schema import Config, LLMAgentSection, PythonAgentSection


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


def describe_graph(config: Config) -> str:
    """Draw who writes to whom as a tree from the entry agent; what was drawn before is only named again."""
    lines = [f"user -> {config.entry}"]
    _branch(config, config.entry, "", {config.entry}, lines)
    reached = {line.split("> ")[-1].split(" ")[0] for line in lines}
    lines += [f"{name} (nobody's next)" for name in config.agents if name not in reached]
    return "\n".join(lines)


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
