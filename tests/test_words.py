"""One name for one thing, one thing for one name, and rooms of a size that can be looked over."""

import ast
import builtins
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from organism import BudgetPlan
from organism.errors import Refusal

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "organism"
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FILES_MAX = 15

RETIRED = {
    "Announcer": "CallEvents",
    "Charging": "Payers",
    "Course": "CallState",
    "CutShort": "InterruptedStream",
    "Drift": "BillDifference",
    "Exchange": "RequestHandler",
    "Gates": "ProviderLimiters",
    "InForce": "ActiveConfig",
    "Itinerary": "RouteQueue",
    "Keeper": "ThreadStateWriter",
    "KeptAnswers": "StoredAnswers",
    "KeptPauses": "AgentPauses",
    "Leash": "ReusableCancelScope",
    "Looking": "Queries",
    "Passage": "Permit",
    "ProviderGate": "ProviderLimiter",
    "Shortfall": "Refusal",
    "StandingThreads": "ExternalThreads",
    "Story": "BudgetTrace",
    "Surroundings": "RouterServices",
    "Teller": "BudgetEngine",
    "WaitingLines": "ReserveQueue",
    "announcer": "call_events",
    "entitled": "final_reserve_of",
    "itinerary": "queue",
    "kept_answers": "stored_answers",
    "kept_percent": "final_reserve_percent",
    "put_in_force": "apply",
    "roster": "agents_by_name",
    "teller": "engine",
    "wrap_up": "final_reserve",
    "wrap_up_percent": "final_reserve_percent",
}
"""Names that were once used, and what stands in their place."""

STILL_ACCEPTED = {
    "budget/plans/budget_plan.py": {"wrap_up_percent"},
    "config/schema/limits.py": {"wrap_up"},
    "config/build/limits.py": {"wrap_up"},
}
"""Where a name that users have is taken for the new one, with a warning."""

PROSE = {
    "exchange.py": "request_handler.py",
    "gate.py": "limits/limiter.py, auth_middleware.py",
    "in force": "active, applies",
    "itinerary": "routes that are left",
    "last word": "final call, final reserve",
    "limits.wrap_up": "limits.final_reserve",
    "mended": "repaired",
    "teller": "budget engine",
    "what comes of it": "its result",
    "whoever": "those who",
}
"""Words and places that the manual no longer has, and what it says instead."""

SOURCE_PROSE = {
    "be told": "gets, reads",
    "for ever": "without end, each time",
    "in force": "active, applies",
    "is told": "gets, reads, is called with",
    "mended": "repaired",
    "put in force": "apply",
    "told each": "called with each",
    "told of": "gets, reads, is called with",
    "what becomes of": "how it is treated, what follows",
    "what comes of": "its result",
    "whoever": "the caller, the owner",
}
"""Words that comments and docstrings no longer have, and what they say instead."""

FAMILIES = ("cli/", "api/routes/", "config/schema/", "config/build/", "control/orders/", "formats/")
"""Folders whose files are named for what they bring to the command line, the API, the file or a vendor's format."""

REPEATED = {
    "app",  # the organism, and the application of the command line
    "delivery",  # of messages, and of events to billing systems
    "events",  # the public module, and where it is made
    "http",  # providers' and tool servers'
    "messages",  # between agents, of tool servers, and errors about them
    "provider",  # the port, and the name it had
    "requests",  # for limits, and of models
    "scopes",  # of budgets, and of tokens
    "tools",  # the public module
}
"""File names that stand in several rooms, each for its room's own thing."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def identifiers(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield every name that a module writes, and its line."""
    for node in ast.walk(module):
        for field in ("id", "attr", "name", "arg"):
            name = getattr(node, field, None)
            if isinstance(name, str) and hasattr(node, "lineno"):
                yield name.lstrip("_"), node.lineno


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_no_retired_name_is_written(path: Path) -> None:
    """Who knows a thing under one name finds it under that name everywhere."""
    allowed = STILL_ACCEPTED.get(place(path), set())
    for name, line in identifiers(tree(path)):
        assert name in allowed or name not in RETIRED, f"{place(path)}:{line}: {name} is now {RETIRED[name]}"


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and docstrings of a module by line."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""')):
                yield from enumerate(token.string.splitlines(), token.start[0])


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_comments_and_docstrings_have_no_retired_word(path: Path) -> None:
    """The code is explained in plain technical English: the subject first, and the field's word for what it does."""
    for number, line in prose(path):
        for word, better in SOURCE_PROSE.items():
            found = re.search(rf"\b{word}\b", line, re.IGNORECASE)
            assert found is None, f"{place(path)}:{number}: {word!r}; say: {better}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_manual_has_no_retired_word(page: Path) -> None:
    """The manual speaks of things by the names that code, configuration and API have for them."""
    if page.name in {"changelog.md", "GLOSSARY.md"}:
        return
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        for word, better in PROSE.items():
            found = re.search(rf"(?<![\w/.]){re.escape(word)}(?!\w)", line, re.IGNORECASE)
            assert found is None, f"{page.name}:{number}: {word!r}; say: {better}"


