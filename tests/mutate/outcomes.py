"""A plugin of pytest that writes how each test went, and by which error it failed, into a file of JSON.

A test that fails because a module could not be imported has noticed nothing: so the kind of the error is kept, too.
"""

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

TARGET = "ORGANISM_TEST_OUTCOMES"
"""The variable that names the file."""

_outcomes: dict[str, dict[str, Any]] = {}
_broken: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Have no example shrunk: that one was found is all that is asked, and making it small takes most of the time."""
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    settings.register_profile("unshrunk", settings.get_profile("organism"), phases=phases)
    settings.load_profile("unshrunk")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note each phase of a test; the first that fails decides."""
    report = yield
    seen = _outcomes.setdefault(item.nodeid, {"outcome": "passed", "seconds": 0.0, "errors": [], "why": ""})
    seen["seconds"] += report.duration
    seen["figures"] = dict(report.user_properties)
    if report.skipped and seen["outcome"] == "passed":
        seen["outcome"] = "skipped"
        seen["why"] = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if report.failed and seen["outcome"] == "passed":
        seen["outcome"] = "failed" if report.when == "call" else "error"
        if call.excinfo is not None:
            seen["errors"] = sorted({name for each in _flat(call.excinfo.value) for name in _kinds(each)})
            seen["why"] = f"{call.excinfo.typename}: {call.excinfo.value}".strip()[:300]
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note what could not be collected."""
    if report.failed:
        _broken.append(f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1][:300]}")


def pytest_sessionfinish() -> None:
    """Write all of it."""
    if target := os.environ.get(TARGET):
        Path(target).write_text(json.dumps({"tests": _outcomes, "broken": _broken}), encoding="utf-8")


def _flat(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _flat(each)
    else:
        yield error


def _kinds(error: BaseException) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__ if kind not in (object, BaseException, Exception)]
