"""Where is this tested? ``python -m tests.where organism/budget/policy.py`` answers for each module that it is given.

Answers from the closest to the widest, each with its kind:

* ``named``: ``tests/ROOM/test_NAME.py`` for ``organism/ROOM/.../NAME.py``, in the room's folder or in that of its part;
  one subject of it in ``test_NAME_SUBJECT.py``, and three or more in a folder, ``tests/ROOM/NAME/test_SUBJECT.py``;
* ``guard``: tests that fail when a named guard of the module is taken out (``tests/mutate/guards``);
* ``imports``: tests that name the module themselves; of a package, its ``__init__.py``;
* ``typed``: tests that type the commands of the module, as a user does;
* ``through``: where there is none of these, the tests of the nearest modules that use it.

It reads the checkout as it is, so there is no list to keep. ``tests/test_where.py``: every module has an answer.
"""

import ast
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from organism.cli.commands import SECTIONS
from tests.mutate.entries import GUARDS

ROOT = Path(__file__).parent.parent
MODULES = tuple(sorted((ROOT / "organism").rglob("*.py")))
TESTS = tuple(sorted((ROOT / "tests").rglob("*.py")))
"""With what tests share: a fixture that starts a gateway is how all of its users test it."""

_NAMED = re.compile(r"organism(\.\w+)+")
COMMANDS = "organism.cli.commands"


def where(module: Path) -> dict[str, list[str]]:
    """Find the tests of a module: by kind, the closest first, paths from the root; kinds without any are left out."""
    if found := _direct(module):
        return found
    seen, users = {module}, [module]
    while users:
        users = [each for each in MODULES if each not in seen and any(dotted(user) in mentions(each) for user in users)]
        seen.update(users)
        if tests := {path for user in users for paths in _direct(user).values() for path in paths}:
            return {"through": sorted(tests)}
    return {}


@cache
def _direct(module: Path) -> dict[str, list[str]]:
    name = dotted(module)
    file = module.relative_to(ROOT).as_posix()
    commands = [command for section in SECTIONS.values() for command in section]
    words = {command.name for command in commands if f"{COMMANDS}.{command.target.partition(':')[0]}" == name}
    answer = {
        "named": [path for path in TESTS if module in namesakes(path)],
        "imports": [path for path in TESTS if name in mentions(path)],
        "typed": [
            path for path in TESTS if "cli" in path.parts and words & {text.partition(" ")[0] for text in strings(path)}
        ],
    }
    found = {kind: [path.relative_to(ROOT).as_posix() for path in paths] for kind, paths in answer.items() if paths}
    watched = {test.partition("::")[0] for guard in GUARDS if file in guard.files for test in guard.tests}
    return {**found, "guard": sorted(watched)} if watched else found


@cache
def namesakes(test: Path) -> frozenset[Path]:
    """Find what in organism a test is named after: a module, a script or a folder; the longest name wins."""
    if not test.name.startswith("test_"):
        return frozenset()
    folder, words = test.parent.relative_to(ROOT / "tests").as_posix(), test.stem.removeprefix("test_").split("_")
    for count in range(len(words), 0, -1):
        if found := _homes().get((folder, "_".join(words[:count]))):
            return found
    return _homes().get((f"{folder}/", ""), frozenset())


@cache
def _homes() -> Mapping[tuple[str, str], frozenset[Path]]:
    """Return what is named by a folder of tests and a name in it; by a folder of its own, without a name in it."""
    homes: dict[tuple[str, str], set[Path]] = {}
    for path in sorted((ROOT / "organism").rglob("*")):
        if "__pycache__" in path.parts or path.suffix not in {"", ".py", ".js"} or path.name == "__init__.py":
            continue
        above = path.relative_to(ROOT / "organism").parent
        module = path / "__init__.py" if path.is_dir() else path
        for folder in dict.fromkeys([*(each for each in above.parents if each.parts), above]):
            homes.setdefault((folder.as_posix(), path.stem), set()).add(module)
            if path.is_file() and not (ROOT / "organism" / folder / path.stem).is_dir():
                homes.setdefault((f"{(folder / path.stem).as_posix()}/", ""), set()).add(module)
    for path in (ROOT / "organism").rglob("*/__init__.py"):
        package = path.parent.relative_to(ROOT / "organism")
        homes.setdefault((package.as_posix(), package.name), set()).add(path)
    return {name: frozenset(paths) for name, paths in homes.items()}


def dotted(module: Path) -> str:
    """Name a module as it is imported: ``organism.budget.policy``."""
    parts = module.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def mentions(path: Path) -> frozenset[str]:
    """Name the modules of organism that a file imports, wherever in it, or names in a string for others to import."""
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    found.update(name[0] for text in strings(path) if (name := _NAMED.match(text)))
    return frozenset(found)


@cache
def strings(path: Path) -> frozenset[str]:
    """Return the words that stand in a file as they are."""
    nodes = (node for node in ast.walk(_tree(path)) if isinstance(node, ast.Constant))
    return frozenset(node.value for node in nodes if isinstance(node.value, str))


def main() -> None:
    """Answer for each module that is named, or for all."""
    for module in [Path(name).resolve() for name in sys.argv[1:]] or MODULES:
        lines = [f"  {kind}: {', '.join(paths)}" for kind, paths in where(module).items()]
        sys.stdout.write("\n".join([str(module.relative_to(ROOT)), *lines, ""]))


if __name__ == "__main__":
    main()
