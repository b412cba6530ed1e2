"""Takes each guard out and looks whether its tests notice."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.mutate.guard import ROOT, Guard, MovedError, missing_tests
from tests.mutate.trial import Outcome, Trial, copies, edited, run_tests

_NOTICED_NOTHING = {"ImportError", "SyntaxError", "NameError"}
"""A test that fails with one of these has met an edit that leaves no program, and not a broken promise."""


@dataclass(frozen=True)
class Verdict:
    """What became of one guard's removal.

    Attributes:
        guard: Its name.
        verdict: ``caught``; ``not tried`` where the time was up; or ``not caught``, ``broken``, ``hung``, ``moved``,
            ``red before``, each of which fails.
        why: The error by which it was caught, or what is wrong.
        seconds: How long its tests took without it.
    """

    guard: str
    verdict: str
    why: str
    seconds: float = 0.0

    @property
    def fails(self) -> bool:
        """Whether something is to be done."""
        return self.verdict not in ("caught", "not tried")


def check(
    guards: Sequence[Guard],
    jobs: int,
    limit_s: float,
    say: Callable[[Verdict], object],
    until_s: float = math.inf,
) -> list[Verdict]:
    """Take each guard out of a copy, run its tests there, and say what they noticed.

    Args:
        guards: Which.
        jobs: How many at a time.
        limit_s: Seconds for the tests of one guard.
        say: Called with each verdict as it comes.
        until_s: When to try no further one, on the monotonic clock.
    """
    moved = {each.name: why for each in guards if (why := outdated(each))}
    there = [each for each in guards if each.name not in moved]
    with copies(max(1, min(jobs, len(there)))) as places, ThreadPoolExecutor(len(places)) as pool:
        tests = sorted({test for each in there for test in each.tests})
        no_time = not there or time.monotonic() > until_s
        before = None if no_time else run_tests(places[0], tests, 2 * limit_s + 20 * len(there))
        free: SimpleQueue[Path] = SimpleQueue()
        for place in places:
            free.put(place)

        def one(each: Guard) -> Verdict:
            if each.name in moved:
                found = Verdict(each.name, "moved", moved[each.name])
            elif before is None or time.monotonic() > until_s:
                found = Verdict(each.name, "not tried", "the time was up")
            elif red := _red(each, before):
                found = Verdict(each.name, "red before", red)
            else:
                place = free.get()
                try:
                    with edited(place, each.edited(place)):
                        options = ("-x",) if len(each.tests) == 1 else ()
                        found = judge(each, run_tests(place, each.tests, limit_s, *options))
                finally:
                    free.put(place)
            say(found)
            return found

        return list(pool.map(one, guards))


def judge(guard: Guard, trial: Trial) -> Verdict:
    """Return what a run without the guard says of it: each of its tests must have failed, for what it promises."""
    if trial.hung:
        return Verdict(guard.name, "hung", "its tests did not end in time", trial.seconds)
    if trial.broken:
        return Verdict(guard.name, "broken", trial.broken[0], trial.seconds)
    reasons = []
    for test in guard.tests:
        cases = trial.of(test)
        if not cases:
            return Verdict(guard.name, "broken", f"{test} did not run: {trial.output[-300:]}", trial.seconds)
        caught = [case for case in cases if _noticed(case)]
        if not caught:
            bad = [case for case in cases if case.outcome in ("failed", "error")]
            if bad:
                return Verdict(guard.name, "broken", f"{test}: {bad[0].why}", trial.seconds)
            return Verdict(guard.name, "not caught", f"{test} passes without it", trial.seconds)
        reasons.append(caught[0].why)
    return Verdict(guard.name, "caught", reasons[0], trial.seconds)


def _noticed(case: Outcome) -> bool:
    return case.outcome == "failed" and not _NOTICED_NOTHING & set(case.errors)


def _red(guard: Guard, before: Trial) -> str:
    """Return why the tests of a guard say nothing: they do not pass with it either."""
    if before.hung:
        return "the tests did not end in time with all guards in place"
    if why := nothing_ran(before):
        return why
    for test in guard.tests:
        cases = before.of(test)
        bad = [case for case in cases if case.outcome in ("failed", "error")]
        if bad:
            return f"{test}: {bad[0].why}"
        if not any(case.outcome == "passed" for case in cases):
            return f"{test}: {cases[0].why if cases else 'there is no such test'}"
    return ""


def nothing_ran(trial: Trial) -> str:
    """Return why a run has tried nothing, though its tests are there: then no guard is at fault, but the run itself."""
    if trial.broken:
        return f"a module of tests could not be read: {trial.broken[0]}"
    return "" if trial.tests else f"pytest ran no test: {' '.join(trial.output.split())[-300:]}"


def outdated(guard: Guard) -> str:
    """Return what an entry says that is not so any more; empty if it is right."""
    try:
        guard.edited(ROOT)
    except MovedError as error:
        return str(error)
    if gone := missing_tests(guard):
        return f"there is no such test: {', '.join(gone)}"
    return ""
