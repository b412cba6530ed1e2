"""Clusters in virtual time, on a real database: hand-over under faults, and what is found where a fence is lost."""

import pytest
from msgspec.structs import replace

from organism.amounts import Amounts
from organism.stores.postgres import statement
from organism.stores.postgres.slice_table import SliceTable
from organism.stores.shared.slice_rows import SliceRow
from organism.testing.simulate import Scenario, ScenarioStep, search, shorten
from organism.testing.simulate.__main__ import in_clusters
from organism.testing.simulate.cluster.cluster_shape import ClusterShape
from organism.testing.simulate.cluster.run import play_cluster
from organism.testing.simulate.cluster.story import draw_cluster_story

pytestmark = pytest.mark.debian

A, B = 0, 1
"""Numbers of steps that join a node of this name."""

FOR_25_S = 3
"""The number of a stall that outlasts every lease."""

STALE = Scenario(
    5,
    (
        ScenarioStep("join", 0.0, A),
        *(ScenarioStep("open", 4.0 if number == 0 else 0.0, number) for number in range(9)),
        ScenarioStep("stall", 0.02, FOR_25_S),
        ScenarioStep("join", 0.3, B),
    ),
)
"""A node that is stopped with work under way, and wakes when another one has its partitions."""


def test_hand_over_breaks_no_invariant() -> None:
    """Nodes join, leave, drain, crash, stall and lose answers: what was acknowledged ends, paid for and told once."""
    found = search(ClusterShape, range(4), operations=16, way=in_clusters())

    assert found.failure is None, str(found)
    assert found.seen["a partition with another owner"]
    assert found.seen["a hold on a shared limit"]


def test_a_seed_of_a_cluster_is_one_run_to_the_last_record() -> None:
    """A failure is replayed: processes, network and database are in the same order each time."""
    one, again = (play_cluster(draw_cluster_story(3, 12), ClusterShape) for _ in range(2))

    assert one.records > 20
    assert (one.trace, one.seen) == (again.trace, again.seen)


def test_an_owner_that_wakes_after_its_lease_is_refused() -> None:
    """It writes nothing once another node has its partition, and nothing that it had acknowledged is lost."""
    result = play_cluster(STALE, ClusterShape)

    assert result.failures == ()
    assert result.seen["a stale owner refused"]


def test_a_lost_fence_is_found_and_told_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a group is written whoever owns the journal, a stale owner's is: told in a story of a few lines."""
    fenced = "CASE WHEN epoch = %(epoch)s AND batch = %(number)s - 1 THEN %(number)s ELSE -1 END"
    assert fenced in statement._FENCE
    monkeypatch.setattr(statement, "_FENCE", statement._FENCE.replace(fenced, "%(number)s"))
    monkeypatch.setattr(statement, "_statement", statement._statement.__wrapped__)

    found = shorten(STALE, ClusterShape, runs=12, play=play_cluster)

    assert found.failures
    assert len(found.story.operations) < len(STALE.operations)


def test_a_slice_out_of_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where partitions get more than the limit they share, the books of all of them together say so."""
    take = SliceTable.take

    def generous(self: SliceTable, *args: object, **more: object) -> SliceRow | None:
        row = take(self, *args, **more)  # type: ignore[arg-type]
        if row is None:
            return None
        return replace(row, amounts=row.amounts + Amounts(tokens=1000))

    monkeypatch.setattr(SliceTable, "take", generous)

    found = search(ClusterShape, range(12), operations=16, way=in_clusters())

    assert found.failure is not None
    assert "above" in "".join(found.failure.failures)


def test_a_node_whose_name_was_taken_for_a_moment_keeps_nothing_from_the_others() -> None:
    """A second process under the same name that leaves at once ends the first one, and no partition with it."""
    joins = (ScenarioStep("join", 0.0, A), ScenarioStep("open", 4.0, 1), ScenarioStep("join", 0.0, A))
    story = Scenario(1022, (*joins, ScenarioStep("leave", 0.3, 1)))
    result = play_cluster(story, ClusterShape)

    assert result.failures == ()
    assert result.seen["node ended by NodeReplacedError"]
