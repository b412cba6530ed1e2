"""A configuration as a person wants to see it: tables of what there is, and the graph of who writes to whom. Pure."""

from organism.config.load import listed
from organism.config.schema import Config, LLMAgentSection, PythonAgentSection
from organism.config.schema_llm import LocalProviderSection, ProviderSection


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
            then.append(f"{model.degrade.to} from {model.degrade.at} % of a limit on")
        rows.append((name, ", ".join(model.routes), model.strategy or config.llm.strategy, ", ".join(then)))
    return rows


def describe_providers(config: Config) -> list[tuple[str, str, str, str, str]]:
    """Return a row for each provider: its name, its type, what it takes at a time, its timeouts, its circuit."""
    return [
        (name, str(section.__struct_config__.tag), _takes(section), _times(config, section), _rests(section))
        for name, section in config.llm.providers.items()
    ]


def _takes(section: ProviderSection) -> str:
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
    return ", ".join(parts) or "all that comes"


def _times(config: Config, section: ProviderSection) -> str:
    times = section.timeouts
    whole = config.llm.call_timeout_seconds if times.call_seconds is None else times.call_seconds
    parts = (
        (times.first_token_seconds, "to begin"),
        (times.between_tokens_seconds, "silent"),
        (whole, "in all"),
    )
    return ", ".join(f"{seconds} s {what}" for seconds, what in parts if seconds != "unlimited")


def _rests(section: ProviderSection) -> str:
    circuit = section.circuit
    return f"{circuit.open_seconds} s after {circuit.failures} failures in {circuit.within_seconds} s"


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
