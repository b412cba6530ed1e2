"""Which partitions should a node take, ask for and hand over? Pure: every node answers for itself.

Each may have its share, the partitions by the nodes that live, rounded up; so the shares are enough for all of them.
"""

from collections import Counter
from collections.abc import Collection

import msgspec

from organism.stores.leases import ClusterView, LeaseRow


class LeaseStep(msgspec.Struct, frozen=True, kw_only=True):
    """What a node does next.

    Attributes:
        acquire: So many free partitions it takes.
        ask: Partitions that it asks their owners for.
        hand_over: Partitions that it gives back.
    """

    acquire: int = 0
    ask: tuple[int, ...] = ()
    hand_over: tuple[int, ...] = ()


def next_step(view: ClusterView, me: str, held: Collection[int]) -> LeaseStep:
    """Decide what a node does next.

    Args:
        view: The cluster.
        me: The node.
        held: The partitions that it has, or is about to have.
    """
    live = {node.name for node in view.nodes if node.live and not node.draining}
    if me not in live:
        return LeaseStep(hand_over=tuple(sorted(held)))
    usable = [lease for lease in view.leases if not lease.stopped]
    share = -(-len(usable) // len(live))
    wanted = sorted(lease.partition for lease in usable if lease.partition in held and lease.wanted_by in live - {me})
    missing = max(0, share - len(held))
    free = [lease for lease in usable if _is_free(lease, view, me) and lease.partition not in held]
    return LeaseStep(
        acquire=min(missing, len(free)),
        ask=_asked(usable, share, me, max(0, missing - len(free))),
        hand_over=tuple(wanted[: max(0, len(held) - share)]),
    )


def _is_free(lease: LeaseRow, view: ClusterView, me: str) -> bool:
    """Whether a node may take a partition now."""
    asker = view.node(lease.wanted_by)
    if asker is not None and asker.live and asker.name != me:
        return False
    own = view.node(me)
    left_behind = own is not None and lease.owner == me and lease.incarnation < own.incarnation
    return lease.owner is None or lease.expired or left_behind


def _asked(usable: list[LeaseRow], share: int, me: str, missing: int) -> tuple[int, ...]:
    """Choose partitions of owners that have more than their share, what was asked for before first."""
    owned = [(lease.owner, lease) for lease in usable if lease.owner not in (None, me) and not lease.expired]
    has = Counter(owner for owner, _ in owned)
    chosen: list[int] = []
    for asked_before in (True, False):
        open_ones = [each for each in owned if each[1].wanted_by == (me if asked_before else None)]
        while len(chosen) < missing and open_ones:
            best = max(open_ones, key=lambda each: has[each[0]])
            if has[best[0]] <= share:
                break
            has[best[0]] -= 1
            open_ones.remove(best)
            chosen.append(best[1].partition)
    return tuple(sorted(chosen))
