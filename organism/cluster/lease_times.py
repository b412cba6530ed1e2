"""How long things take in a cluster, and what a node says of what is not its own."""

import msgspec

from organism.cluster.node_labels import needs_label
from organism.errors import OrganismError
from organism.stores.leases import ClusterView


class LeaseTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take in a cluster, in seconds; the same on all of its nodes.

    Attributes:
        ttl_s: A lease that is not renewed for so long is anybody's.
        renew_s: Between two renewals.
        margin_s: So long before the end of a lease that was not renewed, nothing new is begun.
        drain_s: For calls under way, when a partition is handed over.
        again_s: Until a partition is tried again whose organism has failed.
        reload_s: For partitions that are being taken up when the node is reloaded, and for its journals to tell of it.
    """

    ttl_s: float = 10.0
    renew_s: float = 3.0
    margin_s: float = 2.0
    drain_s: float = 30.0
    again_s: float = 5.0
    reload_s: float = 30.0


class PartitionElsewhereError(OrganismError):
    """What is asked for is in a partition that this node does not run now.

    Attributes:
        partition: Its number.
        node: The node that runs it; ``None`` if none is known to.
        url: Where that answers.
        missing_label: The label that it needs, where no node has it; empty otherwise.
    """

    retryable = True

    def __init__(self, partition: int, node: str | None, url: str, missing_label: str = "") -> None:
        self.partition = partition
        self.node = node
        self.url = url
        self.missing_label = missing_label
        where = f"node {node!r} runs it{f', at {url}' if url else ''}" if node else "no node runs it now; try again"
        where = needs_label(missing_label) if missing_label else where
        super().__init__(f"this is in partition {partition} of the cluster, and {where}")


def elsewhere(view: ClusterView, partition: int, me: str) -> PartitionElsewhereError:
    """Return the error of a node that does not run a partition: which node had it at its last look, if any."""
    known = view.owner_of(partition)
    if known is None or known.name == me:
        return PartitionElsewhereError(partition, None, "", view.missing_label(partition))
    return PartitionElsewhereError(partition, known.name, known.url)
