"""Which partitions should a node take, ask for and hand over? Pure: every node answers for itself.

Each may have its share, the partitions by the nodes that live, rounded up; so the shares are enough for all of them.
Partitions that need a label are shared in the same way, by themselves, among the nodes that have it.
"""

from collections import Counter
from collections.abc import Collection, Mapping

import msgspec

from organism.stores.leases import ClusterView, LeaseRow


class LeaseStep(msgspec.Struct, frozen=True, kw_only=True):
    """What a node does next.

    Attributes:
        acquire: By the label that they need, so many free partitions it takes; those of no label under ``''``.
        ask: Partitions that it asks their owners for.
        hand_over: Partitions that it gives back.
    """

    acquire: Mapping[str, int] = {}
    ask: tuple[int, ...] = ()
    hand_over: tuple[int, ...] = ()


def next_step(view: ClusterView, me: str, held: Collection[int]) -> LeaseStep:
    """Decide what a node does next.

    Args:
        view: The cluster.
        me: The node.
        held: The partitions that it has, or is about to have.
    """
    own = view.node(me)
    if own is None or own.draining:
        return LeaseStep(hand_over=tuple(sorted(held)))
    if not own.live:
        # It has just renewed, and has looked so late that it took itself for dead. What it lost meanwhile its leases
        # say; the rest nobody else may want, and everyone who waits for a thread would find its organism stopped.
        return LeaseStep()
    acquire: dict[str, int] = {}
    ask: list[int] = []
    hand_over: list[int] = []
    for label in ("", *sorted(own.labels)):
        free, asked, wanted = _step_of_label(view, me, held, label)
        acquire |= {label: free} if free else {}
        ask += asked
        hand_over += wanted
    return LeaseStep(acquire=acquire, ask=tuple(ask), hand_over=tuple(hand_over))


def _step_of_label(
    view: ClusterView, me: str, held: Collection[int], label: str
) -> tuple[int, tuple[int, ...], list[int]]:
    """Decide it for the partitions that need a label, or for those that need none: how many it takes, and which."""
    live = {node.name for node in view.nodes if node.live and not node.draining and node.may_have(label)}
    usable = [lease for lease in view.leases if not lease.stopped and lease.node_label == label]
    has = [lease for lease in usable if lease.partition in held]
    share = -(-len(usable) // len(live))
    wanted = sorted(lease.partition for lease in has if lease.wanted_by in live - {me})
    missing = max(0, share - len(has))
    free = [lease for lease in usable if _is_free(lease, view, me) and lease.partition not in held]
    return (
        min(missing, len(free)),
        _asked(usable, share, me, max(0, missing - len(free))),
        wanted[: max(0, len(has) - share)],
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
