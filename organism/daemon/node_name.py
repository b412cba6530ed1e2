"""What a daemon is called among the others of its cluster."""

import re
import socket

from organism.config.schema.root import ClusterSection

_NODE_MAX = 64


def node_name(section: ClusterSection) -> str:
    """Return what this daemon is called among the others: as configured, or as its machine is."""
    return section.node or re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:_NODE_MAX]
