"""Many runs, one for each seed, until one fails."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context

import msgspec

from organism.testing.simulate.coverage import POSSIBLE, UNREACHABLE, coverage_lines
from organism.testing.simulate.scenario import Scenario, draw_scenario
from organism.testing.simulate.scenario_run import MakeSubject, Play, ScenarioResult, play, shorten

OPERATIONS = 12
"""Operations of a story at most, unless given."""

_SEEDS_AT_ONCE = 10
"""Seeds that a process is given at a time: half a second of work."""


class Way(msgspec.Struct, frozen=True):
    """How stories are drawn and run.

    Attributes:
        draw: Draws the story of a seed, of so many operations at most.
        play: Runs a story.
        possible: What can happen, beside what only happens.
        unreachable: What cannot, and why.
    """

    draw: Callable[[int, int], Scenario] = draw_scenario
    play: Play = play
    possible: tuple[str, ...] = POSSIBLE
    unreachable: Mapping[str, str] = msgspec.field(default_factory=lambda: UNREACHABLE)


ALONE = Way()
"""One process after the other, on one journal."""


class Found(msgspec.Struct, kw_only=True):
    """What a search has found.

    Attributes:
        runs: Runs made.
        lives: Processes that they had in all.
        records: Records that were written and checked.
        seen: What happened how often.
        failure: The shortest story of the first seed that failed; ``None`` when none did.
        way: How the stories were drawn and run, which says what could have happened.
    """

    runs: int = 0
    lives: int = 0
    records: int = 0
    seen: Counter[str] = msgspec.field(default_factory=Counter)
    failure: ScenarioResult | None = None
    way: Way = ALONE

    def add(self, other: "Found") -> None:
        """Take in what was found with the seeds that follow."""
        self.runs += other.runs
        self.lives += other.lives
        self.records += other.records
        self.seen += other.seen
        self.failure = self.failure or other.failure

    def __str__(self) -> str:
        """Show what happened, and the failure if there is one."""
        way = self.way
        counted = f"{self.runs:,} runs, {self.lives:,} processes, {self.records:,} records checked"
        lines = [counted, *coverage_lines(self.seen, way.possible, unreachable=way.unreachable, runs=self.runs)]
        return "\n".join([*lines, "no failure" if self.failure is None else f"FAILED:\n{self.failure}"])


def search(
    make: MakeSubject,
    seeds: Iterable[int],
    *,
    operations: int = OPERATIONS,
    go_on: Callable[[], bool] = lambda: True,
    processes: int = 1,
    way: Way = ALONE,
    keep: Callable[[Found], object] = lambda _found: None,
) -> Found:
    """Run the story of each seed until one fails; that one is shortened.

    Args:
        make: Makes what is simulated; where there are several processes, each must be able to import it.
        seeds: The seeds.
        operations: Operations of a story, at most.
        go_on: Asked before each run whether there is still time; with several processes before every few runs.
        processes: How many processes share the seeds.
        way: How stories are drawn and run.
        keep: Called with what was found so far, again and again.
    """
    found, left, size = Found(way=way), iter(seeds), 1 if processes == 1 else _SEEDS_AT_ONCE
    pieces = iter(lambda: tuple(islice(left, size)) if go_on() else (), ())
    run = partial(_run_seeds, make, operations=operations, way=way)
    for part in map(run, pieces) if processes == 1 else _shared(run, pieces, processes):
        found.add(part)
        keep(found)
        if found.failure is not None:
            found.failure = shorten(found.failure.story, make, play=way.play)
            break
    return found


def _run_seeds(make: MakeSubject, seeds: Iterable[int], *, operations: int, way: Way) -> Found:
    found = Found()
    for seed in seeds:
        result = way.play(way.draw(seed, operations), make)
        failure = result if result.failures else None
        found.add(Found(runs=1, lives=result.lives, records=result.records, seen=result.seen, failure=failure))
        if failure is not None:
            break
    return found


def _shared(
    run: Callable[[Iterable[int]], Found], pieces: Iterator[tuple[int, ...]], processes: int
) -> Iterator[Found]:
    """Yield what is found with each piece of the seeds, in their order, as one process alone would."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        under_way = deque(pool.submit(run, piece) for piece in islice(pieces, 2 * processes))
        try:
            while under_way:
                yield under_way.popleft().result()
                under_way.extend(pool.submit(run, piece) for piece in islice(pieces, 1))
        finally:
            pool.shutdown(cancel_futures=True)
