"""The parts of the proof: which command shows what, in how much time, and where it writes what it found."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.dependencies.audit import UNKNOWN
from tests.mutate.guard import ROOT
from tests.mutate.trial import STOPPED, run_tests

FORMS = ("quick", "short", "full")
"""From minutes to hours; a part that was run in a larger form need not be run in a smaller one."""

SOAK = "soak"
TEST_OF_SOAK = "tests/soak/test_soak.py"


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Of the part and of its file.
        module: What is run, as ``python -m``.
        title: What it shows.
        full: Its options in a full proof.
        short: Its options in a short one.
        quick: Its options in a quick one.
    """

    name: str
    module: str
    title: str
    full: tuple[str, ...]
    short: tuple[str, ...]
    quick: tuple[str, ...]

    def options(self, form: str) -> tuple[str, ...]:
        """Return its options in a form."""
        return {"full": self.full, "short": self.short, "quick": self.quick}[form]

    def command(self, form: str) -> str:
        """Return how it is run in a form."""
        if self.name == SOAK:
            return f"python -m pytest -q -s -m soak --soak-seconds {self.options(form)[0]}"
        return " ".join(("python", "-m", self.module, *self.options(form)))


def _cores() -> str:
    return str(os.cpu_count() or 1)


_SOME_FAULTS = ("F8", "F9", "F10", "F12", "F18", "F20", "F22", "F39", "F46")
"""Those that take seconds; the kills of the first alone may take ten minutes."""

