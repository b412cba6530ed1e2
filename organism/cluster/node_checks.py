"""What a node refuses, such as names that no cluster has or a database put back to an older copy; and its version."""

from organism.errors import ConfigError
from organism.ids import PARTITIONS_MAX, THREAD_ID
from organism.stores.leases import Lease, LeaseRow, OlderCopyError


def check_node(node: str, partitions: int) -> None:
    """Refuse what a cluster cannot keep.

    Raises:
        ConfigError: If the name of the node or the number of partitions cannot be.
    """
    if not THREAD_ID.fullmatch(node):
        raise ConfigError(f"{node!r} cannot be a node's name: use letters, digits, '-' and '_'", path="cluster.node")
    if not 1 < partitions <= PARTITIONS_MAX:
        raise ConfigError(
            f"a cluster has from 2 to {PARTITIONS_MAX} partitions, not {partitions}", path="cluster.partitions"
        )


def older_copy(row: LeaseRow, lease: Lease) -> OlderCopyError:
    """Return the error of a lease that the database has not seen yet."""
    return OlderCopyError(
        f"partition {row.partition} has had {row.epoch} owners, and this one was number {lease.epoch}: an older copy "
        "of the database was restored, and what was acknowledged since is not in it"
    )


def version() -> str:
    """Return the program's version, as the others are told it."""
    from organism import __version__

    return __version__
