"""The campaign itself: every fault is there, and what it says of a run is what the run has shown."""

import pytest

from tests.faults.campaign import TIME_IS_UP, judge, run_faults
from tests.faults.entries import FAULTS
from tests.faults.fault import NONE, AtLeast, Fault
from tests.mutate.guard import ROOT, Guard, missing_tests
from tests.mutate.trial import Outcome, Trial

FAULT = Fault("F0", "a fault", "by hand", ("tests/t.py",), {"lost": NONE, "kills": AtLeast(5)})


def test_every_fault_of_the_plan_is_tried_or_says_why_not() -> None:
    """F1 to F51 are there, each with tests that exist, or with a reason."""
    assert [fault.name for fault in FAULTS] == [f"F{number}" for number in range(1, 52)]
    for fault in FAULTS:
        assert bool(fault.tests) != bool(fault.why_not), fault.name
        whole = Guard(fault.name, "", (), tuple(test for test in fault.tests if "::" in test))
        assert missing_tests(whole) == []
        assert [test for test in fault.tests if not (ROOT / test.partition("::")[0]).exists()] == []


def ran(*cases: Outcome, hung: bool = False) -> Trial:
    return Trial({f"tests/t.py::test_{n}": each for n, each in enumerate(cases)}, (), hung, 1.0, "")


@pytest.mark.parametrize(
    ("trial", "verdict", "why"),
    [
        (ran(Outcome("passed", figures={"lost": 0, "kills": 9}), Outcome("passed")), "passed", ""),
        (ran(Outcome("passed", figures={"lost": 0, "kills": 4})), "failed", "kills is 4, and must be >= 5"),
        (ran(Outcome("passed", figures={"lost": 1, "kills": 9})), "failed", "lost is 1"),
        (ran(Outcome("passed", figures={"kills": 9})), "failed", "no test has said 'lost'"),
        (ran(Outcome("failed", why="AssertionError: no", figures={"lost": 0, "kills": 9})), "failed", "AssertionError"),
        (ran(Outcome("passed", figures={"lost": 0, "kills": 9}), hung=True), "failed", "did not end"),
        (ran(Outcome("skipped", why="no PostgreSQL")), "not run", "no PostgreSQL"),
    ],
)  # fmt: skip
def test_a_result_is_what_was_shown(trial: Trial, verdict: str, why: str) -> None:
    """A figure beyond its line, a figure that is missing and a test that was not run are no success."""
    result = judge(FAULT, trial)

    assert result.verdict == verdict
    assert why in result.why
    assert result.fails is (verdict != "passed")


def test_faults_that_there_is_no_time_for_are_not_said_to_be_borne() -> None:
    """A campaign that is cut short says what it has not tried, and does not pass for it."""
    (result,) = run_faults([FAULT], 1, lambda _result: None, until_s=-1)

    assert (result.verdict, result.why, result.fails) == ("not run", TIME_IS_UP, True)
