"""The parts of the proof: which command shows what, in how much time, and where it writes what it found."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.mutate.guard import ROOT
from tests.mutate.trial import run_tests

SOAK = "soak"
TEST_OF_SOAK = "tests/soak/test_soak.py"


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Of the part and of its file.
        module: What is run, as ``python -m``.
        full: Its options in a full proof.
        quick: Its options in a quick one.
        title: What it shows.
    """

    name: str
    module: str
    title: str
    full: tuple[str, ...]
    quick: tuple[str, ...]


def _cores() -> str:
    return str(os.cpu_count() or 1)


PARTS = (
    Part(
        "simulator",
        "organism.testing.simulate",
        "Whole organisms of random shape, on a virtual clock, checked after every record",
        ("--minutes", "10", "--processes", _cores()),
        ("--seeds", "100", "--processes", _cores()),
    ),
    Part(
        "faults",
        "tests.faults",
        "What the world may do: kills, power cuts, full disks, providers that lie, floods",
        ("--minutes", "60"),
        ("--only", "F8", "F9", "F10", "F12", "F18", "F20", "F22", "F39", "F46"),
    ),
    Part(
        "mutation",
        "tests.mutate",
        "Guards taken out of the program, one at a time: a named test must notice",
        ("--minutes", "45"),
        ("--sample", "8"),
    ),
    Part(
        "score",
        "tests.mutate",
        "Single operators of what counts money, changed at random",
        ("--score", "100"),
        ("--score", "4", "--rooms", "pricing"),
    ),
    Part(
        "fuzzing",
        "tests.fuzz",
        "Made-up input for everything that strangers write",
        ("--minutes", "15"),
        ("--minutes", "0.5"),
    ),
    Part("trust", "bench.trust", "Budgets side by side with the peers", (), ("--quick",)),
    Part(SOAK, "pytest", "A daemon under mistakes of every kind", ("1800",), ("60",)),
)
"""In the order in which they are run."""


@dataclass(frozen=True)
class Ran:
    """A part that was run.

    Attributes:
        part: Its name.
        commit: Of what; with a ``+`` where files differed from it.
        command: How it is done again.
        seconds: How long it took.
        code: 0 if everything held.
        found: What it wrote; ``None`` if nothing.
        date: When it began, in UTC.
    """

    part: str
    commit: str
    command: str
    seconds: float
    code: int
    date: str
    found: Any = field(default=None)


def run(parts: Iterable[Part], folder: Path, *, quick: bool, say: Callable[[str], object]) -> list[Ran]:
    """Run parts one after another; each leaves what it found in a file of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    ran = []
    for part in parts:
        say(f"{part.name}: {part.title}")
        one = _run(part, folder, part.quick if quick else part.full)
        (folder / f"{part.name}.json").write_text(json.dumps(asdict(one), indent=1), encoding="utf-8")
        say(f"{part.name}: {'held' if one.code == 0 else 'FAILED'} ({one.seconds:.0f} s)")
        ran.append(one)
    return ran


def read(folder: Path) -> list[Ran]:
    """Return what parts have left in a folder, in the order of the proof."""
    files = [folder / f"{part.name}.json" for part in PARTS]
    return [Ran(**json.loads(file.read_text(encoding="utf-8"))) for file in files if file.exists()]


def _run(part: Part, folder: Path, options: tuple[str, ...]) -> Ran:
    commit, date, began = _commit(), time.strftime("%Y-%m-%d %H:%M", time.gmtime()), time.monotonic()
    if part.name == SOAK:
        found: Any
        code, found = _soaked(float(options[0]))
        command = f"python -m pytest -q -s -m soak --soak-seconds {options[0]}"
    else:
        written = folder / f"{part.name}.figures.json"
        written.unlink(missing_ok=True)
        code = subprocess.run(
            [sys.executable, "-m", part.module, *options, "--json", str(written)], cwd=ROOT, check=False
        ).returncode
        found = json.loads(written.read_text(encoding="utf-8")) if written.exists() else None
        command = " ".join(("python", "-m", part.module, *options))
    return Ran(part.name, commit, command, time.monotonic() - began, code, date, found)


def _soaked(seconds: float) -> tuple[int, dict[str, Any]]:
    trial = run_tests(ROOT, (TEST_OF_SOAK,), 3 * seconds + 300, "--soak-seconds", str(seconds))
    cases = list(trial.tests.values())
    held = bool(cases) and all(each.outcome == "passed" for each in cases)
    return int(not held), dict(cases[0].figures) if cases else {}


def _commit() -> str:
    """Return the commit that is checked out, with a ``+`` if files differ from it."""

    def git(*what: str) -> str:
        return subprocess.run(["git", *what], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")
