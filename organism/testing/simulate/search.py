"""Many runs, one for each seed, until one fails."""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from organism.testing.simulate.coverage import coverage_lines
from organism.testing.simulate.scenario import draw_scenario
from organism.testing.simulate.scenario_run import MakeSubject, ScenarioResult, play, shorten

OPERATIONS = 12
"""Operations of a story at most, unless given."""


class Found(msgspec.Struct, kw_only=True):
    """What a search has found.

    Attributes:
        runs: Runs made.
        lives: Processes that they had in all.
        records: Records that were written and checked.
        seen: What happened how often.
        failure: The shortest story of the first seed that failed; ``None`` when none did.
    """

    runs: int = 0
    lives: int = 0
    records: int = 0
    seen: Counter[str] = msgspec.field(default_factory=Counter)
    failure: ScenarioResult | None = None

    def __str__(self) -> str:
        """Show what happened, and the failure if there is one."""
        counted = f"{self.runs:,} runs, {self.lives:,} processes, {self.records:,} records checked"
        lines = [counted, *coverage_lines(self.seen)]
        return "\n".join([*lines, "no failure" if self.failure is None else f"FAILED:\n{self.failure}"])


def search(
    make: MakeSubject,
    seeds: Iterable[int],
    *,
    operations: int = OPERATIONS,
    go_on: Callable[[], bool] = lambda: True,
) -> Found:
    """Run the story of each seed until one fails; that one is shortened.

    Args:
        make: Makes what is simulated.
        seeds: The seeds.
        operations: Operations of a story, at most.
        go_on: Asked before each run.
    """
    found = Found()
    for seed in seeds:
        if not go_on():
            break
        result = play(draw_scenario(seed, operations), make)
        found.runs += 1
        found.lives += result.lives
        found.records += result.records
        found.seen += result.seen
        if result.failures:
            found.failure = shorten(result.story, make)
            break
    return found
