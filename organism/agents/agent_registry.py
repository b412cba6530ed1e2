"""The agents of one organism, by name, with every name among them leading somewhere. Pure."""

from collections.abc import Iterable, Mapping

from organism.agents.agent import EVERYONE, Agent
from organism.errors import ConfigError
from organism.messages import Gathered, Message, MessageRegistry


def agents_by_name(agents: Iterable[Agent]) -> dict[str, Agent]:
    """Return the agents by name.

    Raises:
        ConfigError: If two share a name, or there is none.
    """
    by_name: dict[str, Agent] = {}
    for agent in agents:
        if agent.name in by_name:
            raise ConfigError(f"two agents are called {agent.name!r}")
        by_name[agent.name] = agent
    if not by_name:
        raise ConfigError("an organism needs at least one agent")
    return by_name


def known_messages(agents: Mapping[str, Agent], others: Iterable[type[Message]] = ()) -> MessageRegistry:
    """Return the message types that agents take, and others.

    Raises:
        ConfigError: If two have the same name on the wire.
    """
    known = MessageRegistry(others)
    for message_type in {kind for agent in agents.values() for kind in agent.accepts} - {Message}:
        known.add(message_type)
    return known


def check_names(agents: Mapping[str, Agent], entry: str) -> None:
    """Refuse names that lead nowhere, before anything runs.

    Raises:
        ConfigError: If the entry, a ``next``, a ``gather`` or a peer is no agent.
    """

    def known(name: str, where: str) -> None:
        if name not in agents:
            raise ConfigError(f"{where} names {name!r}, but there is no such agent; there are: {', '.join(agents)}")

    known(entry, "'entry'")
    for agent in agents.values():
        for field in ("next", "gather"):
            for name in getattr(agent, field):
                known(name, f"'{field}' of agent {agent.name!r}")
        if agent.gather and not any(issubclass(Gathered, accepted) for accepted in agent.accepts):
            raise ConfigError(f"agent {agent.name!r} has 'gather', so it must accept Gathered")
        for name in agent.peers or ():
            if name != EVERYONE:
                known(name, f"'peers' of agent {agent.name!r}")
