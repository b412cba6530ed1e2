"""How many changes of single operators do the tests notice, in the rooms that count money?

All changes that could be made, or a sample drawn with a seed: comparisons, arithmetic, ``and`` and ``or``, constants,
``return`` and calls whose result nobody takes. Each is tried in a fork of one process that has imported and collected
everything (:mod:`tests.mutate.warm`), against the tests that execute its lines; what only an import decides, in a new
process. A change after which the program does the same is no hole in the tests: those that somebody has looked at and
found to be so are listed, by their text, in :mod:`tests.mutate.equivalent`.
"""

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from tests.mutate.changes import Change, changes_of
from tests.mutate.equivalent import EQUIVALENT
from tests.mutate.guard import ROOT
from tests.mutate.memory import Memory
from tests.mutate.trial import copies, edited, run_tests
from tests.mutate.warm import JOB, Baseline, Job, Told

_MONEY = (
    "tests/runtime/test_budget_warnings.py",
    "tests/runtime/test_budget_warnings_ahead.py",
    "tests/runtime/test_pump.py",
)

ROOMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ledger": (
        ("organism/ledger",),
        (
            "tests/ledger",
            "tests/budget",
            "tests/router/router/test_final_reserve.py",
            *_MONEY,
            "tests/contracts/test_stores.py",
            "tests/cli/test_ledger.py",
        ),
    ),
    "budget": (
        ("organism/budget",),
        (
            "tests/budget",
            *_MONEY,
            "tests/runtime/test_message_loop_final_reserve.py",
            "tests/runtime/test_recovery.py",
            "tests/runtime/handlers/test_loop_breakers.py",
            "tests/runtime/handlers/test_run_expenses.py",
            "tests/runtime/waiting/test_parked_messages.py",
            "tests/control/orders",
            "tests/router/test_admission_window_ends.py",
            "tests/router/router/test_no_overspend.py",
            "tests/router/router/test_final_reserve.py",
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
            "tests/config/test_price_section_tools.py",
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
            "tests/router/test_orphaned_holds.py",
            "tests/router/router/test_what_is_held_and_charged.py",
            "tests/router/router/test_recorded_vs_billed.py",
            "tests/router/test_adapters.py",
            "tests/router/router/test_cancelled_streams.py",
            "tests/router/answers/test_streamed_answer_stopped.py",
            "tests/router/test_router.py",
            "tests/gateway/request_handler/test_openai_fields.py",
            "tests/runtime/test_budget_warnings.py",
        ),
    ),
}
"""By room, its modules and its tests."""

_COLD_SHARE = 0.2
"""Of the time of a room, how much is for changes that take a new process each."""


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

    @property
    def key(self) -> str:
        """What the change is known by, whatever line it stands on."""
        where, _, within = self.place.partition(" ")
        return f"{where.rpartition(':')[0]}::{within}: {self.change}"


@dataclass
class Score:
    """What came of it.

    Attributes:
        possible: How many changes could be made.
        tried: How many were.
        rooms: By room, how many were possible, tried, noticed, equivalent, survived.
        survivors: Those that no test has noticed.
        red: Rooms of which nothing is known, for their tests do not pass without any change, with what went wrong.
        late: By room, how many of those that were drawn take a process each, and were not tried: the time was up.
        reused: How many of those that were tried an earlier run has tried, of the same code and seed.
    """

    possible: int = 0
    tried: int = 0
    rooms: dict[str, Counter[str]] = field(default_factory=dict)
    survivors: list[Survivor] = field(default_factory=list)
    red: dict[str, str] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    reused: int = 0

    def count(self, room: str, change: Change, verdict: str) -> None:
        """Count one change."""
        self.tried += 1
        self.rooms[room].update(("tried", verdict))
        if verdict == "survived":
            self.survivors.append(Survivor(room, change.place, change.text))

    @property
    def figures(self) -> dict[str, object]:
        """What is written for others to read."""
        rooms = {room: dict(counts) for room, counts in self.rooms.items()}
        survivors = [asdict(each) for each in self.survivors]
        told = {"possible": self.possible, "tried": self.tried, "noticed": [round(each, 1) for each in self.noticed]}
        known = {"red": self.red, "late": self.late, "reused": self.reused}
        return {**told, "rooms": rooms, "survivors": survivors, **known}

    @property
    def noticed(self) -> tuple[float, float, float]:
        """Per cent noticed of the changes that change what the program does, and the 95 % interval for all of them.

        Each room counts by the changes that could be made in it, however many there was time for.
        """
        return estimate([Stratum.of(counts) for counts in self.rooms.values()])


