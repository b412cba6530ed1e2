"""The report says what the parts found, all of it, and nothing of the machine's folders."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.dependencies.audit import Audit
from tests.proof.parts import FORMS, PARTS, Part, Ran, commit_here, read, run, set_aside
from tests.proof.plots import bars, line
from tests.proof.report import can_be_shown, render

STORM = {
    "limit": 100,
    "overspent": 50,
    "room left": 0,
    "paid for nothing": 0,
    "billed twice": 0,
    "recorded less billed": -50,
    "notes": ["forgets"],
}
FOUND: dict[str, Any] = {
    "simulator": {
        "first_seed": 0,
        "runs": 1000,
        "lives": 1700,
        "records": 90000,
        "seen": {"outcome chat settled": 7, "outcome hold released": 1, "move open close": 5, "approval": 4},
        "possible": 2,
        "never": ["move open freeze"],
        "unreachable": {"outcome charge released": "it is charged as it is told"},
        "failure": None,
    },
    "clusters": {
        "first_seed": 0,
        "runs": 44,
        "lives": 170,
        "records": 9000,
        "seen": {"a stale owner refused": 3, "node kill": 2, "entry Reserved": 5},
        "possible": 14,
        "never": ["node undrain"],
        "failure": None,
    },
    "faults": [
        {"fault": "F8", "verdict": "passed", "cases": 3, "figures": {"attempts": 3.0}, "why": ""},
        {"fault": "F9", "verdict": "not run", "cases": 0, "figures": {}, "why": "the time was up"},
    ],
    "mutation": [
        {"guard": "hold-check", "verdict": "caught", "why": "AssertionError", "seconds": 1.0},
        {"guard": "fence", "verdict": "not caught", "why": "/home/me/x passes | without it", "seconds": 1.0},
    ],
    "score": {
        "possible": 2000,
        "tried": 4,
        "noticed": [75.04, 30.1, 95.4],
        "late": {"budget": 3},
        "reused": 2,
        "rooms": {"budget": {"tried": 4, "noticed": 3, "survived": 1}},
        "survivors": [{"room": "budget", "place": "organism/budget/x.py:1 f", "change": "a < b -> (a <= b)"}],
    },
    "fuzzing": {"seed": 1, "kinds": {"journals": {"inputs": 1234, "faults": 0, "slowest_s": 0.5}}},
    "dependencies": {
        "locked": 70,
        "answered": 69,
        "without": ["c 1.0"],
        "known": [{"package": "p", "version": "1.0", "id": "X-1", "fixed in": "1.1"}],
        "why": "",
    },
    "trust": {
        "other": {
            "version": "1.0",
            "storm": STORM,
            "loop": {
                "overspent": 0,
                "refused at turn": 7,
                "warned after turn": None,
                "recorded less billed": 0,
                "limit": 9,
            },
            "work": {"jobs paid before": 4, "forgotten": 5, "jobs paid twice": 1, "jobs lost": 0},
        }
    },
    "soak": {"seconds": 60, "memory_mb": [90, 95, 94]},
}


def ran(name: str, found: Any, code: int = 0) -> Ran:
    return Ran(name, "abc1234567", f"python -m {name}", 90.0, code, "2026-01-02 03:04", found)


def test_report_says_what_every_part_found() -> None:
    """Counts, seeds, coverage, what was not tried, what survived: nothing that a part found is left out."""
    text = render([ran(part.name, FOUND[part.name]) for part in PARTS], "a machine").text

    for said in (
        "1,000 organisms (seeds from 0)",
        "never: move open freeze",
        "| open | close | 5 |",
        "| open | freeze | 0 |",
        "| operation | released | settled |",
        "| chat | - | 7 |",
        "| approval | 4 |",
        "| outcome charge released | it is charged as it is told |",
        "44 clusters (seeds from 0)",
        "never: node undrain",
        "| a stale owner refused | 3 |",
        " faults: 1 passed, 1 not run",
        "Not tried in this form: F1, F2, F3",
        "attempts 3 (<= 3)",
        "not run: the time was up",
        " guards: 1 caught, 1 not caught",
        "75.0 % of those\nthat matter",
        "30.1 to 95.4 % (95 % interval",
        "Not in it: 3",
        "2 of them were tried by a run before",
        "70 packages for all extras are pinned by the hash of their file; 1 have none",
        "Asked about 69 of them: 1 weaknesses are known",
        "Not asked about 1: the package index",
        "| p | 1.0 | X-1 | 1.1 |",
        "`a < b -> (a <= b)`",
        "1,234",
        "| other 1.0 |",
        "- other: forgets.",
        "`abc1234567`",
    ):
        assert said in text, said
    assert "/home/me" not in text


def test_report_says_what_did_not_hold_and_what_was_not_run() -> None:
    """A part that failed, one that left no figures, and parts that were not run are said to be so."""
    text = render([ran("simulator", FOUND["simulator"], 1), ran("fuzzing", None)], "a machine").text

    assert "**did not hold**" in text
    assert "It has written no figures" in text
    assert "Not run this time: clusters, faults, mutation, score, dependencies, trust, soak." in text


def test_what_nobody_could_be_asked_about_has_not_failed_and_is_not_claimed() -> None:
    """Where the index answers nothing, the hashes were checked all the same; of weaknesses the page says nothing."""
    audit = Audit(locked=70)
    one = ran("dependencies", audit.figures, audit.code)

    text = render([one], "a machine").text
    assert not one.failed
    assert "pinned; the rest **not asked**, see below" in text
    assert "Not asked about 70" in text
    assert "weaknesses are known" not in text
    assert "did not hold" not in text
    assert ran("dependencies", None, 1).failed


@pytest.mark.parametrize(
    "left",
    [
        {"part": "score", "commit": "c", "command": "x", "seconds": 1.0, "code": 0, "date": "d", "found": {"tried": 4}},
        {"part": "score", "commit": "c"},
        {"part": "score", "of": "tomorrow"},
        [],
        None,
    ],
    ids=["older figures", "fewer fields", "other fields", "no part", "half a file"],
)
def test_what_another_version_has_left_is_set_aside_with_a_word(tmp_path: Path, left: object) -> None:
    """An old file neither ends the proof nor stands for a part that was not run."""
    file = tmp_path / "score.json"
    file.write_text("{" if left is None else json.dumps(left), encoding="utf-8")
    (tmp_path / "fuzzing.json").write_text(json.dumps(asdict(ran("fuzzing", FOUND["fuzzing"]))), encoding="utf-8")
    said: list[str] = []

    set_aside(tmp_path, can_be_shown, said.append)

    assert [each.part for each in read(tmp_path)] == ["fuzzing"]
    assert "cannot be read: it is score.unread now" in said[0]
    assert len(said) == 1


@pytest.mark.parametrize("code", [130, -15])
def test_a_part_that_was_stopped_shows_what_it_had(code: int) -> None:
    """Whether by Ctrl-C or by a signal: figures so far are on the page, which says that they are not all."""
    text = render([ran("mutation", FOUND["mutation"], code), ran("fuzzing", None, code)], "a machine").text

    assert text.count("| **stopped** |") == 2
    assert "It was stopped before its end; this is what it had so far." in text
    assert " guards: 1 caught, 1 not caught" in text


def test_a_stopped_proof_keeps_what_it_has_and_begins_no_further_part(tmp_path: Path) -> None:
    """Ctrl-C ends the whole run, not one part of it; the next run begins with the part that was stopped."""
    codes = {"simulator": 0, "faults": 130}
    parts = [part for part in PARTS if part.name != "clusters"]
    done: list[str] = []

    def carry_out(part: Part, _folder: Path, form: str) -> Ran:
        done.append(part.name)
        return Ran(part.name, "now", part.command(form), 1.0, codes.get(part.name, 0), "d")

    run(parts, tmp_path, "short", lambda _said: None, carry_out=carry_out, commit=lambda: "now")
    assert done == ["simulator", "faults"]
    codes["faults"] = 0
    run(parts, tmp_path, "short", lambda _said: None, carry_out=carry_out, commit=lambda: "now")
    assert done[2:4] == ["faults", "mutation"]


def test_pictures_are_whole_and_show_what_is_too_much() -> None:
    """Each picture is an image that browsers draw; a bar beyond its bound has a colour of its own."""
    page = render([ran(name, FOUND[name]) for name in ("trust", "soak")], "a machine")

    assert set(page.pictures) == {"overspent.svg", "memory.svg"}
    for picture in page.pictures.values():
        ET.fromstring(picture)  # noqa: S314 - our own
    assert 'class="over"' in bars("t", {"<a>": 3.0, "b": 0.0}, bad_above=0)
    assert line("t", [], "MB").endswith("</svg>\n")


def test_parts_that_were_run_apart_make_one_report(tmp_path: Path) -> None:
    """What parts leave in the folder is read again, in the order of the proof; what is not there is not made up."""
    for name in ("soak", "simulator"):
        one = {
            "part": name,
            "commit": "c",
            "command": "x",
            "seconds": 1.0,
            "code": 0,
            "date": "d",
            "found": FOUND[name],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(one), encoding="utf-8")

    assert [each.part for each in read(tmp_path)] == ["simulator", "soak"]


def test_a_proof_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """Only what is missing, failed, smaller than asked for or of another commit is run; what is kept stays."""
    done: list[str] = []

    def carry_out(part: Part, _folder: Path, form: str) -> Ran:
        done.append(part.name)
        return Ran(part.name, "now", part.command(form), 1.0, 0, "d")

    def left(name: str, commit: str, form: str, code: int = 0) -> None:
        part = next(each for each in PARTS if each.name == name)
        one = Ran(name, commit, part.command(form), 1.0, code, "d")
        (tmp_path / f"{name}.json").write_text(json.dumps(asdict(one)), encoding="utf-8")

    left("simulator", "now", "full")
    left("faults", "before", "short")
    left("mutation", "now", "quick")
    left("fuzzing", "now", "short", 1)
    left("soak", "before", "full")
    said: list[str] = []
    run(PARTS, tmp_path, "short", said.append, keep=("soak",), carry_out=carry_out, commit=lambda: "now")

    assert done == ["clusters", "faults", "mutation", "score", "fuzzing", "dependencies", "trust"]
    assert "[1/9] simulator: there already, of now, full" in said
    assert "[9/9] soak: there already, of before, full" in said
    assert [each.form for each in read(tmp_path)][2:5] == ["short"] * 3
    done.clear()
    run(PARTS, tmp_path, "short", said.append, carry_out=carry_out, commit=lambda: "now")
    assert done == ["soak"]


def test_what_was_run_of_changed_files_is_run_again() -> None:
    """A commit with files that differ from it says nothing of the files as they are now."""
    whole = Ran("fuzzing", "abc+", PARTS[5].command("full"), 1.0, 0, "d")

    assert not whole.stands("abc+", "quick")
    assert [Ran("fuzzing", "abc", PARTS[5].command("short"), 1.0, 0, "d").stands("abc", form) for form in FORMS] == [
        True,
        True,
        False,
    ]
    assert commit_here() != "unknown"


@pytest.mark.thorough
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_parts_are_given_options_that_their_commands_have(part: Any) -> None:
    """A proof of hours does not end because an option was renamed: each part's command takes what it is given."""
    if part.module == "pytest":
        return
    import subprocess
    import sys

    said = subprocess.run(
        [sys.executable, "-m", part.module, "--help"], capture_output=True, text=True, check=True
    ).stdout
    options = [option for option in (*part.full, *part.short, *part.quick, "--json") if option.startswith("--")]
    assert [option for option in options if option not in said] == []
