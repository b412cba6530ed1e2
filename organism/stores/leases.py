"""Which node of a cluster may write which journal, as every node sees it."""

from functools import cached_property

import msgspec
from msgspec.structs import replace

from organism.ids import Layout
from organism.journal import JournalBrokenError, JournalError


class NodeReplacedError(JournalError):
    """Another process has begun under this node's name: its partitions are that one's, and this one must end.

    Attributes:
        node: The name.
    """

    retryable = False

    def __init__(self, node: str, place: str) -> None:
        self.node = node
        super().__init__(
            f"another process has begun as node {node!r} of the cluster in {place}, and this one ends; give each "
            "process a 'node' name of its own"
        )


class OlderCopyError(JournalBrokenError):
    """The database was put back to a time before this process began, or before it took a partition."""


class Lease(msgspec.Struct, frozen=True):
    """The right to write to one journal of a cluster.

    Attributes:
        partition: The number of the journal.
        epoch: The number of this owner.
        partitions: How many journals the database holds that any node may write.
        lost_by: The node that had it before, where that one has not given it back.
        node_label: The label that a node needs to have it; empty if it needs none.
    """

    partition: int
    epoch: int
    partitions: int
    lost_by: str | None = None
    node_label: str = ""


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A process of a cluster.

    Attributes:
        name: What it is called.
        incarnation: How often a process of that name has begun: the newest one counts.
        url: Where it answers; empty if it does not.
        version: Of organism.
        draining: Whether it is to give its partitions to others.
        live: Whether it has renewed its leases lately.
        labels: What it has that partitions may need.
        configuration: The mark of the file that is active there; empty if it has not said.
        order: How late that file was ordered in this cluster: the newest has the highest.
    """

    name: str
    incarnation: int
    url: str
    version: str
    draining: bool
    live: bool
    labels: frozenset[str] = frozenset()
    configuration: str = ""
    order: int = 0

    def may_have(self, label: str) -> bool:
        """Whether partitions that need a label may be this node's; none is needed for the empty one."""
        return not label or label in self.labels


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """The lease of one partition.

    Attributes:
        partition: Its number.
        epoch: The number of its owner, higher with each.
        owner: The node that has it; ``None`` if it is free.
        incarnation: Which of the processes that have begun under that name, counted from 1.
        expired: Whether it was not renewed in time, so that any node may take it.
        wanted_by: The node that has too few and asks for it.
        stopped: Why nobody may have it until an operator has looked; empty as a rule.
        node_label: The label that a node needs to have it; empty if it needs none.
    """

    partition: int
    epoch: int
    owner: str | None
    incarnation: int
    expired: bool
    wanted_by: str | None
    stopped: str
    node_label: str = ""


class ClusterView(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A cluster at one instant, by the clock of its database.

    Attributes:
        nodes: All that have begun and not left.
        leases: One for each partition, in order.
    """

    nodes: tuple[NodeRow, ...]
    leases: tuple[LeaseRow, ...]

    @cached_property
    def layout(self) -> Layout:
        """Which partitions need which label."""
        labelled: dict[str, list[int]] = {}
        for lease in self.leases:
            if lease.node_label:
                labelled.setdefault(lease.node_label, []).append(lease.partition)
        return Layout(len(self.leases) - sum(map(len, labelled.values())), labelled)

    @cached_property
    def missing_labels(self) -> frozenset[str]:
        """The labels that partitions need and no node has that takes partitions."""
        taking = [node for node in self.nodes if node.live and not node.draining]
        return frozenset(label for label in self.layout.labelled if not any(node.may_have(label) for node in taking))

    @cached_property
    def configuration(self) -> str:
        """The mark of the newest file that a node has; empty if none has said."""
        said = [node for node in self.nodes if node.live and node.configuration]
        return max(said, key=lambda node: node.order).configuration if said else ""

    def differs(self, node: NodeRow | None) -> bool:
        """Whether a node has another file than the newest that one has."""
        said = node.configuration if node is not None and node.live else ""
        return said not in ("", self.configuration)

    def missing_label(self, partition: int) -> str:
        """Return the label that a partition needs, where no node has it and none runs it still; empty otherwise."""
        label = self.layout.label_of(partition)
        if label not in self.missing_labels:
            return ""
        owner = self.owner_of(partition)
        return "" if owner is not None and owner.live else label

    def owner_of(self, partition: int) -> NodeRow | None:
        """Return the node that has a partition, also where its lease has run out."""
        return self.node(next((lease.owner for lease in self.leases if lease.partition == partition), None))

    def node(self, name: str | None) -> NodeRow | None:
        """Return the node of a name."""
        return next((node for node in self.nodes if node.name == name), None)

    def draining(self, name: str) -> bool:
        """Whether a node is to give its partitions to others."""
        node = self.node(name)
        return node is not None and node.draining


def unseen(partitions: int) -> ClusterView:
    """Return a cluster of which nothing is known but how many partitions any node may run."""
    free = LeaseRow(partition=0, epoch=0, owner=None, incarnation=0, expired=True, wanted_by=None, stopped="")
    return ClusterView(nodes=(), leases=tuple(replace(free, partition=number) for number in range(partitions)))


class Renewal(msgspec.Struct, frozen=True):
    """What came of a renewal.

    Attributes:
        kept: The partitions whose leases this node has still.
        view: The cluster after it.
    """

    kept: frozenset[int]
    view: ClusterView
