"""The check of the checks: entries that are right, edits that are loud when they are not, removals that are noticed."""

import math
from pathlib import Path

import pytest

from tests.mutate.changes import changes_of
from tests.mutate.check import check, judge, nothing_ran
from tests.mutate.entries import GUARDS
from tests.mutate.guard import Edit, Guard, MovedError, missing_tests
from tests.mutate.trial import Outcome, Trial

SOURCE = """
class Gate:
    def enter(self, token):
        if token is None:
            raise ValueError("no")
        return token

    def leave(self, token):
        if token is None:
            raise ValueError("no")
"""
EDIT = Edit("organism/gate.py", "Gate.enter", "if token is None:", "if False:")


def test_guards_have_names_and_promises_of_their_own() -> None:
    """There are enough of them, and each is called and described once."""
    assert len(GUARDS) >= 60
    assert len({guard.name for guard in GUARDS}) == len({guard.promise for guard in GUARDS}) == len(GUARDS)
    assert all(guard.promise.endswith(".") and guard.tests for guard in GUARDS)


def test_an_edit_takes_out_the_guard_of_its_own_function() -> None:
    """The same words in another function stay."""
    edited = EDIT.apply(SOURCE)

    assert edited.count("if False:") == edited.count("if token is None:") == 1
    assert edited.index("if False:") < edited.index("if token is None:")


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Edit("f", "Gate.enter", "if token == None:", "if False:"), "0 times"),
        (Edit("f", "Gate", "if token is None:", "if False:"), "2 times"),
        (Edit("f", "Gate.enters", "if token is None:", "if False:"), "0 of that name"),
        (Edit("f", "Door.enter", "if token is None:", "if False:"), "0 of that name"),
        (Edit("f", "Gate.enter", "if token is None:", "if False"), "no Python"),
        (Edit("f", "Gate.enter", "if token is None:", "if token is None:  # still"), "changes nothing"),
    ],
)
def test_a_guard_that_has_moved_is_said_aloud(edit: Edit, why: str) -> None:
    """An entry that does not fit the program any more never passes in silence."""
    with pytest.raises(MovedError, match=f"the guard moved: update the entry.*{why}"):
        edit.apply(SOURCE)


def test_a_test_that_is_gone_is_said_aloud() -> None:
    """A renamed test watches nothing any more."""
    here = "tests/mutate/test_guards.py::"
    guard = Guard("g", "p", (), (f"{here}SOURCE", f"{here}test_that_never_was", "tests/mutate/test_nothing.py::test_x"))

    assert missing_tests(guard) == list(guard.tests[1:])


def trial(*outcomes: Outcome, hung: bool = False, broken: tuple[str, ...] = ()) -> Trial:
    return Trial({f"tests/t.py::test_it[{n}]": each for n, each in enumerate(outcomes)}, broken, hung, 1.0, "")


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (trial(Outcome("passed"), Outcome("failed", errors=("AssertionError",))), "caught"),
        (trial(Outcome("passed"), Outcome("passed")), "not caught"),
        (trial(Outcome("skipped")), "not caught"),
        (trial(Outcome("failed", errors=("ModuleNotFoundError", "ImportError"))), "broken"),
        (trial(Outcome("failed", errors=("NameError",))), "broken"),
        (trial(Outcome("error", errors=("AssertionError",))), "broken"),
        (trial(broken=("tests/t.py: SyntaxError",)), "broken"),
        (trial(), "broken"),
        (trial(hung=True), "hung"),
    ],
)
def test_only_a_broken_promise_is_noticed(found: Trial, verdict: str) -> None:
    """A program that cannot be imported, or does not end, breaks every test and proves nothing of any."""
    assert judge(Guard("g", "p", (), ("tests/t.py::test_it",)), found).verdict == verdict


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Trial({}, (), False, 1.0, "No module named pytest"), "pytest ran no test: No module named pytest"),
        (trial(broken=("tests/conftest.py: ImportError",)), "could not be read: tests/conftest.py: ImportError"),
        (trial(Outcome("passed")), ""),
    ],
)
def test_a_run_that_tried_nothing_says_why(found: Trial, why: str) -> None:
    """Where pytest cannot run in a copy no guard is at fault, and the reason is said, not "no such test" for each."""
    said = nothing_ran(found)

    assert why in said
    assert bool(said) == bool(why)


def test_what_there_is_no_time_for_is_neither_caught_nor_a_failure() -> None:
    """A check that is cut short says which guards it has not tried."""
    guard = next(each for each in GUARDS if each.name == "same-hold-twice")

    (verdict,) = check([guard], 1, 120, lambda _verdict: None, until_s=-math.inf)

    assert (verdict.verdict, verdict.fails) == ("not tried", False)


def test_changes_of_operators_leave_a_program() -> None:
    """Each change is one operator, constant, result or step, and never a docstring or a type."""
    source = (
        'def f(a: int = 1, *, b: "x < 2" = None) -> int:\n    """Is it a < 1?"""\n'
        "    a += 2\n    g(a)\n    return a * 3 if a < 4 and not b else a - 5\n"
    )
    changes = changes_of("organism/f.py", source)

    assert {change.text for change in changes} >= {
        "a < 4 -> (a <= 4)",
        "a * 3 -> (a // 3)",
        "a - 5 -> (a + 5)",
        "a < 4 and (not b) -> (a < 4 or not b)",
        "not b -> (b)",
        "g(a) -> pass",
        "a += 2 -> pass",
        "4 -> (5)",
    }
    assert not any("x < 2" in change.text or "Is it" in change.text for change in changes)
    for change in changes:
        compile(change.source, "f", "exec")


@pytest.mark.thorough
def test_a_removed_guard_is_noticed_in_a_copy() -> None:
    """From the entry to the verdict: without the guard its test fails, with it it passes, and nothing here changes."""
    (guard,) = (each for each in GUARDS if each.name == "same-hold-twice")
    before = Path(guard.files[0]).read_bytes()

    (verdict,) = check([guard], 1, 120, lambda _verdict: None)

    assert (verdict.verdict, verdict.fails) == ("caught", False), verdict.why
    assert Path(guard.files[0]).read_bytes() == before
