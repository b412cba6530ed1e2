"""A guard: a few characters of the program that keep one promise, and the tests that must notice when they are gone.

An edit is found by the text of the guard within the function that holds it, never by a line number. Where the program
has been rewritten the entry is out of date, and says so: a check that silently checks nothing would be worse than none.
"""

import ast
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parent.parent.parent

_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class MovedError(Exception):
    """The guard is not where its entry says."""

    def __init__(self, edit: "Edit", why: str) -> None:
        super().__init__(f"the guard moved: update the entry ({edit.file}, {edit.within or 'module'}: {why})")


@dataclass(frozen=True)
class Edit:
    """What takes a guard out.

    Attributes:
        file: The module, from the root of the repository.
        within: The function, method or class it stands in, ``Ledger.dispatch``; empty for anywhere in the module.
        old: The text of the guard; it must stand there exactly once.
        new: What stands there instead.
    """

    file: str
    within: str
    old: str
    new: str

    def apply(self, source: str) -> str:
        """Return the module without the guard.

        Raises:
            MovedError: If the text is not there, is there more than once, or the edit changes nothing.
        """
        first, last = self._place(source)
        lines = source.splitlines(keepends=True)
        before, body, after = "".join(lines[:first]), "".join(lines[first:last]), "".join(lines[last:])
        if (found := body.count(self.old)) != 1:
            raise MovedError(self, f"its text stands there {found} times: {self.old!r}")
        edited = body.replace(self.old, self.new)
        try:
            same = _meaning(edited) == _meaning(body)
        except SyntaxError as error:
            raise MovedError(self, f"the edit leaves no Python: {error}") from None
        if same:
            raise MovedError(self, "the edit changes nothing")
        return before + edited + after

    def _place(self, source: str) -> tuple[int, int]:
        """Return the lines of the function, from 0, the last one not included."""
        if not self.within:
            return 0, len(source.splitlines())
        nodes: list[ast.stmt] = _parsed(source).body
        found: ast.stmt | None = None
        for name in self.within.split("."):
            named = [node for node in nodes if isinstance(node, _NAMED) and node.name == name]
            if len(named) != 1:
                raise MovedError(self, f"there are {len(named)} of that name")
            found, nodes = named[0], named[0].body
        assert found is not None
        return found.lineno - 1, found.end_lineno or found.lineno


@lru_cache(maxsize=64)
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _meaning(body: str) -> str:
    """Return what Python reads of a function, or of a module: the same for the same program."""
    return ast.dump(ast.parse(dedent(body)))


@dataclass(frozen=True)
class Guard:
    """One entry.

    Attributes:
        name: What it is called by ``--only``.
        promise: What it keeps, in one sentence.
        edits: What takes it out.
        tests: Who must notice: each of them fails without the guard, in one of its cases at least, and passes with it.
    """

    name: str
    promise: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The modules that its edits are made in."""
        return tuple(dict.fromkeys(edit.file for edit in self.edits))

    def edited(self, root: Path = ROOT) -> dict[str, str]:
        """Return the modules without the guard, by file.

        Raises:
            MovedError: If an edit does not fit any more.
        """
        sources: dict[str, str] = {}
        for edit in self.edits:
            path = root / edit.file
            if edit.file not in sources and not path.is_file():
                raise MovedError(edit, "there is no such file")
            sources[edit.file] = edit.apply(sources.get(edit.file) or path.read_text(encoding="utf-8"))
        return sources


def missing_tests(guard: Guard, root: Path = ROOT) -> list[str]:
    """Return those of a guard's tests that are not there."""
    return [test for test in guard.tests if not _is_there(root, test)]


def _is_there(root: Path, test: str) -> bool:
    file, _, names = test.partition("::")
    if not (root / file).is_file() or not names:
        return (root / file).exists() and not names
    nodes: list[ast.stmt] = _parsed((root / file).read_text(encoding="utf-8")).body
    for name in names.partition("[")[0].split("::"):
        found = [node for node in nodes if name in _names(node)]
        if not found:
            return False
        nodes = found[0].body if isinstance(found[0], ast.ClassDef) else []
    return True


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, _NAMED):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def guard(name: str, promise: str, place: str, old: str, new: str, *tests: str) -> Guard:
    """Make the entry of a guard that one edit takes out.

    Args:
        name: Its name.
        promise: What it keeps.
        place: ``file::Class.method``, the file from ``organism/``.
        old: Its text.
        new: What stands there instead.
        tests: Who must notice, from ``tests/``.
    """
    return Guard(name, promise, (edit(place, old, new),), tuple(f"tests/{test}" for test in tests))


def edit(place: str, old: str, new: str) -> Edit:
    """Make an edit; see :func:`guard`."""
    file, _, within = place.partition("::")
    return Edit(f"organism/{file}", within, old, new)
