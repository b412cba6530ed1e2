"""What a node counts of its own life, for its metrics."""

from collections import Counter
from typing import Literal

import msgspec

EndReason = Literal["handed_over", "fenced", "failed"]


class NodeCounts(msgspec.Struct):
    """Counts since the process began.

    Attributes:
        taken: Partitions that were taken.
        ended: Partitions that it has no more, by why.
        renewed_s: When its leases were renewed last, by the event loop's time.
        renewals_failed: Renewals of its leases that failed.
        token_looks_failed: Looks at the tokens of the database that have failed.
        forwards: Requests that were passed on to other nodes, by what came of them.
        forward_s: Seconds until the head of the answer of each, by the upper bound of their bucket.
        forward_sum_s: All of them together.
    """

    taken: int = 0
    ended: Counter[EndReason] = msgspec.field(default_factory=Counter)
    renewed_s: float = 0.0
    renewals_failed: int = 0
    token_looks_failed: int = 0
    forwards: Counter[str] = msgspec.field(default_factory=Counter)
    forward_s: Counter[float] = msgspec.field(default_factory=Counter)
    forward_sum_s: float = 0.0

    def forwarded(self, seconds: float, bounds: tuple[float, ...]) -> None:
        """Count that the head of a passed-on request's answer has come after so many seconds."""
        self.forward_sum_s += seconds
        self.forward_s[next((bound for bound in bounds if seconds <= bound), float("inf"))] += 1
