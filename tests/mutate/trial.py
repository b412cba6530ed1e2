"""Runs named tests in throw-away copies of the repository, with and without a guard."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutate.guard import ROOT
from tests.mutate.outcomes import TARGET

_LEFT_OUT = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "build", "dist"}
"""What is made from the repository, and no part of it; at its root alone, for there is a room called ``build``."""


@dataclass(frozen=True)
class Outcome:
    """How one test went: ``passed``, ``failed``, ``error`` outside of the test itself, ``skipped``."""

    outcome: str
    seconds: float = 0.0
    errors: tuple[str, ...] = ()
    why: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """How a run went.

    Attributes:
        tests: By id.
        broken: What could not be collected.
        hung: Whether it was stopped at its time limit.
        seconds: How long it took.
        output: The end of what pytest wrote.
    """

    tests: Mapping[str, Outcome]
    broken: tuple[str, ...]
    hung: bool
    seconds: float
    output: str

    def of(self, name: str) -> list[Outcome]:
        """Return how the cases of a test went, or of a file or folder of tests."""
        whole = name.removesuffix("/")
        return [
            each
            for id_, each in self.tests.items()
            if id_ == whole or id_.startswith((f"{whole}[", f"{whole}::", f"{whole}/"))
        ]


def keep_json(path: "Path | str | None", found: object) -> None:
    """Write what is known so far, if there is a path: whole at any instant, so that who is stopped has it."""
    if path is not None:
        part = Path(f"{path}.part")
        part.write_text(json.dumps(found, indent=1), encoding="utf-8")
        part.replace(path)


STOPPED = 130
"""The code of who was stopped by hand, as a shell has it."""


def run_main(main: Callable[[], int]) -> int:
    """Run a command of the proof; an end from outside is taken as Ctrl-C is: it ends and removes what it has begun."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return main()
    except KeyboardInterrupt:
        return STOPPED


@contextmanager
def copies(count: int) -> Iterator[list[Path]]:
    """Yield so many copies of the repository, with what is compiled of it; they are removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="organism-mutate-") as folder:
        first = Path(folder) / "0"
        shutil.copytree(ROOT, first, ignore=lambda folder, _names: _LEFT_OUT if Path(folder) == ROOT else set())
        places = [first]
        for number in range(1, count):
            places.append(Path(folder) / str(number))
            shutil.copytree(first, places[-1])
        yield places


@contextmanager
def edited(copy: Path, sources: Mapping[str, str]) -> Iterator[None]:
    """Put other sources into a copy, and the former ones back afterwards."""
    former = {file: (copy / file).read_text(encoding="utf-8") for file in sources}
    try:
        _write(copy, sources)
        yield
    finally:
        _write(copy, former)


def _write(copy: Path, sources: Mapping[str, str]) -> None:
    for file, source in sources.items():
        path = copy / file
        path.write_text(source, encoding="utf-8")
        # Python knows what it has compiled by size and second: two edits would be taken for one another.
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()


def run_tests(root: Path, tests: Iterable[str], limit_s: float, *options: str) -> Trial:
    """Run some tests in a process of its own; what is left of it at the time limit is killed."""
    with tempfile.TemporaryDirectory(prefix="organism-outcomes-") as folder:
        return _run(root, tests, limit_s, options, Path(folder) / "outcomes.json")


def _run(root: Path, tests: Iterable[str], limit_s: float, options: tuple[str, ...], target: Path) -> Trial:
    environment = {**os.environ, "PYTHONPATH": str(root), TARGET: str(target), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutate.outcomes", "-p", "no:cacheprovider", "-m", ""]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, *options, *tests],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    hung = False
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        hung = True
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    seconds = time.monotonic() - began
    said = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {"tests": {}, "broken": []}
    found = {name: Outcome(**{**each, "errors": tuple(each["errors"])}) for name, each in said["tests"].items()}
    return Trial(found, tuple(said["broken"]), hung, seconds, output[-4000:])
