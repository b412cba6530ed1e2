"""What SECURITY.md says is shown by tests that are there, and by what the source does not do."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutate.guard import Guard, missing_tests

ROOT = Path(__file__).parent.parent
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
MODULES = sorted((ROOT / "organism").rglob("*.py"))
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
READS_CODE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
LOOKED_AT = {"anyio", "apsw", "cyclopts", "genai-prices", "msgspec", "platformdirs", "pyyaml", "rich", "structlog"}


def test_each_test_that_the_page_names_is_there() -> None:
    """A renamed or removed test leaves no line of the page that nothing shows any more."""
    named = re.findall(r"`(tests/[^`]+)`", SECURITY)

    assert len(named) > 40
    assert [name for name in named if not (ROOT / name.partition("::")[0]).exists()] == []
    assert missing_tests(Guard("page", "", (), tuple(name for name in named if "::" in name))) == []


def calls(module: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(ROOT).as_posix())
def test_no_module_runs_what_it_reads(module: Path) -> None:
    """Nothing that came from outside becomes code: no eval, no pickle, no YAML but by our own loader."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & READS_CODE
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in READS_CODE
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in RUNS_CODE, f"line {node.lineno}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            reads_yaml = isinstance(node.func.value, ast.Name) and node.func.value.id == "yaml"
            assert not (reads_yaml and node.func.attr in {"load", "unsafe_load", "full_load"}), f"line {node.lineno}"


WRITTEN_HERE = {"check", "steps", "more"}
"""Text in statements that is no constant: the name of a check, and steps of migrations, all of our own source."""

STORES = sorted((ROOT / "organism" / "stores").rglob("*.py"))


@pytest.mark.parametrize("module", STORES, ids=lambda module: module.relative_to(ROOT).as_posix())
def test_sql_is_made_of_what_the_source_says(module: Path) -> None:
    """Values reach a database as parameters: what stands in the text of a statement is a constant of a module."""
    for call in calls(module):
        if not (isinstance(call.func, ast.Attribute) and call.func.attr in {"execute", "executemany"} and call.args):
            continue
        text = call.args[0]
        assert not (isinstance(text, ast.BinOp) and isinstance(text.op, ast.Mod | ast.Add)), f"line {call.lineno}"
        if isinstance(text, ast.JoinedStr):
            fields = [field.value for field in text.values if isinstance(field, ast.FormattedValue)]
            said = {field.id for field in fields if isinstance(field, ast.Name)}
            assert len(said) == len(fields), f"line {call.lineno}"
            assert all(name.isupper() or name in WRITTEN_HERE for name in said), f"line {call.lineno}: {said}"


def test_dependencies_are_those_that_were_looked_at() -> None:
    """A new dependency of everybody's is a decision: it is added here, after somebody has looked at it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert {re.split(r"[<>=\[; ]", line)[0] for line in project["dependencies"]} == LOOKED_AT
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    everything = [*project["dependencies"], *extras]
    assert not [each for each in everything if each.startswith("litellm")]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    assert [name for name in LOOKED_AT if f"\n{name}==" not in f"\n{pinned}"] == []


def test_wheel_brings_one_program_and_nothing_that_runs_by_itself() -> None:
    """What is installed has one program, and no file by which code runs at every start of Python."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert tomllib.loads(text)["project"]["scripts"] == {"organism": "organism.__main__:main"}
    assert ".pth" not in text
    assert not list((ROOT / "organism").rglob("*.pth"))
