"""What nodes may use of a provider's limits: never more than the limit together, and what waits comes to its turn."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from organism.cluster.rate_balance import next_share
from organism.router.limits.provider_share import NodeClaims, RateClaim

TTL_S = 10.0


@dataclass
class SimulatedNode:
    """A node whose attempts end only when the test says so.

    Attributes:
        name: Of the node.
        queue: When each attempt began to wait, and its size.
    """

    name: str
    used: int = 0
    admitted: int = 0
    granted: int = 0
    queue: list[tuple[float, int]] = field(default_factory=list)

    def said(self, limit: int, now_s: float) -> NodeClaims:
        first = self.queue[0] if self.queue else None
        claim = RateClaim(
            limit=limit,
            granted=self.granted,
            used=self.used,
            waiting=sum(size for _, size in self.queue),
            first=0 if first is None else first[1],
        )
        since_s = None if first is None else first[0]
        return NodeClaims(node=self.name, incarnation=1, seen_s=now_s, since_s=since_s, claims={"tokens": claim})

    def admit(self) -> None:
        while self.queue and self.used + self.queue[0][1] <= self.admitted:
            self.used += self.queue.pop(0)[1]

    def exchange(self, limit: int, known: dict[str, NodeClaims], now_s: float) -> None:
        """Do what a node does in one exchange: lower at once, write, and use what was written."""
        me = self.said(limit, now_s)
        step = next_share("tokens", me, list(known.values()), now_s, TTL_S)
        assert step.admitted <= step.granted
        self.admitted, self.granted = step.admitted, step.granted
        known[self.name] = replace(me, claims={"tokens": replace(me.claims["tokens"], granted=step.granted)})
        self.admit()


@settings(max_examples=200)
@given(
    limit=st.integers(1, 40),
    count=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["ask", "end", "exchange"]), st.integers(1, 40))),
)
def test_nodes_never_have_more_than_the_limit_and_everything_comes_to_its_turn(
    limit: int, count: int, steps: Sequence[tuple[int, str, int]]
) -> None:
    """Whatever is asked, ends and is exchanged in whatever order; an attempt as large as the limit gets through."""
    nodes = [SimulatedNode(f"n{number}") for number in range(count)]
    known: dict[str, NodeClaims] = {}
    now_s = 1000.0

    def check() -> None:
        assert sum(node.granted for node in nodes) <= limit
        assert all(node.used <= node.granted for node in nodes)

    for number, what, size in steps:
        now_s += 0.1
        node = nodes[number % count]
        if what == "ask":
            node.queue.append((now_s, min(size, limit)))
            node.admit()
        elif what == "end":
            node.used = max(0, node.used - size)
            node.admit()
        else:
            node.exchange(limit, known, now_s)
        check()
    for _ in range(4 * (1 + sum(len(node.queue) for node in nodes))):
        for node in nodes:
            now_s += 0.01
            node.used = 0  # a minute passes
            node.exchange(limit, known, now_s)
            check()
    assert [node.queue for node in nodes] == [[]] * count


def claims(name: str, granted: int, seen_s: float = 1000.0, incarnation: int = 1, **more: object) -> NodeClaims:
    claim = RateClaim(limit=100, granted=granted, **more)  # type: ignore[arg-type]
    return NodeClaims(
        node=name, incarnation=incarnation, seen_s=seen_s, claims={"requests": claim, "concurrency": claim}
    )


@pytest.mark.parametrize(("unit", "counts_s"), [("concurrency", TTL_S), ("requests", TTL_S + 62)])
def test_what_a_dead_node_had_is_free_when_it_can_count_no_more(unit: str, counts_s: float) -> None:
    """Places come back when its lease is over; a minute's requests only when that minute is."""
    me = claims("a", 0, used=90)
    dead = claims("b", 80)
    before = next_share(unit, me, [dead], 1000 + counts_s - 0.1, TTL_S)  # type: ignore[arg-type]
    after = next_share(unit, me, [dead], 1000 + counts_s + 0.1, TTL_S)  # type: ignore[arg-type]
    assert before.granted == 20
    assert after.granted >= 90


def test_a_node_that_begins_anew_shares_with_no_earlier_process_of_its_name() -> None:
    """What the earlier one was granted still counts, and nothing is kept for its needs."""
    earlier = claims("a", 30, incarnation=1, used=30, waiting=1000, first=1)
    now = next_share("requests", claims("a", 0, incarnation=2, used=60), [earlier], 1000.0, TTL_S)
    assert now.granted == 70


def test_a_lowered_limit_is_kept_as_soon_as_what_is_used_lets_it() -> None:
    """A node that has more than a limit which was lowered lets nothing in until it is down to its due."""
    step = next_share("requests", claims("a", 300, used=250), [], 1000.0, TTL_S)
    assert step.granted == 250
    assert step.admitted <= 100
