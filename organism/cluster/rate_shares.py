"""What a node may use of the limits of providers: agreed on with the other nodes, and told to the limiters.

The share in the database is never less than the one that the limiter uses: more is used only after it was written, and
less is written only after the limiter uses no more. So whatever ends in between, all nodes together stay within a
limit. A node that does not reach the database uses its share until shortly before the others take it for dead.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import anyio
import structlog
from msgspec.structs import replace

from organism.cluster.lease_times import LeaseTimes
from organism.cluster.rate_balance import NextShare, counted, counted_for_s, next_share
from organism.concurrency.loop_time import loop_time
from organism.concurrency.own_threads import OwnThreads
from organism.errors import OrganismError
from organism.router.limits.limiter import ProviderLimiter
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.provider_share import (
    NOTHING,
    NodeClaims,
    ProviderClaims,
    ProviderDemand,
    ProviderShare,
    RateClaim,
    RateUnit,
)
from organism.router.limits.rate_limit import RateLimits
from organism.router.planning.provider_limiters import ProviderLimiters
from organism.text.lasting_failure import LastingFailure

if TYPE_CHECKING:
    from organism.stores.postgres.rate_table import RateTable

_EXCHANGE_S = 0.5
"""Seconds between two exchanges: so late a node may hear what another one lacks."""

_SOON_S = 0.1
"""Seconds between two exchanges while something waits here."""

_log = structlog.get_logger("organism.cluster")


class RateShares:
    """The shares that a node has.

    Args:
        url: The database.
        node: The name of this node.
        limiters: Those of the providers.
        times: How long things take.

    Attributes:
        failures: How often it could not agree with the others.
        unreadable: The providers of which it cannot read what the nodes have, with why.
    """

    def __init__(self, url: str, node: str, limiters: ProviderLimiters, times: LeaseTimes) -> None:
        self._url, self._node, self._times = url, node, times
        self.failures = 0
        self._failure = LastingFailure()
        self.unreadable: dict[str, str] = {}
        self._threads = OwnThreads(1)
        self._woken = anyio.Event()
        self._own: dict[str, _OwnShare] = {}
        self._gone: dict[str, _OwnShare] = {}
        self.replace(limiters)

    def replace(self, limiters: ProviderLimiters) -> None:
        """Agree on the limits of these providers from here on.

        Nothing is begun of a limit that is new until it is agreed on. A provider that is gone keeps its share as long
        as calls of it are under way.
        """
        before, self._own = self._own, {}
        for name, limiter in limiters.items():
            limits, own = shared_limits(limiter.settings), before.pop(name, None)
            if own is None or own.limiter is not limiter or own.limits != limits:
                if own is not None and own.limiter is not limiter:
                    own.freeze()
                own = _OwnShare(limiter, limits)
                limiter.share(NOTHING if limits else None, self._wake)
            if limits:
                self._own[name] = own
        for name in self._gone.keys() & self._own.keys():
            self._gone[name].freeze()  # it is back, in a limiter of its own
        self._gone = {name: own for name, own in (self._gone | before).items() if name not in self._own}
        self._wake()

    @property
    def shares(self) -> Mapping[str, Mapping[RateUnit, int]]:
        """What this node may use of each provider's limits."""
        return {provider: own.admitted for provider, own in self._own.items()}

    def _wake(self) -> None:
        self._woken.set()

    async def run(self, incarnation: int) -> None:
        """Agree with the other nodes until it is cancelled; an unreachable database ends nothing.

        Args:
            incarnation: Which process of its name this is.
        """
        while not self._own:  # a reload may bring limits
            self._woken = anyio.Event()
            await self._woken.wait()
        from organism.stores.postgres.rate_table import RateTable

        table = RateTable(self._url)
        try:
            while True:
                self._woken = anyio.Event()
                waits = await self._turn(table, incarnation)
                if waits:
                    await anyio.sleep(_SOON_S)
                else:
                    with anyio.move_on_after(_EXCHANGE_S):
                        await self._woken.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await self._turn(table, incarnation, leaves=True)
                await self._threads.run(table.close)

    async def _turn(self, table: "RateTable", incarnation: int, *, leaves: bool = False) -> bool:
        """Compare with the others once; whether something waits for what they have."""
        began_s, waits = loop_time(), False
        try:
            now_s, found = await self._threads.run(table.read, [*self._own, *self._gone])
            for claims in found:
                name = claims.provider
                own = self._share(name)
                if own is None or self._refused(claims, own):
                    continue
                ends = leaves or (name in self._gone and not own.limiter.load)
                change = own.changed(claims, (self._node, incarnation), now_s, self._times, leaves=ends)
                written = change is not None and await self._threads.run(table.write, change.claims)
                if self._share(name) is not own:
                    continue  # a reload has come meanwhile, and this agreement was about other limits
                if change is not None and written:
                    own.written(change, began_s + self._times.ttl_s - self._times.margin_s, self._wake)
                    if ends:
                        self._gone.pop(name, None)
                waits = waits or own.waits
            self._failure.end()
        except OrganismError as error:
            self.failures += 1
            if self._failure.is_news(str(error)):
                _log.warning("rates_failed", error=str(error))
        return waits

    def _share(self, provider: str) -> "_OwnShare | None":
        return self._own.get(provider) or self._gone.get(provider)

    def _refused(self, claims: ProviderClaims, own: "_OwnShare") -> bool:
        """Whether nothing is known of a provider; then nothing of it is used any more, and the log has said so once."""
        provider, why = claims.provider, claims.unreadable
        if not why:
            if self.unreadable.pop(provider, ""):
                _log.info("rates_readable_again", provider=provider)
            return False
        if self.unreadable.get(provider) != why:
            self.unreadable[provider] = why
            _log.error("rates_unreadable", provider=provider, version=claims.version, error=why)
        own.use_nothing()
        return True


