"""What the nodes of a cluster have of the limits of providers: one row for each provider, changed by who has seen it.

A node reads a row, decides by :mod:`organism.cluster.rate_balance`, and writes the row with its own part changed. The
row is written only if nobody has changed it meanwhile, so what all nodes together are granted is always what the one
that wrote last has added up. Everything here blocks.
"""

from collections.abc import Sequence
from typing import get_args

import msgspec

from organism.router.limits.provider_share import NodeClaims, ProviderClaims, RateClaim, RateUnit
from organism.stores.postgres.table_connection import TableConnection

_EVERYTHING = 1 << 52
"""More than any limit."""


class RateTable:
    """What one node does with the limits of providers. Any call may raise ``JournalError``: then look again."""

    def __init__(self, url: str) -> None:
        self._connection = TableConnection(url)

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()

    def read(self, providers: Sequence[str]) -> tuple[float, list[ProviderClaims]]:
        """Return the database's time, in seconds since the Unix epoch, and what is known of these providers.

        A row that cannot be read says so for itself; the others are as good as without it.
        """
        found = self._connection.execute(_READ, {"providers": list(providers)})
        known = {provider: (version, nodes) for _, provider, version, nodes in found if provider is not None}
        return found[0][0], [_claims(provider, *known.get(provider, (0, "[]"))) for provider in providers]

    def read_all(self) -> list[ProviderClaims]:
        """Return what is known of all providers; nothing where an older program has made the tables."""
        if self._connection.execute("SELECT to_regclass('organism.rates') IS NULL", {})[0][0]:
            return []
        found = self._connection.execute("SELECT provider, version, nodes FROM organism.rates ORDER BY provider", {})
        return [_claims(*row) for row in found]

    def write(self, claims: ProviderClaims) -> bool:
        """Write what nodes have, if nobody has since it was read; whether that was so."""
        nodes = msgspec.json.encode(claims.nodes).decode()
        values = {"provider": claims.provider, "version": claims.version, "nodes": nodes}
        return bool(self._connection.execute(_WRITE, values))

    def forget(self, provider: str) -> bool:
        """Take all of a provider's limits for used, by nobody known, until a minute is over; whether it was known.

        So no more is asked of it than it takes, whatever the nodes have used meanwhile.
        """
        everything = RateClaim(limit=0, granted=_EVERYTHING)
        ((now_s,),) = self._connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8", {})
        nobody = NodeClaims(
            node="", incarnation=0, seen_s=now_s, left=True, claims=dict.fromkeys(get_args(RateUnit), everything)
        )
        nodes = msgspec.json.encode((nobody,)).decode()
        return bool(self._connection.execute(_FORGET, {"provider": provider, "nodes": nodes}))


def _claims(provider: str, version: int, nodes: str) -> ProviderClaims:
    try:
        read = msgspec.json.decode(nodes, type=tuple[NodeClaims, ...])
    except (msgspec.MsgspecError, RecursionError) as error:
        return ProviderClaims(provider=provider, version=version, unreadable=str(error))
    return ProviderClaims(provider=provider, version=version, nodes=read)


_READ = """
    SELECT extract(epoch FROM clock_timestamp())::float8, provider, version, nodes
    FROM (VALUES (1)) AS one LEFT JOIN organism.rates ON provider = ANY(%(providers)s::text[])"""

_FORGET = """
    UPDATE organism.rates SET version = version + 1, nodes = %(nodes)s
    WHERE provider = %(provider)s RETURNING version"""

_WRITE = """
    INSERT INTO organism.rates AS r VALUES (%(provider)s, %(version)s + 1, %(nodes)s)
    ON CONFLICT (provider) DO UPDATE SET version = r.version + 1, nodes = excluded.nodes
    WHERE r.version = %(version)s RETURNING version"""
