"""Whole organisms of random shape, each run decided by a seed, and what is found when a guard is gone."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from os import environ

import anyio
import pytest

from organism import Context, Limits, Organism, Text, agent
from organism.budget import engine
from organism.budget.policy import everything
from organism.ledger.ledger import Ledger
from organism.testing.simulate import Opening, RandomShape, Subject, World, draw_scenario, play, search, shorten
from organism.testing.simulate.coverage import POSSIBLE, coverage_lines
from organism.testing.simulate.scenario import AIMS, Scenario, ScenarioStep

SEEDS = 40
"""Few, for every run of the tests; ``python -m organism.testing.simulate`` has as many as there is time for."""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="what a seed stands for differs between versions of Python")
def test_no_seed_breaks_an_invariant() -> None:
    """Whatever happens in whatever order, money, messages and threads are accounted for after every record."""
    command = [sys.executable, "-m", "organism.testing.simulate", "--seeds", str(SEEDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"{SEEDS} runs" in done.stdout
    assert "no failure" in done.stdout


def test_a_seed_is_one_run_to_the_last_record() -> None:
    """A failure can be replayed: the same seed writes the same records, another one writes others."""
    one, again, other = (play(draw_scenario(seed, 12), RandomShape) for seed in (3, 3, 4))

    assert one.records > 20
    assert (one.trace, one.records, one.seen) == (again.trace, again.records, again.seen)
    assert one.trace != other.trace


_TRACES = """
from organism.testing.simulate import RandomShape, draw_scenario, play
print([play(draw_scenario(seed, 12), RandomShape).trace for seed in (12, 24, 27, 38)])
"""


def test_a_seed_is_one_run_in_every_process() -> None:
    """A failure is replayed elsewhere: neither the hashes of text nor the addresses of objects decide an order."""
    traces = {
        subprocess.run(
            [sys.executable, "-c", f"{'a = [bytearray(99) for _ in range(9)];' * int(seed)}{_TRACES}"],
            env=environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(traces) == 1


def test_processes_find_together_what_one_finds_alone() -> None:
    """More processes make the search shorter, and nothing else: all is counted, and the first failure is the same."""
    alone, together = search(RandomShape, range(25)), search(RandomShape, range(25), processes=2)

    assert (alone.runs, alone.records, alone.seen) == (together.runs, together.records, together.seen)


def _admit_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "decide", lambda _headrooms, ask: everything(ask))


def _forget_settlements(patch: pytest.MonkeyPatch) -> None:
    release = Ledger.release

    def settle(self: Ledger, hold_id: str, *_rest: object) -> None:
        release(self, hold_id, self.last_time_ns if hasattr(self, "last_time_ns") else 0)

    patch.setattr(Ledger, "settle", settle)


@pytest.mark.parametrize("plant", [_admit_everything, _forget_settlements])
def test_a_planted_defect_is_found_and_told_shortly(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the check before a call, or without what a call has cost, a few seeds are enough to tell."""
    plant(monkeypatch)

    found = search(RandomShape, range(30))

    assert found.failure is not None
    assert found.failure.failures
    assert len(found.failure.story.operations) < 12
    assert f"seed {found.failure.story.seed}:" in str(found)


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Ask the model once."""
    return Text((await ctx.llm.complete(f"{ctx.thread_id} {message.text}", max_output_tokens=20)).text)


class OneWriter(Subject):
    """An organism of a user's own."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world)
        self.provider = world.provider(answer=lambda _request: "fine")
        self.limits = Limits(tokens=60 + seed)

    def organism(self) -> Organism:
        """Make it on the world's journal."""
        world = self.world
        return Organism(
            [writer],
            models={"main": "simulated/m"},
            providers={"simulated": self.provider},
            provider_kinds={"simulated": "local"},
            limits=self.limits,
            journal=world.journal,
            clock=world.clock,
            ids=world.ids,
            chance=world.chance,
        )

    def opening(self, number: int) -> Opening:
        """Send any text."""
        if number % 7 == 0:
            self.saw("a seventh task")
        return Opening(message=f"task {number}")


def test_an_organism_of_ones_own_is_simulated() -> None:
    """A user makes the organism and the messages, and finds what happened to them counted."""
    found = search(OneWriter, range(20))

    assert found.failure is None, found
    assert found.seen["outcome chat settled"] > 10
    assert found.seen["a seventh task"]


class Complaining(OneWriter):
    """Finds fault with every thread but the first."""

    def opening(self, number: int) -> Opening:
        """Say that it is wrong."""
        self.wrong("I do not like it")
        return super().opening(number)


def test_a_story_is_shortened_to_what_fails() -> None:
    """What is not needed for a failure is not in its story; a story that does not fail stays as it is."""
    story = draw_scenario(5, 12)

    assert len(shorten(story, Complaining).story.operations) == 1
    assert shorten(story, OneWriter).story == story


def story_of(seed: int, *steps: tuple[str, float]) -> Scenario:
    """Make a story of some operations, about whatever the seed decides."""
    numbers = ((seed * 7919 + place) * 104729 % (1 << 20) for place in range(len(steps)))
    return Scenario(seed, tuple(ScenarioStep(*step, number) for step, number in zip(steps, numbers, strict=True)))


@pytest.mark.parametrize("row", AIMS)
def test_what_is_seldom_is_aimed_at(row: str) -> None:
    """What chance alone hardly brings about happens in some of a few stories that are made for it, and is borne."""
    runs = (play(story_of(seed, *AIMS[row]), RandomShape) for seed in range(100))

    assert row in POSSIBLE
    assert any(run.seen[row] and not run.failures for run in runs)


def test_what_happened_seldom_or_never_is_said_and_what_cannot_has_its_reason() -> None:
    """No failure says something of what has happened, and of nothing else: a reader sees which is which."""
    lines = coverage_lines(Counter(often=9, once=1), ("often", "once", "not"), unreachable={"x": "no way"}, runs=1000)

    assert "2 of 3 that can happen; never: not" in lines[2]
    assert lines[3].endswith("times in 1,000 runs: once")
    assert lines[4].split(maxsplit=1)[0] == "x"
    assert lines[4].endswith("no way")
    assert coverage_lines(Counter(once=1), ("once",), unreachable={}, runs=200)[2].endswith("none")


def test_an_order_that_comes_while_the_organism_stops_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who ends a thread in the moment in which the process ends is told something, and a run where not has failed."""
    story = story_of(1, ("open", 0.0), ("late", 0.0))
    assert not play(story, OneWriter).failures

    async def wait(*_: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(Organism, "terminate", wait)
    assert any("not answered: terminate" in failure for failure in play(story, OneWriter).failures)


def test_who_waits_for_the_question_of_a_message_that_has_no_agent_any_more_goes_on() -> None:
    """A person was asked by an agent that is missing after a restart: its asker finds that the question has failed."""
    story = Scenario(7000051, (ScenarioStep("open", 0.0, 345124), ScenarioStep("rename", 90.0, 951069)))

    assert not play(story, RandomShape).failures


def test_a_thread_that_an_order_opens_while_the_process_ends_runs_no_more() -> None:
    """Each run of its handler would be stopped and begun again, on and on, and the end would never come."""
    steps = (
        ScenarioStep("open", 0.01, 847043),
        ScenarioStep("decide", 0.3, 670556),
        ScenarioStep("lower", 0.0, 546055),
        ScenarioStep("lower", 0.3, 305569),
        ScenarioStep("decide", 90.0, 232245),
        ScenarioStep("open", 0.01, 763453),
        ScenarioStep("late", 0.3, 452646),
    )

    assert not play(Scenario(1122, steps), RandomShape).failures
