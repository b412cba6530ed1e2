"""Tests are code too: a refusal that a test expects says what a user reads, and no test waits for some time."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "tests").rglob("*.py"))

SAY_NOTHING = {
    "KeyboardInterrupt",
    "anyio.BrokenResourceError",
    "anyio.EndOfStream",
    "asyncio.CancelledError",
    "httpx2.ReadTimeout",
}
"""Errors of the interpreter and of libraries that have no sentence to read."""


def expected(path: Path) -> Iterator[tuple[int, ast.Call, bool]]:
    """Yield the line of each expected error, the call that expects it, and whether the error is looked at after."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                call = item.context_expr
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.raises":
                    yield call.lineno, call, item.optional_vars is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_expected_error_says_what_a_user_reads(path: Path) -> None:
    """An error of the right class for the wrong reason passes no test: its words are matched, or it is looked at."""
    for line, call, looked_at in expected(path):
        matched = any(keyword.arg in {"match", "check"} for keyword in call.keywords)
        assert matched or looked_at or ast.unparse(call.args[0]) in SAY_NOTHING, f"{path}:{line}: give it a match"


KINDS_THAT_TAKE_TIME = {"clients", "corpus", "faults", "fuzz", "killing", "programs", "soak"}
"""Folders whose programs load and kill what runs, at times of their own."""

TAKE_TIME = {
    "api/test_application_canaries.py": "what is written late is looked through too",
    "api/test_server.py": "a client that sends a few bytes at a time",
    "daemon/test_reloader.py": "work goes on while its file is changed",
    "tool_servers/odd_server.py": "a server that is slow",
}
"""What waits in real time on purpose, and why."""


def waits(path: Path) -> Iterator[int]:
    """Yield the lines that wait for some real time; those that look again and again for what is to come do not."""
    source = path.read_text(encoding="utf-8")
    is_real = "pytest.mark.anyio" in source and "run(main" not in source and "run(lambda" not in source
    tree = ast.parse(source)
    looking = {id(node) for loop in ast.walk(tree) if isinstance(loop, ast.While) for node in ast.walk(loop)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in looking and node.args and ast.unparse(node.args[0]) != "0":
            name = ast.unparse(node.func)
            if name == "time.sleep" or (is_real and name in {"anyio.sleep", "asyncio.sleep"}):
                yield node.lineno


def test_no_test_waits_for_some_time() -> None:
    """A busy machine is later than any time one could wait: tests wait for what is to come, or in virtual time."""
    found = {
        str(path.relative_to(ROOT / "tests")): list(waits(path))
        for path in FILES
        if not KINDS_THAT_TAKE_TIME & set(path.parts)
    }

    assert {name for name, lines in found.items() if lines} == set(TAKE_TIME), {k: v for k, v in found.items() if v}