@dataclass(frozen=True)
class Stratum:
    """A sample of one room.

    Attributes:
        possible: How many changes could be made.
        tried: How many were.
        noticed: How many of these a test has noticed.
        survived: How many none has; the others of those that were tried change nothing.
    """

    possible: int
    tried: int
    noticed: int
    survived: int

    @classmethod
    def of(cls, counts: Counter[str]) -> "Stratum":
        """Return the sample that was counted."""
        return cls(counts["possible"], counts["tried"], counts["noticed"], counts["survived"])

    @property
    def matter(self) -> int:
        """How many changed what the program does."""
        return self.noticed + self.survived


def estimate(rooms: Sequence[Stratum]) -> tuple[float, float, float]:
    """Return a proportion in per cent, and its 95 % interval: Wilson's, of samples from finite wholes of several sizes.

    Rooms of which nothing was tried are left out; where everything was, nothing is left to guess.
    """
    known = [room for room in rooms if room.matter]
    if not known:
        return 0.0, 0.0, 100.0
    whole = sum(room.possible for room in known)
    found = sum(room.possible / whole * room.noticed / room.matter for room in known)
    doubt = sum((room.possible / whole) ** 2 * (1 - room.tried / room.possible) / room.matter for room in known)
    z2 = 1.96**2 * doubt  # of a plain sample of n: 1.96**2 / n
    spread = math.sqrt(z2 * (found * (1 - found) + z2 / 4))
    low, high = ((found + z2 / 2 + sign * spread) / (1 + z2) for sign in (-1, 1))
    return 100 * found, 100 * low, 100 * high


@dataclass(frozen=True)
class Task:
    """What is to be tried.

    Attributes:
        rooms: Where.
        sample: How many.
        seed: Where chance begins.
        limit_s: Seconds for the tests of one change; one that takes longer is noticed, for it does not end.
        minutes: When to begin no further one, beside what the tests take once without a change; each room has a part of
            it, by the number of its changes.
        only: Keys of changes; all of these in place of a sample.
    """

    rooms: Sequence[str]
    sample: int = 0
    seed: int = 1
    limit_s: float = 180
    minutes: float = math.inf
    only: Collection[str] = ()

    def drawn(self, pool: Sequence[tuple[str, Change]]) -> list[tuple[str, Change]]:
        """Return those that are to be tried of all that could be, in their order."""
        if self.only:
            return [(room, change) for room, change in pool if change.key in self.only]
        return random.Random(self.seed).sample(pool, min(self.sample, len(pool)))


def score(
    task: Task,
    say: Callable[[str], object],
    *,
    keep: Callable[[Score], object] = lambda _score: None,
    memory: Memory | None = None,
) -> Score:
    """Try changes.

    Args:
        task: Which, and for how long.
        say: Called with the words of each that is done.
        keep: Called with what is known, after each that is done.
        memory: What a run that was stopped has tried; it is told what this one tries.
    """
    pool = [(room, change) for room in task.rooms for change in _changes(room)]
    chosen, memory = task.drawn(pool), memory or Memory()
    result = Score(possible=len(pool), rooms={room: Counter() for room in task.rooms})
    for room, _ in pool:
        result.rooms[room]["possible"] += 1
    left = []
    for room, change in chosen:
        if (verdict := memory.verdict(change)) is None:
            left.append((room, change))
        else:
            result.count(room, change, verdict)
            result.reused += 1
    if memory.word:
        say(memory.word)
    with copies(1) as (copy,):
        for room in task.rooms:
            mine = [change for each, change in left if each == room]
            try:
                for change, verdict in _tried(copy, room, mine, task, len(left)) if mine else ():
                    if verdict == "late":
                        result.late[room] = result.late.get(room, 0) + 1
                        continue
                    result.count(room, change, verdict)
                    memory.note(change, verdict)
                    keep(result)
                    say(f"[{result.tried}/{len(chosen)}] {verdict:10} {change.place}: {change.text}")
            except RedError as error:  # the other rooms can be tried all the same
                result.red[room] = error.why
                say(str(error))
    if result.tried == len(chosen):
        memory.forget()  # the next run tries everything itself
    return result


