"""Tests are code too: each refusal that a test expects says what a user reads."""

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
