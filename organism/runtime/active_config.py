"""The agents and bounds that hold for the next message: replaced in one step by a reload, so nobody keeps a part."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from organism.agents.agent import Agent
from organism.agents.agent_registry import agents_by_name, check_names, known_messages
from organism.concurrency.wakeups import Wakeup
from organism.errors import NodeLabelError
from organism.messages import Message, MessageRegistry
from organism.runtime.bounds import Bounds

OnExhausted = Literal["park", "fail"]
"""``park``: a refused message waits for a higher limit. ``fail``: the handler gets ``BudgetExhaustedError``."""


class AgentConfig(msgspec.Struct, frozen=True):
    """Agents and what applies to their messages: replaced as a whole.

    Attributes:
        agents: All agents by name; the mapping is never changed.
        entry: The agent that messages without a recipient go to.
        messages: The message types that are accepted from outside and read back from the journal.
        bounds: Structural bounds.
        on_exhausted: What a refusal means for a handler.
    """

    agents: Mapping[str, Agent]
    entry: str
    messages: MessageRegistry
    bounds: Bounds
    on_exhausted: OnExhausted


def agent_config(
    agents: Iterable[Agent],
    entry: str | None,
    messages: Iterable[type[Message]],
    bounds: Bounds,
    on_exhausted: OnExhausted,
) -> AgentConfig:
    """Check agents against each other; the first is the entry unless another is named.

    Raises:
        ConfigError: If two share a name, or one names an agent that does not exist.
    """
    by_name = agents_by_name(agents)
    entry = entry or next(iter(by_name))
    known = known_messages(by_name, messages)
    check_names(by_name, entry)
    return AgentConfig(by_name, entry, known, bounds, on_exhausted)


class InFlightCounter:
    """Counts the handler runs in flight that began with the same agents; a reload waits for those of the old ones.

    Args:
        before: That of the agents before: its runs may go on, and use what those agents and these have in common.

    Attributes:
        count: Runs in flight.
        earlier: Those of earlier agents that had runs in flight when these agents came.
    """

    __slots__ = ("_none", "count", "earlier")

    def __init__(self, before: "InFlightCounter | None" = None) -> None:
        self.count: int = 0
        earlier = () if before is None else (*before.earlier, before)
        self.earlier: tuple[InFlightCounter, ...] = tuple(each for each in earlier if each.count)
        self._none = Wakeup()

    def begin(self) -> None:
        """Count a run that has begun."""
        self.count += 1

    def end(self) -> None:
        """Count a run as ended."""
        self.count -= 1
        if not self.count:
            self._none.notify()

    async def wait_none(self) -> None:
        """Return when none is in flight, also of those that began with agents before these."""
        for each in self.earlier:
            await each.wait_none()
        while self.count:
            await self._none.wait()


class ActiveConfig:
    """What holds for every message handled from now on.

    Args:
        config: The agents to begin with.

    Attributes:
        agents: All agents by name; the mapping itself is replaced, never changed.
        entry: The agent that messages without a recipient go to.
        messages: The message types that are accepted from outside and read back from the journal.
        bounds: Structural bounds.
        on_exhausted: What a refusal means for a handler.
        runs: The runs that have begun with these agents.
        paused: Agents that an operator has paused.
        stopped: Agents that have failed too often and take no more messages, with the reason.
        node_label: In a cluster the label that this partition's node has for it: only agents that need it work here;
            ``None`` where all do.
    """

    __slots__ = ("agents", "bounds", "entry", "messages", "node_label", "on_exhausted", "paused", "runs", "stopped")

    def __init__(self, config: AgentConfig) -> None:
        self.paused: set[str] = set()
        self.stopped: dict[str, str] = {}
        self.node_label: str | None = None
        self.runs = InFlightCounter()
        self.replace(config)

    def replace(self, config: AgentConfig) -> None:
        """Make others active; runs in flight finish with what they began with."""
        self.agents: Mapping[str, Agent] = config.agents
        self.entry = config.entry
        self.messages = config.messages
        self.bounds = config.bounds
        self.on_exhausted: OnExhausted = config.on_exhausted
        self.runs = InFlightCounter(self.runs)
        self.paused.intersection_update(self.agents)
        self.stopped = {name: why for name, why in self.stopped.items() if name in self.agents}

    def handlers_of(self, agent: str) -> int:
        """Return how many runs of an agent's handler may be at work at once."""
        found, most = self.agents.get(agent), self.bounds.handlers
        return most if found is None or found.handlers is None else min(found.handlers, most)

    def works_here(self, agent: str) -> bool:
        """Whether an agent may work in threads of this partition."""
        return self.node_label in (None, self.agents[agent].node_label)

    def check_here(self, agent: str) -> None:
        """Refuse work from outside for an agent that works at other nodes.

        Raises:
            NodeLabelError: If it does.
        """
        if not self.works_here(agent):
            raise NodeLabelError(agent, self.agents[agent].node_label)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all agents."""
        return tuple(self.agents)
