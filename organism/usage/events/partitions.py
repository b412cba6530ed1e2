"""Events of a cluster's partitions: who has which."""

from typing import Literal

from organism.usage.events.event import Event


class PartitionMoved(Event, frozen=True, kw_only=True):
    """A node of a cluster has taken a partition, has handed it over, or has lost it.

    It is kept in the partition's own journal: a node that has lost it can write nothing there any more, so the next
    owner tells of that, just before it tells of itself.

    Attributes:
        partition: Its number.
        change: ``taken``: it goes on at this node. ``handed_over``: this node has ended its part in good order.
            ``lost``: this node did not give it back: it was killed, held up, or cut off from the database.
        node: The node that has taken, handed over or lost it.
        owners: How many owners the partition had had by then, this node included; with ``lost``, when it took it.
    """

    partition: int
    change: Literal["taken", "handed_over", "lost"]
    node: str
    owners: int