PARTS = (
    Part(
        "simulator",
        "organism.testing.simulate",
        "Whole organisms of random shape, on a virtual clock, checked after every record",
        ("--minutes", "10", "--processes", _cores()),
        ("--minutes", "2", "--processes", _cores()),
        ("--seeds", "100", "--processes", _cores()),
    ),
    Part(
        "clusters",
        "organism.testing.simulate",
        "Clusters whose nodes come, go, stall and crash, in virtual time on a real database",
        ("--cluster", "--minutes", "10", "--operations", "20", "--processes", _cores()),
        ("--cluster", "--minutes", "2", "--operations", "20", "--processes", _cores()),
        ("--cluster", "--seeds", "20", "--operations", "20", "--processes", _cores()),
    ),
    Part(
        "faults",
        "tests.faults",
        "What the world may do: kills, power cuts, full disks, providers that lie, floods",
        ("--minutes", "60"),
        ("--only", *_SOME_FAULTS),
        ("--only", *_SOME_FAULTS),
    ),
    Part(
        "mutation",
        "tests.mutate",
        "Guards taken out of the program, one at a time: a named test must notice",
        ("--minutes", "45"),
        ("--sample", "40", "--minutes", "3"),
        ("--sample", "8"),
    ),
    Part(
        "score",
        "tests.mutate",
        "Single operators of what counts money, changed at random",
        ("--score", "5000", "--at-least", "70", "--minutes", "50"),
        ("--score", "5000", "--at-least", "70", "--minutes", "7"),
        ("--score", "60", "--at-least", "70", "--rooms", "pricing", "outcomes", "--minutes", "1.5"),
    ),
    Part(
        "fuzzing",
        "tests.fuzz",
        "Made-up input for everything that strangers write",
        ("--minutes", "15"),
        ("--minutes", "1"),
        ("--minutes", "0.5"),
    ),
    Part(
        "dependencies",
        "tests.dependencies",
        "What would be installed, by hash, and what is known against it",
        (),
        (),
        (),
    ),
    Part("trust", "bench.trust", "Budgets side by side with the peers", (), ("--quick",), ("--quick",)),
    Part(SOAK, "pytest", "A daemon under mistakes of every kind", ("1800",), ("180",), ("60",)),
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
        code: 0 if everything held; 130, or negative, if it was ended from outside.
        date: When it began, in UTC.
        found: What it wrote; ``None`` if nothing.
        machine: What its figures depend on.
        load: How many processes wanted a processor while it ended: its own and those of others.
    """

    part: str
    commit: str
    command: str
    seconds: float
    code: int
    date: str
    found: Any = None
    machine: str = ""
    load: float | None = None

    @property
    def stopped(self) -> bool:
        """Whether it was ended from outside before it had come to its end."""
        return self.code == STOPPED or self.code < 0

    @property
    def failed(self) -> bool:
        """Whether something did not hold; what nobody could be asked about has not failed, and the page says so."""
        return self.code not in (0, UNKNOWN)

    @property
    def form(self) -> str:
        """In which form it was run; ``other`` if its command is none of today's."""
        part = next((each for each in PARTS if each.name == self.part), None)
        return next(
            (form for form in reversed(FORMS) if part is not None and part.command(form) == self.command), "other"
        )

    def stands(self, commit: str, form: str) -> bool:
        """Whether it need not be run again: it held, of this very commit, in this form or a larger one."""
        is_same = self.code == 0 and self.commit == commit and not commit.endswith("+")
        return is_same and self.form in FORMS[FORMS.index(form) :]


def run(
    parts: Sequence[Part],
    folder: Path,
    form: str,
    say: Callable[[str], object],
    *,
    keep: Collection[str] = (),
    carry_out: Callable[[Part, Path, str], Ran] | None = None,
    commit: Callable[[], str] | None = None,
) -> None:
    """Run parts one after another; each leaves what it found in a file of the folder, from which a next run goes on.

    Ctrl-C ends it; what the part under way has found so far is kept, and that part is run again by the next run.

    Args:
        parts: Which, in their order.
        folder: Where their files are.
        form: How large: one of :data:`FORMS`.
        say: Called with what is done.
        keep: Parts that are left as they are, if they are there and held, whatever they were run of.
        carry_out: Runs one part; in a process of its own unless given.
        commit: Tells what is checked out; asked of git unless given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = {each.part: each for each in read(folder)}
    for number, part in enumerate(parts, 1):
        at, before = f"[{number}/{len(parts)}] {part.name}", there.get(part.name)
        if before is not None and (
            before.stands((commit or commit_here)(), form) or (part.name in keep and before.code == 0)
        ):
            say(f"{at}: there already, of {before.commit}, {before.form}")
            continue
        say(f"{at}: {part.title} ({form})")
        one = (carry_out or _run)(part, folder, form)
        (folder / f"{part.name}.json").write_text(json.dumps(asdict(one), indent=1), encoding="utf-8")
        result = "stopped" if one.stopped else "FAILED" if one.failed else "held" if one.code == 0 else "NOT ALL ASKED"
        say(f"{at}: {result} ({one.seconds:.0f} s)")
        if one.code == STOPPED:
            return


def read(folder: Path) -> list[Ran]:
    """Return what parts have left in a folder, in the order of the proof."""
    files = [folder / f"{part.name}.json" for part in PARTS]
    return [_read(file) for file in files if file.exists()]


def _read(file: Path) -> Ran:
    return Ran(**json.loads(file.read_text(encoding="utf-8")))


def set_aside(folder: Path, can_be_shown: Callable[[Ran], bool], say: Callable[[str], object]) -> None:
    """Rename what another version of the proof has left and this one cannot read, so that the part is run again."""
    for part in PARTS:
        file = folder / f"{part.name}.json"
        with suppress(FileNotFoundError):
            try:
                is_known = can_be_shown(_read(file))
            except (ValueError, TypeError):
                is_known = False
            if not is_known:
                other = file.rename(file.with_suffix(".unread"))
                say(f"{file} is of another version of the proof and cannot be read: it is {other.name} now")


def _run(part: Part, folder: Path, form: str) -> Ran:
    options = part.options(form)
    commit, date, began = commit_here(), time.strftime("%Y-%m-%d %H:%M", time.gmtime()), time.monotonic()
    written = folder / f"{part.name}.figures.json"
    written.unlink(missing_ok=True)
    code, found = STOPPED, None
    with suppress(KeyboardInterrupt):
        if part.name == SOAK:
            code, found = _soaked(float(options[0]))
        else:
            command = [sys.executable, "-m", part.module, *options, "--json", str(written)]
            code = _ended(command)
    if written.exists():
        found = json.loads(written.read_text(encoding="utf-8"))
    took_s = time.monotonic() - began
    load = round(os.getloadavg()[2 if took_s > 5 * 60 else 1], 1)  # over fifteen minutes, or over five
    return Ran(part.name, commit, part.command(form), took_s, code, date, found, machine(), load)


def _ended(command: Sequence[str]) -> int:
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()  # it ends what it has started, in its turn
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            raise


def _soaked(seconds: float) -> tuple[int, dict[str, Any]]:
    trial = run_tests(ROOT, (TEST_OF_SOAK,), 3 * seconds + 300, "--soak-seconds", str(seconds))
    cases = list(trial.tests.values())
    held = bool(cases) and all(each.outcome == "passed" for each in cases)
    return int(not held), dict(cases[0].figures) if cases else {}


def machine() -> str:
    """Return what figures depend on."""
    import apsw

    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"SQLite {apsw.sqlite_lib_version()}"
    )


def commit_here() -> str:
    """Return the commit that is checked out, with a ``+`` if files differ from it."""

    def git(*what: str) -> str:
        return subprocess.run(["git", *what], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")
