"""The comparison of budgets: its figures are right, and organism and the counter it is compared with go through it."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from bench.trust import trial
from bench.trust.__main__ import holds
from bench.trust.environments import PEERS, Absent, Peer, provide
from bench.trust.scenes import PROBE, Billed, Call, Job, Told, loop_figures, storm_figures, work_figures
from bench.trust.table import table


def job(limit: int = 1000) -> Job:
    return Job(scene="storm", url="", home="", limit=limit, calls=[Call(0), Call(1)])


def test_a_storm_s_figures_say_what_was_overspent_forgotten_and_paid_for_nothing() -> None:
    """Spent beyond the limit, recorded below the bill, and refused though it was paid: each is its own figure."""
    told = Told(outcomes=[(0, "answered"), (1, "refused"), (PROBE, "refused")], spent=900)

    found = storm_figures(job(), told, Billed(1250, {0: 1, 1: 3}))

    assert (found["overspent"], found["recorded less billed"], found["room left"]) == (250, -350, 0)
    assert (found["paid for nothing"], found["billed twice"]) == (1, 2)


@pytest.mark.parametrize(
    ("last", "billed", "room"),
    [("refused", 100, 2), ("refused", 999, 0), ("refused", 2000, 0), ("answered", 100, None)],
)
def test_room_that_was_left_is_counted_in_calls(last: str, billed: int, room: int | None) -> None:
    """A budget that refuses with money left has blocked too much; one that never refuses has not been reached."""
    assert storm_figures(job(), Told(outcomes=[(PROBE, last)]), Billed(billed, {}))["room left"] == room


def test_a_loop_s_figures_say_when_it_was_warned_and_stopped() -> None:
    """The turn of the warning and of the stop, and whether the refused turn was paid all the same."""
    told = Told(outcomes=[(0, "answered"), (1, "answered"), (2, "refused")], spent=1100, warned=1)

    found = loop_figures(job(), told, Billed(1100, {0: 1, 1: 1, 2: 1}))

    assert (found["overspent"], found["refused at turn"], found["warned after turn"]) == (100, 3, 1)
    assert found["paid for nothing"] == 1


def test_a_kill_s_figures_say_what_was_forgotten_paid_twice_and_lost() -> None:
    """Spend that a restart has forgotten, and jobs that are paid again or are never done."""
    told = Told(outcomes=[(0, "answered")], spent=150, remembered=40)

    found = work_figures(job(), told, Billed(100, {0: 1}), Billed(200, {0: 2}))

    assert (found["forgotten"], found["jobs paid twice"], found["jobs lost"]) == (60, 1, 1)
    assert found["recorded less billed"] == -50


def test_a_peer_that_is_not_there_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is claimed about a peer that could not be run: its column is empty and the reason stands below."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    absent = provide(Peer("Nobody's", "nobody", "nobody", "nobody==1"), install=False)

    assert isinstance(absent, Absent)
    lines = table({"Nobody's": {"absent": absent.why}})
    assert lines[2].endswith("| - |")
    assert lines[-1] == "- Nobody's: it is not installed"


def side(program: str) -> Peer:
    (found,) = (peer for peer in PEERS if peer.program == program)
    return found


def go(program: str) -> dict[str, Any]:
    """Let a side that needs no installation go through everything, in its smallest size."""
    peer = side(program)
    present = provide(peer)
    assert not isinstance(present, Absent)

    async def scenes() -> dict[str, Any]:
        return {
            "storm": await trial.storm(peer, present, 1),
            "loop": await trial.loop(peer, present, 4),
            "work": await trial.work(peer, present, 6),
        }

    return anyio.run(scenes)


@pytest.mark.killing
def test_organism_keeps_its_promise_beside_the_others() -> None:
    """Nothing overspent, nothing recorded too low, nothing forgotten or lost by kill -9: through the real daemon."""
    found = go("organism_gateway")

    assert holds(found), found
    assert found["loop"]["warned after turn"] is not None


@pytest.mark.killing
def test_a_counter_that_is_added_to_afterwards_does_not() -> None:
    """The comparison can fail: what checks first and charges later overspends, and forgets everything when killed."""
    found = go("check_then_charge")

    assert not holds(found)
    assert found["storm"]["overspent"] > 0
    assert found["work"]["forgotten"] > 0
