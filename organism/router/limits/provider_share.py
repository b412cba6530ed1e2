"""What one process may use of a provider's limits that several share, what it would use, and what all have. Pure."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from organism.router.limits.rate_limit import RateLimits


class ProviderShare(msgspec.Struct, frozen=True, kw_only=True):
    """What a process may use of a provider.

    Attributes:
        concurrency: Attempts at a time; ``None`` for as many as come.
        rates: Within any minute.
        until_s: By the event loop's time: from then on it may use nothing.
    """

    concurrency: int | None = None
    rates: RateLimits = RateLimits()
    until_s: float

    def fits_ever(self, tokens: int) -> bool:
        """Whether it has room for a request of that size, at some time."""
        return self.concurrency != 0 and self.rates.fits_ever(tokens)


NOTHING = ProviderShare(concurrency=0, rates=RateLimits(requests=0, tokens=0), until_s=0.0)
"""The share of a process that has not been given any yet."""


class ProviderDemand(msgspec.Struct, frozen=True, kw_only=True):
    """What a process uses of a provider, and what waits there.

    Attributes:
        in_flight: Attempts under way.
        requests: Attempts that left within the last minute.
        tokens: Their tokens.
        waiting: Attempts that wait.
        waiting_tokens: Their tokens.
        first_tokens: Those of the attempt whose turn is next.
        waited_s: Seconds that it has waited; ``None`` if none does.
    """

    in_flight: int
    requests: int
    tokens: int
    waiting: int = 0
    waiting_tokens: int = 0
    first_tokens: int = 0
    waited_s: float | None = None


RateUnit = Literal["concurrency", "requests", "tokens"]

RATE_UNIT_NAMES: Mapping[RateUnit, str] = {
    "concurrency": "at a time",
    "requests": "requests/min",
    "tokens": "tokens/min",
}
"""What stands behind a number of each for people."""

_Count = Annotated[int, Meta(ge=0)]
"""A claim below zero would make room that no limit has."""


class RateClaim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node has of one limit of a provider.

    Attributes:
        limit: The whole of it, as this node is configured.
        granted: What the node may use.
        used: What it uses: attempts under way, or what left within the last minute.
        waiting: What waits at it.
        first: What is next there: it goes as a whole or not at all.
    """

    limit: _Count
    granted: _Count = 0
    used: _Count = 0
    waiting: _Count = 0
    first: _Count = 0


class NodeClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node has of all limits of a provider.

    Attributes:
        node: Its name.
        incarnation: Which process of that name.
        seen_s: When it said so, by the database's clock, in seconds since the Unix epoch.
        since_s: Since when its next attempt waits; ``None`` if none does.
        left: Whether it has gone: what it has used counts until its minute is over.
        claims: By unit; only what is limited.
    """

    node: str
    incarnation: int
    seen_s: float
    since_s: float | None = None
    left: bool = False
    claims: Mapping[RateUnit, RateClaim]


class ProviderClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What all nodes have of a provider.

    Attributes:
        provider: Its name.
        version: How often this has changed; 0 if nothing is known yet.
        nodes: Each process that has, or lately had, some.
        unreadable: Why nothing of that is known: another program, or somebody, has written what this one cannot read.
            Empty as a rule.
    """

    provider: str
    version: int = 0
    nodes: tuple[NodeClaims, ...] = ()
    unreadable: str = ""
