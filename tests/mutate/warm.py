"""A plugin of pytest that tries changes in forks of one process, which has imported and collected everything once.

Each test is run once to see which lines it executes and how long it takes. Then each change is put into the functions
of a fork, and the tests that execute its lines are run there, the quickest first, up to the first that fails.
"""

import gc
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

import coverage
import msgspec
import pytest

from tests.mutate.changes import Change, changes_of
from tests.mutate.transplant import NotAliveError, Transplant

JOB = "ORGANISM_MUTATE_JOB"
"""The variable with the job, in JSON."""

_NOTICED, _SURVIVED, _COLD = 10, 11, 12
_VERDICTS = {_NOTICED: "noticed", _SURVIVED: "survived", _COLD: "cold"}


class Job(msgspec.Struct):
    """What is to be tried.

    Attributes:
        changes: By module, relative to the root, the numbers of its changes; in their order.
        within_s: When to begin no further one, in seconds from when it is known which test executes what.
        limit_s: How long the tests of one may take.
        told: The descriptor that verdicts are written to, a line of JSON each.
    """

    changes: list[tuple[str, int]]
    within_s: float
    limit_s: float
    told: int


class Told(msgspec.Struct):
    """What came of one change.

    Attributes:
        file: Its module.
        number: Which of its module's changes.
        verdict: ``noticed``, ``survived``, or ``cold``: it takes a new process to say.
        seconds: How long it took.
    """

    file: str
    number: int
    verdict: str
    seconds: float


class Baseline(msgspec.Struct):
    """The tests without a change: by number how long each takes, what failed, and who executes which lines."""

    seconds: list[float]
    failed: list[str]
    lines: dict[str, dict[int, list[int]]]


class _Ear:
    """Hears whether a test fails."""

    def __init__(self) -> None:
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Try the changes of the job in place of the usual run."""
    if JOB not in os.environ or session.testsfailed:
        return None
    job = msgspec.json.decode(os.environ[JOB], type=Job)
    with os.fdopen(job.told, "wb", buffering=0) as told:
        for line in _Warm(session, job).run():
            told.write(msgspec.json.encode(line) + b"\n")
    return True


class _Warm:
    def __init__(self, session: pytest.Session, job: Job) -> None:
        self._session = session
        self._items: Sequence[pytest.Item] = session.items
        self._job = job
        self._root = Path(session.config.rootpath)
        self._ear = _Ear()
        self._caches: list[Any] = []
        session.config.pluginmanager.register(self._ear)
        self._files = sorted({file for file, _ in job.changes})
        self._sources = {file: (self._root / file).read_text(encoding="utf-8") for file in self._files}

    def run(self) -> Iterator[Told | Baseline]:
        """Yield the tests without a change, then what comes of each change."""
        baseline = self._baseline()
        yield msgspec.structs.replace(baseline, lines={})
        if baseline.failed:
            return
        alive = {file: Transplant(_module(file), source) for file, source in self._sources.items()}
        changes = {file: changes_of(file, source) for file, source in self._sources.items()}
        self._caches = [each for each in gc.get_objects() if isinstance(each, _lru_cache_wrapper)]
        gc.collect()
        gc.freeze()  # so that forks copy no page for a count of the collector's
        until_s = time.monotonic() + self._job.within_s
        for file, number in self._job.changes:
            if time.monotonic() > until_s:
                return
            change, began = changes[file][number], time.monotonic()
            inside = alive[file].is_within_functions(change.source)
            tests = self._tests_of(change, baseline, whole=not inside)
            verdict = self._verdict(alive[file], change, tests, baseline)
            if verdict == "survived" and not inside:
                verdict = "cold"  # what an import decides may have been decided before
            yield Told(file, number, verdict, time.monotonic() - began)

    def _tests_of(self, change: Change, baseline: Baseline, *, whole: bool) -> list[int]:
        lines = baseline.lines.get(change.file, {})
        found = {test for line in range(change.line, change.last + 1) for test in lines.get(line, ())}
        if whole or not found:
            found = {test for tests in lines.values() for test in tests}
        return sorted(found, key=lambda test: baseline.seconds[test])

    def _verdict(self, alive: Transplant, change: Change, tests: list[int], baseline: Baseline) -> str:
        def child() -> int:
            for cache in self._caches:  # what was computed before the change
                cache.cache_clear()
            try:
                alive.put(change.source)
            except NotAliveError:
                return _COLD
            return _NOTICED if any(not self._passes(test) for test in tests) else _SURVIVED

        usual_s = sum(baseline.seconds[test] for test in tests)
        code = _forked(child, min(self._job.limit_s, 10 + 5 * usual_s))
        return _VERDICTS.get(code, "noticed")  # it has not ended, or has taken the runner along

    def _passes(self, test: int) -> bool:
        item = self._items[test]
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self._ear.failed

    def _baseline(self) -> Baseline:
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "baseline.json"

            def child() -> int:
                written.write_bytes(msgspec.json.encode(self._measured()))
                return 0

            code = _forked(child, 20 * self._job.limit_s)
            if not written.exists():
                return Baseline([], [f"the tests did not end: {code}"], {})
            return msgspec.json.decode(written.read_bytes(), type=Baseline)

    def _measured(self) -> Baseline:
        files = {file: str(self._root / file) for file in self._files}
        measure = coverage.Coverage(data_file=None, config_file=False, include=list(files.values()))
        measure.start()
        baseline = Baseline([], [], {})
        for number, item in enumerate(self._items):
            measure.switch_context(str(number))
            began = time.monotonic()
            self._ear.failed = False
            if not self._passes(number):
                baseline.failed.append(item.nodeid)
            baseline.seconds.append(time.monotonic() - began)
        measure.stop()
        data = measure.get_data()
        for file, path in files.items():
            by_line = data.contexts_by_lineno(path)
            baseline.lines[file] = {
                line: [int(test) for test in tests if test] for line, tests in by_line.items() if any(tests)
            }
        return baseline


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _forked(child: Any, limit_s: float) -> int:
    """Call something in a fork and return what it returns; negative if it was ended, as what hangs is."""
    folder = tempfile.mkdtemp(prefix="organism-warm-")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            tempfile.tempdir = folder
            os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            code = child()
        finally:
            os._exit(code)  # whatever it has raised: a fork must never go on as its parent
    try:
        handle = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(1000 * limit_s)
        os.close(handle)
    finally:
        _end_group(pid)
        _, status = os.waitpid(pid, 0)
        shutil.rmtree(folder, ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


def _end_group(pid: int) -> None:
    """End a fork, if it still runs, and whatever it has started."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
