"""From the sections of agents and their tools to agents. Only :mod:`organism.config.build.spec` calls this."""

from collections.abc import Mapping

from organism.agents.agent import Agent, Handler, accepted_by, handler_of
from organism.agents.arguments import vendor_tools
from organism.agents.llm_agent import LLMAgent, LLMSettings, TextListener, recipients_of
from organism.agents.loading import load, load_message_type, make_importable
from organism.agents.tools.tool import ToolServer, ToolSource
from organism.config.build.breakers import breakers_of
from organism.config.build.tools import build_tools
from organism.config.load import LoadedConfig
from organism.config.reuse import Reusable, reuse_agent
from organism.config.schema.agents import AgentSection, LLMAgentSection, PythonAgentSection, listed
from organism.config.yaml.mistakes import Mistakes
from organism.errors import ConfigError
from organism.messages import Gathered, Message, MessageRegistry, Text


def build_agents(
    loaded: LoadedConfig,
    servers: Mapping[str, ToolServer],
    on_text: TextListener | None,
    kept: Reusable | None,
    mistakes: Mistakes,
) -> tuple[Agent, ...]:
    """Make the agents.

    Args:
        on_text: Follows answers of LLM agents while they are written.
        mistakes: Takes it if a handler, a function or a type does not import or cannot be used.
    """
    folders = [loaded.folder / folder for folder in loaded.config.python_path]
    missing = [(place, folder) for place, folder in enumerate(folders) if not folder.is_dir()]
    for place, folder in missing:
        with mistakes.kept():
            loaded.fail(f"there is no folder {str(folder)!r}", "python_path", place)
    if missing:
        return ()  # what would have been imported from there is no mistake
    make_importable(folders)
    sections = loaded.config.agents
    going_on = {name: reuse_agent(kept, loaded.config, name) for name in sections}
    accepts: dict[str, tuple[type[Message], ...]] = {}
    for name, agent in going_on.items():
        with mistakes.kept():
            accepts[name] = agent.accepts if agent is not None else _accepts(loaded, name, sections[name])
    agents = []
    for name, accepted in accepts.items():
        with mistakes.kept():
            tools = build_tools(loaded, name, accepts, servers, mistakes)
            try:
                agents.append(going_on[name] or _agent(loaded, name, accepted, tools, on_text))
            except ConfigError as error:
                if error.path is None:
                    loaded.fail(error.reason, "agents", name)
                raise
    return tuple(agents)


def _agent(
    loaded: LoadedConfig,
    name: str,
    accepts: tuple[type[Message], ...],
    tools: tuple[ToolSource, ...],
    on_text: TextListener | None,
) -> Agent:
    section = loaded.config.agents[name]
    peers = None if section.peers is None else tuple(section.peers)
    if isinstance(section, LLMAgentSection):
        handler: Handler = LLMAgent(_llm_settings(loaded, name, section, tools), on_text).handle
        peers = (*(peers or ()), *recipients_of(tools)) or peers
        description = section.system.strip().partition("\n")[0]
    elif isinstance(section, PythonAgentSection):
        handler = _handler(loaded, name, section)
        if section.gather and not any(issubclass(Gathered, accepted) for accepted in accepts):
            loaded.fail("an agent that gathers must accept Gathered messages", "agents", name, "gather")
        description = section.handler
    else:
        raise TypeError(section)
    return Agent(
        name=name,
        handler=handler,
        accepts=accepts,
        next=tuple(listed(section.next)),
        peers=peers,
        gather=tuple(section.gather),
        timeout_s=float(section.timeout_seconds),
        handlers=section.handlers,
        notes=isinstance(section, LLMAgentSection),
        description=description,
        breakers=breakers_of(section.breakers),
        node_label=section.node_label or "",
    )


def _handler(loaded: LoadedConfig, name: str, section: PythonAgentSection) -> Handler:
    try:
        return handler_of(load(section.handler))
    except ConfigError as error:
        loaded.fail(error.reason, "agents", name, "handler")


def _llm_settings(
    loaded: LoadedConfig, name: str, section: LLMAgentSection, tools: tuple[ToolSource, ...]
) -> LLMSettings:
    try:
        vendor_tools(section.vendor_tools)
    except ConfigError as error:
        loaded.fail(error.reason, "agents", name, "vendor_tools")
    return LLMSettings(
        model=section.model,
        system=section.system,
        max_output_tokens=section.max_output_tokens,
        memory_tokens=section.memory.tokens,
        temperature=None if section.temperature is None else float(section.temperature),
        stop=tuple(section.stop),
        seed=section.seed,
        reasoning_effort=section.reasoning_effort,
        tools=tools,
        vendor_tools=section.vendor_tools,
        tool_rounds=section.tool_rounds,
        response_type=_response_type(loaded, name, section),
        budget=section.budget,
        cache=section.prompt_cache == "on",
    )


def response_types(loaded: LoadedConfig) -> tuple[type[Message], ...]:
    """Return the types that LLM agents answer in, which may be no agent's input; the agents are made already.

    Raises:
        ConfigError: If one does not import.
    """
    sections = loaded.config.agents.items()
    found = [_response_type(loaded, name, each) for name, each in sections if isinstance(each, LLMAgentSection)]
    return tuple(dict.fromkeys(wanted for wanted in found if wanted is not None))


def _response_type(loaded: LoadedConfig, name: str, section: LLMAgentSection) -> type[Message] | None:
    if section.response_type is None:
        return None
    try:
        return load_message_type(section.response_type)
    except ConfigError as error:
        loaded.fail(error.reason, "agents", name, "response_type")


def _accepts(loaded: LoadedConfig, name: str, section: AgentSection) -> tuple[type[Message], ...]:
    """Look up the message types an agent takes: those it names, else what its kind or its handler takes."""
    named = _named_types(loaded, name, section)
    if named or not isinstance(section, PythonAgentSection):
        return named or (Text, Gathered)
    handler = _handler(loaded, name, section)
    try:
        return accepted_by(handler)
    except ConfigError as error:
        loaded.fail(error.reason, "agents", name, "handler")


def _named_types(loaded: LoadedConfig, name: str, section: AgentSection) -> tuple[type[Message], ...]:
    """Look up message types: the built-in ones by name, one's own as package.module:Type."""
    built_in = MessageRegistry()
    found: list[type[Message]] = []
    for place, wanted in enumerate(section.accepts or ()):
        known = built_in.get(wanted)
        if known is None and ":" not in wanted:
            names = ", ".join(built_in.names)
            reason = f"no message type is called {wanted!r}; there are: {names}, or your own as package.module:Type"
            loaded.fail(reason, "agents", name, "accepts", place)
        try:
            found.append(known or load_message_type(wanted))
        except ConfigError as error:
            loaded.fail(error.reason, "agents", name, "accepts", place)
    if section.gather and found and Gathered not in found:
        found.append(Gathered)
    return tuple(found)
