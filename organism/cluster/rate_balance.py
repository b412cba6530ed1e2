"""How much of a provider's limits may a node use? Pure: every node answers for itself, and all by the same rule.

All nodes together are granted at most the limit. A node that has more than its due gives up what it does not use as
soon as another one lacks some, and begins nothing new until it is down to its due. What a node has used of a minute
stays granted to it until that minute is over, wherever it is now; so does all that a node has that died, for nobody
knows how much of it was used.
"""

from collections.abc import Mapping, Sequence

import msgspec

from organism.router.limits.provider_share import NodeClaims, RateClaim, RateUnit

_MINUTE_S = 62.0
"""So long may count what left: a minute in slots of a second, and one for the ends."""

_Key = tuple[str, int]


class NextShare(msgspec.Struct, frozen=True):
    """What a node does next about one limit.

    Attributes:
        admitted: It lets in no more than that from now on.
        granted: What it has then.
    """

    admitted: int
    granted: int


def counted_for_s(unit: RateUnit, ttl_s: float) -> float:
    """Return for how many seconds a node that says nothing more counts with what it was granted."""
    return ttl_s if unit == "concurrency" else ttl_s + _MINUTE_S


def counted(nodes: Sequence[NodeClaims], now_s: float, ttl_s: float) -> tuple[NodeClaims, ...]:
    """Return the nodes that count still."""
    return tuple(node for node in nodes if now_s < node.seen_s + counted_for_s("requests", ttl_s))


def next_share(unit: RateUnit, me: NodeClaims, nodes: Sequence[NodeClaims], now_s: float, ttl_s: float) -> NextShare:
    """Decide what a node does next about one limit.

    Args:
        unit: Which.
        me: The node, with what it uses now.
        nodes: All nodes, as they have said.
        now_s: The database's time, in seconds since the Unix epoch.
        ttl_s: A node that was silent for so long is dead.
    """
    own = me.claims[unit]
    others = [node for node in nodes if _key(node) != _key(me) and unit in node.claims]
    taken = sum(node.claims[unit].granted for node in others if now_s < node.seen_s + counted_for_s(unit, ttl_s))
    newest = {node.node: node.incarnation for node in sorted((*others, me), key=_key)}
    live = [
        node
        for node in others
        if not node.left and newest[node.node] == node.incarnation and now_s < node.seen_s + ttl_s
    ]
    free = own.limit - taken - own.granted
    due = _due(unit, own.limit, (*live, me))
    mine = due[_key(me)]
    if own.granted < mine:
        granted = own.granted + min(mine - own.granted, max(0, free))
        return NextShare(granted, granted)
    lacking = sum(_lacking(node.claims[unit], due[_key(node)]) for node in live)
    if own.granted > mine and lacking > free:
        return NextShare(mine, max(mine, min(own.granted, own.used)))
    return NextShare(own.granted, own.granted)


def _key(node: NodeClaims) -> _Key:
    return node.node, node.incarnation


def _lacking(claim: RateClaim, due: int) -> int:
    """Return how much a node is short of what others are to make room for: a little less than its due is enough."""
    if claim.waiting:
        return max(0, min(due, claim.used + claim.waiting) - claim.granted)
    return due - claim.granted if claim.granted < due // 2 else 0


def _due(unit: RateUnit, limit: int, nodes: Sequence[NodeClaims]) -> Mapping[_Key, int]:
    """Divide a limit: first what has waited longest, then what each needs, then half of the rest in equal parts.

    The half that is left is for a node that begins, and for one that needs more at once: what nobody has is free for
    everybody, and is not lost with a node that dies.
    """
    nodes = sorted(nodes, key=_key)
    due = {_key(node): 0 for node in nodes}
    rest = limit
    if waiting := [node for node in nodes if node.since_s is not None and node.claims[unit].first]:
        first = min(waiting, key=lambda node: (node.since_s, _key(node)))
        due[_key(first)] = min(limit, first.claims[unit].first)
        rest -= due[_key(first)]
    wants = {_key(node): max(0, node.claims[unit].used + node.claims[unit].waiting - due[_key(node)]) for node in nodes}
    for position, key in enumerate(sorted(wants, key=wants.__getitem__)):
        part = min(wants[key], rest // (len(nodes) - position))
        due[key] += part
        rest -= part
    for key in due:
        part = min(rest, -(-(rest // 2) // len(nodes)) or 1)
        due[key] += part
        rest -= part
    return due
