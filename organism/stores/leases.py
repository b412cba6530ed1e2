"""Which node of a cluster may write which journal, as every node sees it."""

import msgspec

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
        partition: Which journal.
        epoch: The number of this owner.
        partitions: How many journals the database holds.
        lost_by: The node that had it before, where that one has not given it back.
    """

    partition: int
    epoch: int
    partitions: int
    lost_by: str | None = None


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A process of a cluster.

    Attributes:
        name: What it is called.
        incarnation: How often a process of that name has begun: the newest one counts.
        url: Where it answers; empty if it does not.
        version: Of organism.
        draining: Whether it is to give its partitions to others.
        live: Whether it has renewed its leases lately.
    """

    name: str
    incarnation: int
    url: str
    version: str
    draining: bool
    live: bool


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """The lease of one partition.

    Attributes:
        partition: Its number.
        epoch: The number of its owner, higher with each.
        owner: The node that has it; ``None`` if it is free.
        incarnation: Which process of that name.
        expired: Whether it was not renewed in time, so that any node may take it.
        wanted_by: The node that has too few and asks for it.
        stopped: Why nobody may have it until an operator has looked; empty as a rule.
    """

    partition: int
    epoch: int
    owner: str | None
    incarnation: int
    expired: bool
    wanted_by: str | None
    stopped: str


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster at one instant, by the clock of its database.

    Attributes:
        nodes: All that have begun and not left.
        leases: One for each partition, in order.
    """

    nodes: tuple[NodeRow, ...]
    leases: tuple[LeaseRow, ...]

    def node(self, name: str | None) -> NodeRow | None:
        """Return the node of a name."""
        return next((node for node in self.nodes if node.name == name), None)

    def draining(self, name: str) -> bool:
        """Whether a node is to give its partitions to others."""
        node = self.node(name)
        return node is not None and node.draining


class Renewal(msgspec.Struct, frozen=True):
    """What came of a renewal.

    Attributes:
        kept: The partitions whose leases this node has still.
        view: The cluster after it.
    """

    kept: frozenset[int]
    view: ClusterView
