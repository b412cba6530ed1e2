"""How many changes of single operators do the tests notice, in the rooms that count money?

A sample, drawn with a seed from all changes that could be made: comparisons, arithmetic, ``and`` and ``or``, constants,
``return`` and calls whose result nobody takes. Each is tried in a copy against the tests of its room, which stop at the
first failure. A change after which the program does the same is no hole in the tests: those that somebody has looked at
and found to be so are listed, by their text, in :mod:`tests.mutate.equivalent`.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from tests.mutate.changes import Change, changes_of
from tests.mutate.check import nothing_ran
from tests.mutate.equivalent import EQUIVALENT
from tests.mutate.guard import ROOT
from tests.mutate.trial import Trial, copies, edited, run_tests

_MONEY = ("tests/runtime/test_budget_warnings.py", "tests/runtime/test_warn_ahead.py", "tests/runtime/test_pump.py")

ROOMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ledger": (
        ("organism/ledger",),
        (
            "tests/ledger",
            "tests/budget",
            "tests/router/test_final_reserve.py",
            *_MONEY,
            "tests/contracts/test_stores.py",
        ),
    ),
    "budget": (
        ("organism/budget",),
        (
            "tests/budget",
            *_MONEY,
            "tests/runtime/test_final_reserve.py",
            "tests/runtime/test_recovery.py",
            "tests/runtime/handlers/test_loop_breakers.py",
            "tests/runtime/waiting/test_parked_messages.py",
            "tests/control/orders",
            "tests/router/test_window_ends.py",
            "tests/router/test_no_overspend.py",
            "tests/router/test_final_reserve.py",
            "tests/gateway/test_exhausted.py",
            "tests/config/test_limits_section.py",
            "tests/test_amounts.py",
        ),
    ),
    "pricing": (
        ("organism/pricing",),
        (
            "tests/pricing",
            "tests/config/test_price_section.py",
            "tests/config/test_tool_prices.py",
            "tests/router/test_router.py",
        ),
    ),
    "outcomes": (
        (
            "organism/router/answers/charge.py",
            "organism/router/answers/answer_checks.py",
            "organism/router/orphaned_holds.py",
        ),
        (
            "tests/router/answers",
            "tests/router/test_what_is_held_and_charged.py",
            "tests/router/test_recorded_vs_billed.py",
            "tests/router/test_adapters.py",
            "tests/router/test_cancelled_streams.py",
            "tests/router/test_stopped_streams.py",
            "tests/router/test_router.py",
            "tests/gateway/test_openai_fields.py",
            "tests/runtime/test_budget_warnings.py",
        ),
    ),
}
"""By room, its modules and its tests, the quickest first."""


class RedError(Exception):
    """The tests of a room do not pass as the program is, so they say nothing about changes of it.

    Attributes:
        room: Whose.
        why: What went wrong.
    """

    def __init__(self, room: str, why: str) -> None:
        super().__init__(f"the tests of {room!r} are not green without any change: {why}")
        self.room, self.why = room, why


@dataclass(frozen=True)
class Survivor:
    """A change that no test has noticed."""

    room: str
    place: str
    change: str


@dataclass
class Score:
    """What came of a sample.

    Attributes:
        possible: How many changes could be made.
        tried: How many were.
        rooms: By room, how many were tried, noticed, equivalent, survived.
        survivors: Those that no test has noticed.
    """

    possible: int = 0
    tried: int = 0
    rooms: dict[str, Counter[str]] = field(default_factory=dict)
    survivors: list[Survivor] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """Noticed changes, of those that change what the program does."""
        noticed = sum(counts["noticed"] for counts in self.rooms.values())
        survived = sum(counts["survived"] for counts in self.rooms.values())
        return 100 * noticed / max(1, noticed + survived)


def score(
    rooms: Sequence[str], sample: int, seed: int, jobs: int, limit_s: float, say: Callable[[int, str], object]
) -> Score:
    """Try a sample of changes.

    Args:
        rooms: Where.
        sample: How many.
        seed: Where chance begins.
        jobs: How many at a time.
        limit_s: Seconds for the tests of one change; one that takes longer is noticed, for it does not end.
        say: Called with the number and the words of each that is done.

    Raises:
        RedError: If the tests of a room do not pass without any change.
    """
    pool = [(room, change) for room in rooms for change in _changes(room)]
    chosen = random.Random(seed).sample(pool, min(sample, len(pool)))
    result = Score(possible=len(pool), tried=len(chosen), rooms={room: Counter() for room in rooms})
    with copies(max(1, min(jobs, len(chosen)))) as places, ThreadPoolExecutor(len(places)) as workers:
        free: SimpleQueue[Path] = SimpleQueue()
        for place in places:
            free.put(place)
        for room in sorted({room for room, _ in chosen}):
            check_green(room, run_tests(places[0], ROOMS[room][1], 10 * limit_s, "-x"))

        def one(of: tuple[str, Change]) -> str:
            place = free.get()
            try:
                return _try(place, *of, limit_s)
            finally:
                free.put(place)

        for number, ((room, change), verdict) in enumerate(zip(chosen, workers.map(one, chosen), strict=True), 1):
            result.rooms[room].update(("tried", verdict))
            if verdict == "survived":
                result.survivors.append(Survivor(room, change.place, change.text))
            say(number, f"{verdict:10} {change.place}: {change.text}")
    return result


def check_green(room: str, before: Trial) -> None:
    """Refuse to try anything where the tests fail, or do not run, without a change: each would seem to be noticed."""
    bad = [f"{name}: {each.why}" for name, each in before.tests.items() if each.outcome in ("failed", "error")]
    why = nothing_ran(before) or (bad[0] if bad else "") or ("its tests did not end in time" if before.hung else "")
    if why:
        raise RedError(room, why)


def _changes(room: str) -> list[Change]:
    found: list[Change] = []
    for place in ROOMS[room][0]:
        path = ROOT / place
        for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found += changes_of(module.relative_to(ROOT).as_posix(), module.read_text(encoding="utf-8"))
    return found


def _try(copy: Path, room: str, change: Change, limit_s: float) -> str:
    if change.key in EQUIVALENT:
        return "equivalent"
    with edited(copy, {change.file: change.source}):
        trial = run_tests(copy, ROOMS[room][1], limit_s, "-x")
    failed = any(each.outcome in ("failed", "error") for each in trial.tests.values())
    # Tests that cannot be read any more were read before: the change is why.
    return "noticed" if failed or trial.hung or trial.broken or not trial.tests else "survived"
