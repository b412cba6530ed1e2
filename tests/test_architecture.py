"""The shape of the code is promised too: public names, sizes, and that every test says what it is for."""

import ast
import re
from pathlib import Path

import pytest

import organism
from tests.mutate.check import outdated
from tests.mutate.entries import GUARDS
from tests.where import namesakes

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
            assert lines <= 60, f"{path.name}:{node.lineno} {node.name} has {lines} lines"


SET_BY_EMBEDDERS = {"organism/app.py": 22, "organism/cluster/node.py": 9}
"""Constructors with a keyword for each setting; nearly all have defaults."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_has_at_most_eight_parameters(path: Path) -> None:
    """What belongs together is handed over together; only a command has as many parameters as it has options."""
    name = path.relative_to(ROOT).as_posix()
    for node in ast.walk(tree(path)) if not name.startswith("organism/cli/commands/") else ():
        if isinstance(node, FUNCTIONS):
            parameters = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len(parameters) - (parameters[:1] in (["self"], ["cls"]))
            assert count <= SET_BY_EMBEDDERS.get(name, 8), f"{path.name}:{node.lineno} {node.name} has {count}"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_test_says_what_it_promises(path: Path) -> None:
    """A test without a sentence is a test nobody can judge."""
    for node in ast.walk(tree(path)):
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"


KINDS = {
    "bench",
    "proof",
    "clients",
    "contracts",
    "corpus",
    "dependencies",
    "faults",
    "fuzz",
    "killing",
    "mutate",
    "scenarios",
    "soak",
    "typing",
}
"""Folders of tests that are about no room alone."""


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tests_are_named_after_what_they_test(path: Path) -> None:
    """A path says where a module is tested: ``tests/ROOM/test_MODULE.py``, or a subject of it (``tests/where.py``)."""
    place = path.relative_to(ROOT / "tests")
    about_all = len(place.parts) == 1 or place.parts[0] in KINDS
    assert about_all or namesakes(path), f"{place}: name it test_MODULE_SUBJECT.py, or put it in a folder MODULE"


def test_every_guard_is_where_the_mutation_check_says() -> None:
    """Whoever moves or renames a guard, or a test that watches one, is told which entry of tests/mutate to update."""
    assert [f"{guard.name}: {why}" for guard in GUARDS if (why := outdated(guard))] == []


def defined(path: Path) -> set[str]:
    """Name what a module defines, ``Class.method`` for what stands in a class."""
    names: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names.update(f"{node.name}.{each.name}" for each in node.body if isinstance(each, FUNCTIONS))
    return names


def test_the_ways_through_the_code_lead_along_what_is_there() -> None:
    """Who follows a message or a dollar by ARCHITECTURE.md finds each step where it says."""
    ways = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## The way of a message")[2]
    steps = re.findall(r"`([a-z_/]+\.py)`(?:: `([\w.]+)`)?", ways.partition("## States of a thread")[0])
    assert len(steps) > 30
    for file, name in steps:
        path = ROOT / ("organism" if (ROOT / "organism" / file).is_file() else "") / file
        assert path.is_file(), f"{file} is not there"
        assert not name or name in defined(path), f"{file} has no {name}"


SECTIONS_OF_NAMES = re.compile(r"^(Args|Attributes):\n((?:    .*\n|\n(?=    ))+)", re.MULTILINE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_explain_only_names_that_are_there(path: Path) -> None:
    """What was renamed is renamed in its docstring too: a reader looks for the name that he reads."""
    for node in ast.walk(tree(path)):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and (text := ast.get_docstring(node)):
            inherits = isinstance(node, ast.ClassDef) and node.bases
            explained = {
                name
                for _, section in SECTIONS_OF_NAMES.findall(text + "\n")
                for name in re.findall(r"^    \**(\w+)(?: \(.*\))?:", section, re.MULTILINE)
            }
            words = {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
            words |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            words |= {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
            words |= {each.name for each in ast.walk(node) if isinstance(each, FUNCTIONS)}
            assert inherits or explained <= words, f"{path.name}:{node.lineno}: {explained - words}"


WRITERS = {"cli/output.py", "cli/terminal.py"}
"""The only modules of the command line that write."""

OTHER_WRITERS = {
    "telemetry/logs.py",  # which cleans each line
    "providers/local_server.py",  # to the process that has started it
    "concurrency/safe_log.py",  # the last resort of a line, with nothing but plain characters
    "testing/kill_points.py",
    "testing/simulate/__main__.py",  # a command of its own, which prints nothing from outside
}


def dotted(node: ast.expr) -> str:
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_two_modules_print(path: Path) -> None:
    """Text from outside cannot reach a terminal but through the modules that make it harmless."""
    name = path.relative_to(ROOT / "organism").as_posix()
    if name in WRITERS | OTHER_WRITERS:
        return
    for node in ast.walk(tree(path)):
        imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(module.partition(".")[0] == "rich" for module in imported), f"{name}: draw with cli/terminal.py"
        if isinstance(node, ast.Attribute):
            assert dotted(node) not in {"sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer", "os.write"}, name
        if isinstance(node, ast.Call):
            assert dotted(node.func) != "print", f"{name}:{node.lineno}: print with cli/output.py"
            assert not dotted(node.func).endswith(".print"), f"{name}:{node.lineno}: use Terminal.say or Terminal.show"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_lines_end_at_line_ends_only(path: Path) -> None:
    """No text is cut at a form feed or at U+2028, which are characters of a value: ``lines_of`` cuts."""
    attributes = (each for each in ast.walk(tree(path)) if isinstance(each, ast.Attribute))
    cuts = [each.lineno for each in attributes if each.attr == "splitlines"]
    assert cuts == [], f"{path.name}: cut with text/plain_text.py's lines_of"


@pytest.mark.parametrize("path", sorted((ROOT / "organism" / "cli").rglob("*.py")), ids=lambda path: path.name)
def test_templates_of_what_is_drawn_are_written_in_the_code(path: Path) -> None:
    """Markup is never put together from values: those go into a template's places, where they are only text."""
    if path.name == "terminal.py":
        return
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        assert called != "Markup", f"{path.name}:{node.lineno}: make markup with a template"
        if called == "markup" or called.endswith((".say", "self._print")):
            template = node.args[0]
            constant = isinstance(template, ast.Constant) or (
                isinstance(template, ast.Name) and template.id in {*constants(path), "template"}
            )
            assert constant, f"{path.name}:{node.lineno}: the template must be written here"


def constants(path: Path) -> set[str]:
    """Return names that are only ever given text that is written in the code."""
    given: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    given.setdefault(target.id, []).append(node.value)
    return {name for name, values in given.items() if all(isinstance(value, ast.Constant) for value in values)}
