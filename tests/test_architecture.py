"""The shape of the code is promised too: public names, sizes, and that every test says what it is for."""

import ast
from pathlib import Path

import pytest

import organism

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "organism").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_public_names_are_few_sorted_and_there() -> None:
    """What users may rely on is a short list, and every name of it exists."""
    assert organism.__all__ == sorted(organism.__all__)
    assert len(organism.__all__) <= 32
    assert all(hasattr(organism, name) for name in organism.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_within_its_ceilings(path: Path) -> None:
    """A module has at most 400 lines, a function at most 60, and no name that says nothing."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in {"utils", "helpers", "common", "manager", "base"}
    for node in ast.walk(tree(path)):
        if isinstance(node, FUNCTIONS):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
            assert lines <= 65, f"{path.name}:{node.lineno} {node.name} has {lines} lines"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_test_says_what_it_promises(path: Path) -> None:
    """A test without a sentence is a test nobody can judge."""
    for node in ast.walk(tree(path)):
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"