def public_types(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the public classes and type aliases of a module, each with the text that tells whether two are the same."""
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef):
            yield node.name, place(path)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, ast.unparse(node.value)


def test_a_public_type_has_a_name_of_its_own() -> None:
    """One class name stands for one thing; the same alias may be written in two rooms.

    A vendor's format names the parts of its bodies as the vendor does, and a command line its options.
    """
    defined: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        if not place(path).startswith("cli/") and not re.match(r"formats/\w+/", place(path)):
            for name, what in public_types(path):
                if name[0].isupper() and not name.isupper():
                    defined[name].add(what)
    twice = {name: sorted(places) for name, places in defined.items() if len(places) > 1}
    assert not twice


def test_a_file_name_says_which_file() -> None:
    """A name of a file stands in one room, but for those whose rooms give it its meaning."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        if not path.stem.startswith("__") and not place(path).startswith(FAMILIES):
            rooms[path.stem].append(place(path))
    repeated = {stem: places for stem, places in rooms.items() if len(places) > 1 and stem not in REPEATED}
    assert not repeated


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=place)
def test_a_folder_can_be_looked_over(folder: Path) -> None:
    """A room has at most fifteen modules beside what makes it a package."""
    modules = [path.name for path in folder.glob("*.py") if not path.stem.startswith("__")]
    assert len(modules) <= FILES_MAX, modules


def test_the_glossary_has_a_line_for_each_domain_word() -> None:
    """Who meets a word of this manual finds it explained in one place, in order, once."""
    page = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
    words = re.findall(r"^\*\*(.+?)\*\*", page, re.MULTILINE)
    assert words == sorted(words, key=str.lower)
    assert len(words) == len(set(words))
    assert {"Account", "Final reserve", "Headroom", "Hold", "Permit", "Refusal", "Route", "Scope", "Thread"} <= set(
        words
    )


def test_names_of_the_last_version_work_and_name_the_new_ones() -> None:
    """A program of the last version runs for one more release, and is told what to write."""
    with pytest.warns(DeprecationWarning, match="final_reserve_percent"):
        assert BudgetPlan(wrap_up_percent=30) == BudgetPlan(final_reserve_percent=30)
    with pytest.warns(DeprecationWarning, match="Refusal"):
        assert import_module("organism.errors").Shortfall is Refusal
    for name in ("prometheus", "otel"):
        sys.modules.pop(old := f"organism.exporters.{name}", None)  # as in a program that has not imported it yet
        with pytest.warns(DeprecationWarning, match=r"organism\.telemetry"):
            import_module(old)


def test_docstrings_name_only_errors_and_arguments_that_are_there() -> None:
    """Each name under ``Raises:`` is an error of Python or of a module here, each under ``Args:`` a parameter."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    known = {*dir(builtins), *(node.name for _, node in nodes if isinstance(node, ast.ClassDef))}
    imports = (node for _, node in nodes if isinstance(node, ast.ImportFrom))
    known |= {alias.asname or alias.name for node in imports for alias in node.names}
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path, node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for name in [
            *(name for name in _named_under("Raises", node) if name not in known),
            *(name for name in _named_under("Args", node) if name not in _parameters(node)),
        ]
    ]

    assert not wrong, "\n".join(wrong)


def _named_under(heading: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    section = re.search(rf"^{heading}:\n((?: {{4}}.*\n?|\n)*)", ast.get_docstring(node) or "", re.MULTILINE)
    return re.findall(r"^ {4}(\w+):", section[1], re.MULTILINE) if section is not None else []


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
    return {each.arg for each in every if each is not None}
