"""The score: changes that are put into what is alive, told apart, and counted with what is not known of the rest."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.mutate.changes import changes_of
from tests.mutate.memory import Memory, digest_of_code
from tests.mutate.score import RedError, Score, Stratum, Survivor, Task, check_green, estimate, score
from tests.mutate.transplant import NotAliveError, Transplant
from tests.mutate.warm import Baseline

SOURCE = """
from functools import cache

MOST = 10
TABLE = {"a": 1}
NAMES = tuple(name.partition(":")[0] for name in TABLE)

class Gate:
    wide: int = 3

    @property
    def open(self):
        return self.wide < MOST

def twice(
    number,
):
    return number * 2

@cache
def thrice(number, times=3):
    return [number * each for each in range(times)]
"""


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transplant]:
    """A module that is imported, and by whose functions others have got hold of."""
    (tmp_path / "gate_to_change.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("gate_to_change")
    yield Transplant("gate_to_change", SOURCE)
    del sys.modules["gate_to_change"]


def test_a_change_reaches_whoever_has_the_function(put: Transplant) -> None:
    """Behind a property, a cache or another name: it is the same function, and does what the change says."""
    module = sys.modules["gate_to_change"]
    gate, twice = module.Gate(), module.twice

    put.put(SOURCE.replace("number * 2", "number // 2").replace("self.wide < MOST", "self.wide >= MOST"))

    assert twice(8) == 4
    assert not gate.open
    assert module.thrice(1) == [0, 1, 2]


def test_a_constant_is_changed_where_it_is_looked_up(put: Transplant) -> None:
    """A bound or a table of a module is data, and is found by its name."""
    module = sys.modules["gate_to_change"]

    put.put(SOURCE.replace("MOST = 10", "MOST = 3"))

    assert not module.Gate().open


@pytest.mark.parametrize("change", [("wide: int = 3", "wide: int = 4"), ("times=3", "times=4"), ("[0] for", "[2] for")])
def test_what_only_an_import_decides_is_not_tried_in_a_warm_process(put: Transplant, change: tuple[str, str]) -> None:
    """A class or a default is made when its module is imported; a change of it takes a new process."""
    with pytest.raises(NotAliveError, match=r"the body of a class|what an import makes"):
        put.put(SOURCE.replace(*change))
    assert not put.is_within_functions(SOURCE.replace(*change))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "pytest ran no test"),
        (msgspec.json.encode(Baseline([], [], {})), "pytest ran no test"),
        (msgspec.json.encode(Baseline([1.0], ["tests/t.py::test_it"], {})), "tests/t.py::test_it"),
    ],
)
def test_a_score_is_not_counted_on_red_tests(line: bytes, why: str) -> None:
    """Tests that fail anyway would seem to notice every change: the score is refused instead."""
    with pytest.raises(RedError, match=why):
        check_green("budget", line)

    check_green("budget", msgspec.json.encode(Baseline([1.0], [], {})))


def test_what_was_not_tried_is_not_claimed() -> None:
    """The share of all is told with its interval; where all were tried it is what was found."""
    all_of_it = estimate([Stratum(100, 100, 90, 10)])
    assert [round(each, 6) for each in all_of_it] == [90, 90, 90]
    assert estimate([]) == estimate([Stratum(100, 0, 0, 0)]) == (0, 0, 100)
    share, low, high = estimate([Stratum(10**9, 100, 90, 10)])
    assert (round(share, 1), round(low, 1), round(high, 1)) == (90.0, 82.6, 94.5)  # as Wilson has it
    assert low < estimate([Stratum(200, 100, 90, 10)])[1] < 90 < estimate([Stratum(10**9, 1000, 900, 100)])[2] < high
    _, low, high = estimate([Stratum(10**9, 100, 100, 0)])
    assert low < 97
    assert round(high, 6) == 100


def test_a_room_that_was_tried_more_often_does_not_speak_for_the_others() -> None:
    """Of a small room everything was tried, of a large one little: each counts by what could be changed in it."""
    share, low, high = estimate([Stratum(100, 100, 100, 0), Stratum(900, 20, 10, 10)])
    assert round(share, 6) == 55
    assert low < 40
    assert high > 70


def test_figures_have_every_room() -> None:
    """What is written can be read: names and counts of each room, and the survivors."""
    found = Score(possible=2, rooms={"budget": Counter(possible=2)})

    assert msgspec.json.decode(msgspec.json.encode(found.figures)) == {
        "possible": 2,
        "tried": 0,
        "noticed": [0.0, 0.0, 100.0],
        "rooms": {"budget": {"possible": 2}},
        "survivors": [],
        "red": {},
        "late": {},
        "reused": 0,
    }


def test_a_score_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was tried of the same code and seed is known again, also after a kill in the middle of a line."""
    first, second, third = changes_of("gate.py", SOURCE)[:3]
    file = tmp_path / "build" / "score.jsonl"
    before = Memory(file, code="a", seed=1)
    before.note(first, "noticed")
    before.note(second, "survived")
    file.write_bytes(file.read_bytes()[:-5])

    again = Memory(file, code="a", seed=1)
    assert [again.verdict(each) for each in (first, second)] == ["noticed", None]
    assert "1 changes were tried before, of the same code and seed" in again.word
    again.note(third, "noticed")
    assert Memory(file, code="a", seed=1).verdict(third) == "noticed"


@pytest.mark.parametrize(("code", "seed"), [("b", 1), ("a", 2)])
def test_what_was_tried_of_other_code_or_another_seed_says_nothing(tmp_path: Path, code: str, seed: int) -> None:
    """It is thrown away, with a word; and so is what was finished, without one."""
    (change, *_) = changes_of("gate.py", SOURCE)
    file = tmp_path / "score.jsonl"
    Memory(file, code="a", seed=1).note(change, "noticed")

    other = Memory(file, code=code, seed=seed)
    assert other.verdict(change) is None
    assert "thrown away" in other.word
    other.forget()
    assert Memory(file, code=code, seed=seed).word == ""


def test_a_test_more_or_less_is_other_code(tmp_path: Path) -> None:
    """The verdict is one of a program and its tests; what is compiled of them is no part of it."""
    (tmp_path / "tests" / "__pycache__").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    before = digest_of_code(tmp_path)

    (tmp_path / "tests" / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert digest_of_code(tmp_path) == before
    (tmp_path / "tests" / "test_x.py").write_bytes(b"1")
    assert digest_of_code(tmp_path) != before


def test_a_survivor_is_known_whatever_line_it_stands_on_later() -> None:
    """What has survived can be tried again after the file has grown."""
    change = changes_of("gate.py", SOURCE)[0]
    (later,) = [each for each in changes_of("gate.py", f"\n\n{SOURCE}") if each.text == change.text]

    assert Survivor("budget", change.place, change.text).key == later.key


@pytest.mark.thorough
def test_a_sample_is_tried_against_the_tests_that_execute_it() -> None:
    """From the source to the count, in a process of its own, and nothing of this checkout changes."""
    before = Path("organism/pricing/rates.py").read_bytes()

    found = score(Task(["pricing"], 2, 3, 120), lambda _told: None)

    assert found.tried == 2
    assert sum(found.rooms["pricing"][name] for name in ("noticed", "survived", "equivalent")) == 2
    assert Path("organism/pricing/rates.py").read_bytes() == before
