"""Partitions spread evenly over the nodes that live, whatever joins, leaves or dies, and come to rest."""

import random

import pytest

from organism.cluster.balance import next_step
from organism.stores.leases import ClusterView, LeaseRow, NodeRow


class Cluster:
    """The rows of a cluster's database, changed as its statements change them."""

    def __init__(self, partitions: int) -> None:
        self.nodes: dict[str, bool] = {}
        self.owner: list[str | None] = [None] * partitions
        self.wanted: list[str | None] = [None] * partitions
        self.stopped: set[int] = set()
        self.dead: set[str] = set()
        self.moves = 0

    def view(self) -> ClusterView:
        nodes = tuple(
            NodeRow(name=name, incarnation=1, url="", version="", draining=draining, live=name not in self.dead)
            for name, draining in self.nodes.items()
        )
        leases = tuple(
            LeaseRow(
                partition=p,
                epoch=1,
                owner=owner,
                incarnation=1,
                expired=owner in self.dead,
                wanted_by=self.wanted[p],
                stopped="it is damaged" if p in self.stopped else "",
            )
            for p, owner in enumerate(self.owner)
        )
        return ClusterView(nodes=nodes, leases=leases)

    def held(self, node: str) -> list[int]:
        return [p for p, owner in enumerate(self.owner) if owner == node]

    def turn(self, node: str) -> bool:
        """Let a node take its step, and tell whether it changed anything."""
        before = (list(self.owner), list(self.wanted))
        step = next_step(self.view(), node, self.held(node))
        for p in step.hand_over:
            assert self.owner[p] == node
            self.owner[p] = None
        self.wanted = [None if by == node else by for by in self.wanted]
        for p in step.ask:
            assert self.wanted[p] is None
            self.wanted[p] = node
        free = [
            p
            for p, owner in enumerate(self.owner)
            if p not in self.stopped
            and (owner is None or owner in self.dead)
            and (self.wanted[p] in (None, node) or self.wanted[p] in self.dead)
        ]
        for p in free[: step.acquire.get("", 0)]:
            self.owner[p], self.wanted[p] = node, None
            self.moves += 1
        return before != (self.owner, self.wanted)

    def rest(self, chance: random.Random) -> None:
        """Let the nodes take turns in any order until nothing changes any more."""
        for _ in range(200):
            order = [name for name in self.nodes if name not in self.dead]
            chance.shuffle(order)
            if not sum(self.turn(name) for name in order):
                return
        raise AssertionError("it never comes to rest")


@pytest.mark.parametrize("partitions", [2, 7, 16])
@pytest.mark.parametrize("seed", range(5))
def test_every_partition_has_one_owner_and_shares_are_even(partitions: int, seed: int) -> None:
    """Nodes join, drain, come back and die: then none has more than its share, and no partition is free."""
    chance, cluster = random.Random(seed), Cluster(partitions)
    for number in range(20):
        match chance.choice(["join", "drain", "die", "stop"]):
            case "drain" if len(cluster.nodes) > 1:
                name = chance.choice(list(cluster.nodes))
                cluster.nodes[name] = not cluster.nodes[name]
            case "die" if len(cluster.nodes) > 1:
                cluster.dead.add(chance.choice(list(cluster.nodes)))
            case "stop" if len(cluster.stopped) < partitions - 1:
                cluster.stopped.add(stopped := chance.randrange(partitions))
                cluster.owner[stopped] = None
            case _:
                cluster.nodes[f"n{number}"] = False
        live = [name for name, draining in cluster.nodes.items() if not draining and name not in cluster.dead]
        if not live:
            continue
        cluster.rest(chance)
        usable = [owner for p, owner in enumerate(cluster.owner) if p not in cluster.stopped]
        assert set(usable) <= set(live)
        share = -(-len(usable) // len(live))
        assert all(sum(owner == name for owner in usable) <= share for name in live)


def test_a_node_that_joins_moves_no_more_than_its_share() -> None:
    """A third node on 16 partitions takes at most its share from the others, each once."""
    chance, cluster = random.Random(1), Cluster(16)
    cluster.nodes = {"a": False, "b": False}
    cluster.rest(chance)
    cluster.moves = 0
    cluster.nodes["c"] = False
    cluster.rest(chance)
    assert cluster.moves == len(cluster.held("c")) == 4


def test_what_was_asked_for_by_a_dead_node_is_free() -> None:
    """A node that dies while it waits for a partition keeps nobody else from it."""
    cluster = Cluster(2)
    cluster.nodes, cluster.dead, cluster.wanted = {"a": False, "b": False}, {"b"}, ["b", "b"]
    assert cluster.turn("a")
    assert cluster.held("a") == [0, 1]


def test_a_node_that_has_looked_too_late_keeps_what_it_has() -> None:
    """Who stood still between its renewal and its look gives nothing away that nobody has asked for."""
    cluster = Cluster(3)
    cluster.nodes, cluster.dead, cluster.owner = {"a": False}, {"a"}, ["a", "a", None]
    assert not cluster.turn("a")
    cluster.dead.clear()
    assert cluster.turn("a")
    assert cluster.held("a") == [0, 1, 2]


def test_partitions_of_a_label_spread_over_the_nodes_that_have_it() -> None:
    """They are shared by themselves: who has the label takes its share of those and of the others."""

    def node(name: str, *labels: str, draining: bool = False) -> NodeRow:
        return NodeRow(
            name=name, incarnation=1, url="", version="", draining=draining, live=True, labels=frozenset(labels)
        )

    def lease(number: int, owner: str | None, label: str = "", wanted_by: str | None = None) -> LeaseRow:
        return LeaseRow(
            partition=number,
            epoch=1,
            owner=owner,
            incarnation=1,
            expired=False,
            wanted_by=wanted_by,
            stopped="",
            node_label=label,
        )

    free = (lease(0, None), lease(1, None), lease(2, None, "gpu"), lease(3, None, "gpu"), lease(4, None, "eu"))
    alone = ClusterView(nodes=(node("a"), node("b", "gpu")), leases=free)
    assert next_step(alone, "a", ()).acquire == {"": 1}
    assert next_step(alone, "b", ()).acquire == {"": 1, "gpu": 2}
    assert alone.missing_labels == {"eu"}

    had = tuple(lease(number, "b", "gpu", wanted) for number, wanted in ((2, "a"), (3, "c")))
    joined = ClusterView(nodes=(node("a"), node("b", "gpu"), node("c", "gpu")), leases=(*free[:2], *had))
    assert next_step(joined, "b", (2, 3)).hand_over == (3,)  # a asks in vain: it has no such label any more
    asked = ClusterView(nodes=joined.nodes, leases=(*free[:2], lease(2, "b", "gpu"), lease(3, "b", "gpu")))
    assert next_step(asked, "c", ()).ask == (2,)
    assert next_step(asked, "a", ()).ask == ()
    drained = ClusterView(nodes=(node("a"), node("b", "gpu", draining=True)), leases=asked.leases)
    assert next_step(drained, "b", (2, 3)).hand_over == (2, 3)
    assert (drained.missing_labels, drained.missing_label(2)) == ({"gpu"}, "")