def _changes(room: str) -> list[Change]:
    found: list[Change] = []
    for place in ROOMS[room][0]:
        path = ROOT / place
        for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found += changes_of(module.relative_to(ROOT).as_posix(), module.read_text(encoding="utf-8"))
    return found


def _tried(copy: Path, room: str, changes: Sequence[Change], task: Task, of: int) -> Iterator[tuple[Change, str]]:
    """Yield what came of changes of one room, for its part of the time; ``late`` where a process was too much."""
    cold, limit_s, within_s = [], task.limit_s, 60 * task.minutes * len(changes) / of
    yield from ((change, "equivalent") for change in changes if change.key in EQUIVALENT)
    left = [change for change in changes if change.key not in EQUIVALENT]
    for change, told in _warm(copy, room, left, limit_s, (1 - _COLD_SHARE) * within_s):
        if told.verdict == "cold":
            cold.append(change)
        else:
            yield change, told.verdict
    until_s = time.monotonic() + _COLD_SHARE * within_s
    for change in cold:
        late = time.monotonic() > until_s
        yield change, "late" if late else _cold(copy, change, ROOMS[room][1], limit_s)


def _warm(
    copy: Path, room: str, changes: Sequence[Change], limit_s: float, within_s: float
) -> Iterator[tuple[Change, Told]]:
    by_place = {(change.file, change.source): change for change in changes}
    numbered: dict[tuple[str, int], Change] = {}
    for file in sorted({change.file for change in changes}):
        for number, each in enumerate(changes_of(file, (copy / file).read_text(encoding="utf-8"))):
            if (mine := by_place.get((file, each.source))) is not None:
                numbered[file, number] = mine
    order = {id(change): place for place, change in enumerate(changes)}
    wanted = sorted(numbered, key=lambda key: order[id(numbered[key])])
    read, write = os.pipe()
    job = Job(changes=wanted, within_s=min(within_s, 1e9), limit_s=limit_s, told=write)
    process = _pytest(copy, ROOMS[room][1], job)
    os.close(write)
    try:
        with os.fdopen(read, "rb") as lines:
            check_green(room, next(lines, b""))
            for line in lines:
                told = msgspec.json.decode(line, type=Told)
                yield numbered[told.file, told.number], told
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pytest(copy: Path, tests: Sequence[str], job: Job) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONHASHSEED": "0",
        JOB: msgspec.json.encode(job).decode(),
    }
    plugins = ("-p", "tests.mutate.outcomes", "-p", "tests.mutate.warm", "-p", "no:cacheprovider")
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", *plugins, *tests],
        cwd=copy,
        env=environment,
        pass_fds=(job.told,),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def check_green(room: str, line: bytes) -> None:
    """Refuse to try anything where the tests fail, or do not run, without a change: each would seem to be noticed."""
    if not line:
        raise RedError(room, "pytest ran no test")
    baseline = msgspec.json.decode(line, type=Baseline)
    if baseline.failed:
        raise RedError(room, ", ".join(baseline.failed[:3]))
    if not baseline.seconds:
        raise RedError(room, "pytest ran no test")


def _cold(copy: Path, change: Change, tests: Sequence[str], limit_s: float) -> str:
    # All of the room's: who only reads a constant executes nothing of its module.
    with edited(copy, {change.file: change.source}):
        trial = run_tests(copy, tests, limit_s, "-x")
    failed = any(each.outcome in ("failed", "error") for each in trial.tests.values())
    # Tests that cannot be read any more were read before: the change is why.
    return "noticed" if failed or trial.hung or trial.broken or not trial.tests else "survived"
