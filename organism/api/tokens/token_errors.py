"""What cannot be said or done of tokens where a cluster keeps them."""

from collections.abc import Iterable

from organism.errors import OrganismError


class TokensAwayError(OrganismError):
    """Whether a token is good cannot be said now: the node has not reached the cluster's database lately."""

    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "tokens are kept in the cluster's database, which this node has not reached lately, so one that was "
            "revoked meanwhile could not be told from a good one: try again, or ask another node"
        )


class OlderNodesError(OrganismError):
    """A change of a token does not reach nodes of the cluster that run an older program.

    Attributes:
        nodes: Their names.
    """

    def __init__(self, nodes: Iterable[str], what: str) -> None:
        self.nodes = tuple(nodes)
        super().__init__(
            f"{what}: {', '.join(self.nodes)} of this cluster run an older organism, which knows only the tokens.json "
            "of its own state folder; upgrade or stop them"
        )