def shared_limits(settings: ProviderSettings) -> Mapping[RateUnit, int]:
    """Return the limits of a provider that the nodes of a cluster share."""
    found: dict[RateUnit, int | None] = {
        "concurrency": settings.concurrency,
        "requests": settings.rates.requests,
        "tokens": settings.rates.tokens,
    }
    return {} if settings.per_machine else {unit: most for unit, most in found.items() if most is not None}


class _Change:
    """A provider's row as a node is to write it, and what the node lets in then."""

    def __init__(self, claims: ProviderClaims, admitted: Mapping[RateUnit, int]) -> None:
        self.claims = claims
        self.admitted = admitted


class _OwnShare:
    """What this node has of one provider."""

    def __init__(self, limiter: ProviderLimiter, limits: Mapping[RateUnit, int]) -> None:
        self.limiter = limiter
        self.waits = False
        self.limits = limits
        self.admitted: Mapping[RateUnit, int] = dict.fromkeys(limits, 0)
        self._until_s = 0.0
        self._on_wait: Callable[[], object] = lambda: None

    def changed(
        self, known: ProviderClaims, me: tuple[str, int], now_s: float, times: LeaseTimes, *, leaves: bool
    ) -> _Change | None:
        """Return what is to be written, if anything; what is to be used no more is used no more from now on."""
        demand = self.limiter.demand()
        self.waits = demand.waited_s is not None
        before = next((node for node in known.nodes if (node.node, node.incarnation) == me), None)
        own = self._claims(demand, before, me, now_s, times.ttl_s)
        steps = {unit: self._step(unit, own, known, now_s, times.ttl_s, leaves=leaves) for unit in self.limits}
        self._admit({unit: min(self.admitted[unit], step.admitted) for unit, step in steps.items()})
        admitted = {unit: step.admitted for unit, step in steps.items()}
        moved = any(own.claims[unit].granted != step.granted for unit, step in steps.items())
        if not (moved or leaves) and before is not None and not self._stale(before, now_s, times):
            self._admit(admitted)
            return None
        claims = {unit: replace(own.claims[unit], granted=step.granted) for unit, step in steps.items()}
        mine = replace(own, claims=claims, left=leaves, seen_s=now_s - times.ttl_s if leaves else now_s)
        others = (node for node in known.nodes if node is not before)
        return _Change(replace(known, nodes=(*counted(tuple(others), now_s, times.ttl_s), mine)), admitted)

    def freeze(self) -> None:
        """Let the calls that wait in a limiter that is replaced go on with what it has now: nobody renews it.

        Those that this has no room for are planned anew: more than that is the other nodes' to use.
        """
        self._until_s = math.inf
        self._admit(self.admitted, anew=True)
        self.limiter.keep_share()

    def use_nothing(self) -> None:
        """Begin nothing more: how much the others use is not known."""
        self._admit(dict.fromkeys(self.limits, 0))

    def written(self, change: _Change, until_s: float, on_wait: Callable[[], object]) -> None:
        """Use what was written, until an instant of the event loop's time."""
        self._until_s, self._on_wait = until_s, on_wait
        self._admit(change.admitted, anew=True)

    def _stale(self, before: NodeClaims, now_s: float, times: LeaseTimes) -> bool:
        """Whether the others are to hear again of this node."""
        said = before.since_s is not None
        age_s = now_s - before.seen_s
        return age_s >= times.renew_s or self.waits != said or (self.waits and age_s >= _EXCHANGE_S)

    def _step(
        self, unit: RateUnit, own: NodeClaims, known: ProviderClaims, now_s: float, ttl_s: float, *, leaves: bool
    ) -> NextShare:
        if leaves:
            claim = own.claims[unit]
            return NextShare(0, 0 if unit == "concurrency" else min(claim.used, claim.granted))
        return next_share(unit, own, known.nodes, now_s, ttl_s)

    def _claims(
        self, demand: ProviderDemand, before: NodeClaims | None, me: tuple[str, int], now_s: float, ttl_s: float
    ) -> NodeClaims:
        """Return what this node has and uses now; what it has not renewed in time it has no more."""
        figures: dict[RateUnit, tuple[int, int, int]] = {
            "concurrency": (demand.in_flight, demand.waiting, 1),
            "requests": (demand.requests, demand.waiting, 1),
            "tokens": (demand.tokens, demand.waiting_tokens, demand.first_tokens),
        }
        claims: dict[RateUnit, RateClaim] = {}
        for unit, limit in self.limits.items():
            used, waiting, first = figures[unit]
            in_time = before is not None and now_s < before.seen_s + counted_for_s(unit, ttl_s)
            earlier = before.claims.get(unit) if before is not None and in_time else None
            claims[unit] = RateClaim(
                limit=limit,
                granted=0 if earlier is None else earlier.granted,
                used=used,
                waiting=waiting,
                first=first if self.waits else 0,
            )
        since_s = None if demand.waited_s is None else now_s - demand.waited_s
        return NodeClaims(node=me[0], incarnation=me[1], seen_s=now_s, since_s=since_s, claims=claims)

    def _admit(self, admitted: Mapping[RateUnit, int], *, anew: bool = False) -> None:
        if admitted == self.admitted and not anew:
            return
        self.admitted = admitted
        rates = RateLimits(requests=admitted.get("requests"), tokens=admitted.get("tokens"))
        share = ProviderShare(concurrency=admitted.get("concurrency"), rates=rates, until_s=self._until_s)
        self.limiter.share(share, self._on_wait)
