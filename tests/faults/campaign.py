"""Runs faults, each in a process of its own, and compares what its tests have measured with its pass lines."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.faults.fault import Fault
from tests.mutate.guard import ROOT
from tests.mutate.trial import Trial, run_tests

TIME_IS_UP = "the time was up"


@dataclass(frozen=True)
class Result:
    """How a fault went.

    Attributes:
        fault: Its name.
        verdict: ``passed``, ``failed``, ``not run`` where what it needs is not there, or ``not applicable``.
        cases: How many tests ran.
        seconds: How long they took.
        figures: What they measured.
        why: What is wrong, or why it was not run.
    """

    fault: str
    verdict: str
    cases: int = 0
    seconds: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    why: str = ""

    @property
    def fails(self) -> bool:
        """Whether it has not been shown that the program bears the fault."""
        return self.verdict in ("failed", "not run")


def run_faults(
    faults: Iterable[Fault], limit_s: float, say: Callable[[Result], object], until_s: float = math.inf
) -> list[Result]:
    """Run faults one after another.

    Args:
        faults: Which.
        limit_s: Seconds for the tests of one.
        say: Called with each result as it comes.
        until_s: When to begin no further one, on the monotonic clock.
    """
    results = []
    for fault in faults:
        if fault.why_not:
            result = Result(fault.name, "not applicable", why=fault.why_not)
        elif time.monotonic() > until_s:
            result = Result(fault.name, "not run", why=TIME_IS_UP)
        else:
            result = judge(fault, run_tests(ROOT, fault.tests, limit_s, *fault.options))
        results.append(result)
        say(result)
    return results


def judge(fault: Fault, trial: Trial) -> Result:
    """Return what a run says of a fault."""
    cases = sum(case.outcome != "skipped" for case in trial.tests.values())
    figures: dict[str, float] = {}
    verdict, why = "passed", ""
    for name, line in fault.figures.items():
        measured = [float(case.figures[name]) for case in trial.tests.values() if name in case.figures]
        if not measured:
            verdict, why = "failed", f"no test has said {name!r}"
            continue
        figures[name] = line.worst(measured)
        if not line.holds(figures[name]):
            verdict, why = "failed", f"{name} is {figures[name]:g}, and must be {line}"
    skipped = [case for case in trial.tests.values() if case.outcome == "skipped"]
    absent = [test for test in fault.tests if not any(case.outcome != "skipped" for case in trial.of(test))]
    bad = [(name, case) for name, case in trial.tests.items() if case.outcome in ("failed", "error")]
    if bad:
        verdict, why = "failed", f"{bad[0][0]}: {bad[0][1].why}"
    elif trial.hung:
        verdict, why = "failed", "its tests did not end in time"
    elif trial.broken:
        verdict, why = "failed", trial.broken[0]
    elif absent:
        verdict, why = "not run", f"{absent[0]}: {skipped[0].why if skipped else trial.output[-300:]}"
    return Result(fault.name, verdict, cases, trial.seconds, figures, why)
