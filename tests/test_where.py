"""Where a module is tested has an answer, for every module: ``python -m tests.where MODULE``."""

import ast
from pathlib import Path

from tests.where import MODULES, ROOT, where


def says_something(path: Path) -> bool:
    """Whether a module is more than its docstring."""
    return len(ast.parse(path.read_text(encoding="utf-8")).body) > 1


def test_every_module_says_where_it_is_tested() -> None:
    """Who changes a module finds the tests that are about it; what ``python -m`` starts is started as a process."""
    silent = [path for path in MODULES if not where(path) and says_something(path) and path.stem != "__main__"]
    assert [path.relative_to(ROOT).as_posix() for path in silent] == [], "no test names or uses it"


def test_the_closest_answer_comes_first() -> None:
    """A file of the module's own name, then what names it; of a command, the tests that type it."""
    assert next(iter(where(ROOT / "organism/budget/policy.py").items())) == ("named", ["tests/budget/test_policy.py"])
    assert "tests/cli/test_daemon_operating.py" in where(ROOT / "organism/cli/commands/remote/threads.py")["typed"]
    assert set(where(ROOT / "organism/runtime/lifecycle.py")) & {"guard", "through"}
