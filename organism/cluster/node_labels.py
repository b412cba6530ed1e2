"""Labels of nodes: what a node has, and which agents need it, so that their threads are only at nodes that have it."""

from collections.abc import Collection, Mapping

import msgspec
from msgspec.structs import replace

from organism.agents.agent import Agent
from organism.errors import ConfigError
from organism.ids import LABEL_PARTITIONS, at_nodes, is_node_label, no_node_label


class NodeLabels(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of labels.

    Attributes:
        has: Those that it has itself.
        partitions: By label that agents need, how many partitions it has; fixed when they are made, and
            :data:`organism.ids.LABEL_PARTITIONS` unless given.
    """

    has: frozenset[str] = frozenset()
    partitions: Mapping[str, int] = {}


class AgentLabels:
    """Which agents need which label.

    Args:
        agents: All of them.
        entry: The one that messages go to which name none.

    Raises:
        ConfigError: If agents that work at different nodes would have to work in the same thread.
    """

    def __init__(self, agents: Collection[Agent], entry: str) -> None:
        self._of = {agent.name: agent.node_label for agent in agents}
        self._entry = entry
        for agent in agents:
            for other, label in self._of.items():
                if agent.node_label != label and agent.may_write_to(other):
                    raise ConfigError(
                        f"agent {agent.name!r}, which works {at_nodes(agent.node_label)}, may write to {other!r}, "
                        f"which works {at_nodes(label)}: a thread is at one node, so give both the same node_label"
                    )

    def of(self, agent: str | None) -> str:
        """Return the label that an agent needs, or that of the entry; empty for none."""
        return self._of.get(agent or self._entry, "")

    def completed(self, labels: NodeLabels) -> NodeLabels:
        """Return what a node says, with partitions for each label that an agent needs."""
        needed = sorted({label for label in self._of.values() if label})
        return replace(labels, partitions=dict.fromkeys(needed, LABEL_PARTITIONS) | dict(labels.partitions))


def check_labels(labels: NodeLabels) -> NodeLabels:
    """Refuse what cannot be a label of nodes, and return it where it can.

    Raises:
        ConfigError: If one cannot.
    """
    for label in (*sorted(labels.has), *labels.partitions):
        if not is_node_label(label):
            raise ConfigError(no_node_label(label), path="cluster.labels")
    return labels


def needs_label(label: str) -> str:
    """Say that no node has a label that a partition needs, and what to do."""
    return f"no node that takes partitions has the label {label!r}: start one that has {label} in its cluster.labels"
