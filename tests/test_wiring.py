"""How parts are put together: each is complete when it is constructed, and works only with what it was handed.

All counts come from the types that the code is annotated with, so neither knows a single name of it.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "organism").rglob("*.py"))
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
VALUES = {"Struct", "NamedTuple", "Enum", "StrEnum", "TypedDict", "Exception"}

REACHED_THROUGH_MAX = 0
"""Places that reach for a part through two others, such as ``self.control.pump.router``."""

LAYERS_MAX = 3
"""Parts in a row whose methods of one name call each other: the door, the operation, and what holds the numbers."""

HANDED_ON_MAX = 114
"""Methods that do nothing but call the one of the same name of what they stand before."""

COMPLETED_MAX = 2
"""Places that assign to a part of another room: a reload, to the mode and the patience of the budgets."""


GROUPS = {"organism.runtime.handlers.run_services.RunServices", "organism.agents.runtime.Runtime"}
"""Collaborators that are handed over as one argument: to take one out of it is to use one's own."""

LINKS_MAX = 3
"""Attributes in one chain: ``self._node.layout.every``. A fourth is read off what the second one has handed over."""

STATE = {"threads"}
"""Rooms whose classes are the state of a conversation, which the message loop changes."""


class Known:
    """A class of the package: its module and definition."""

    def __init__(self, module: str, node: ast.ClassDef) -> None:
        self.module = module
        self.node = node
        self.name = f"{module}.{node.name}"
        self.room = module.split(".")[1] if module.count(".") > 1 else module

    @property
    def bases(self) -> list[str]:
        return [ast.unparse(base).rpartition(".")[2] for base in self.node.bases]


CLASSES = {
    (module, node.name): Known(module, node)
    for module, tree in MODULES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
}


@cache
def names_of(module: str) -> dict[str, tuple[str, str]]:
    """Return where the names come from that a module imports or defines."""
    names = {name: (module, name) for at, name in CLASSES if at == module}
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return names


def named(module: str, annotation: ast.expr | None) -> Known | None:
    """Return the class of the package that an annotation names, alone or beside ``None``."""
    if annotation is None:
        return None
    text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    found = [CLASSES.get(names_of(module).get(part.strip(" '\""), ("", ""))) for part in str(text).split("|")]
    known = [each for each in found if each is not None]
    return known[0] if len(known) == 1 else None


_KINDS: dict[tuple[str, str], Known | None] = {}


def attribute(of: str, name: str) -> Known | None:
    """Return the class of what an attribute holds."""
    if (of, name) not in _KINDS:
        _KINDS[of, name] = None  # while it is looked for: ``self.x = self.x or y``
        _KINDS[of, name] = _attribute(of, name)
    return _KINDS[of, name]


def _attribute(of: str, name: str) -> Known | None:
    module, _, cls = of.rpartition(".")
    owner = CLASSES[module, cls]
    for node in owner.node.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return named(module, node.annotation)
        if isinstance(node, FUNCTIONS) and node.name == name:
            is_property = any("property" in ast.unparse(each) for each in node.decorator_list)
            return named(module, node.returns) if is_property else None
    for method, value, annotation in assigned(of).get(name, ()):
        if (
            found := named(module, annotation) or inferred(value, parameters(module, method, owner), module)
        ) is not None:
            return found
    above = [CLASSES.get(names_of(module).get(base, ("", ""))) for base in owner.bases]
    return next((found for base in above if base is not None and (found := attribute(base.name, name))), None)


@cache
def assigned(of: str) -> dict[str, list[tuple[ast.AST, ast.expr | None, ast.expr | None]]]:
    """Return what a class assigns to each attribute of its own, and in which method."""
    module, _, cls = of.rpartition(".")
    found: dict[str, list[tuple[ast.AST, ast.expr | None, ast.expr | None]]] = {}
    for method in CLASSES[module, cls].node.body:
        for inner in ast.walk(method) if isinstance(method, FUNCTIONS) else ():
            for target, value, annotation in assignments(inner):
                if (
                    isinstance(target, ast.Attribute)
                    and isinstance(target.value, ast.Name)
                    and target.value.id == "self"
                ):
                    found.setdefault(target.attr, []).append((method, value, annotation))
    return found


def assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None, ast.expr | None]]:
    """Yield targets with their values and annotations."""
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        yield node.target, node.value, getattr(node, "annotation", None)
    for target in node.targets if isinstance(node, ast.Assign) else ():
        if isinstance(target, ast.Tuple):
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [None] * len(target.elts)  # type: ignore[attr-defined]
            yield from ((each, value, None) for each, value in zip(target.elts, values, strict=True))
        else:
            yield target, node.value, None  # type: ignore[attr-defined]


@cache
def parameters(module: str, function: ast.AST, owner: Known | None) -> dict[str, Known | None]:
    """Return what a function's parameters hold."""
    assert isinstance(function, FUNCTIONS)
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    held = {each.arg: named(module, each.annotation) for each in arguments}
    return {"self": owner, **held} if owner is None or not arguments else held | {arguments[0].arg: owner}


def inferred(value: ast.expr | None, held: dict[str, Known | None], module: str) -> Known | None:
    """Return the class of what an expression yields, where it is plain to see."""
    found = None
    match value:
        case ast.Name(name):
            found = held.get(name)
        case ast.Attribute(above, name) if (owner := inferred(above, held, module)) is not None:
            found = attribute(owner.name, name)
        case ast.Call(ast.Name(name)):
            found = CLASSES.get(names_of(module).get(name, ("", "")))
        case ast.BoolOp(_, either):
            found = next((kind for each in either if (kind := inferred(each, held, module))), None)
        case ast.IfExp(_, this, that):
            found = inferred(this, held, module) or inferred(that, held, module)
        case ast.NamedExpr(_, inner) | ast.Await(inner):
            found = inferred(inner, held, module)
    return found


_COMPONENTS: dict[str, bool] = {}


def is_component(name: str) -> bool:
    """Whether a class does something with others, and is not a value."""
    if name not in _COMPONENTS:
        _COMPONENTS[name] = False
        _COMPONENTS[name] = _is_component(name)
    return _COMPONENTS[name]


def _is_component(name: str) -> bool:
    if name in GROUPS:
        return False
    module, _, cls = name.rpartition(".")
    known = CLASSES[module, cls]
    if "Protocol" in known.bases:
        return any(isinstance(node, FUNCTIONS) and not node.decorator_list for node in known.node.body)
    if re.search(r"Error$", cls) or VALUES & set(known.bases):
        return any(
            (kind := named(module, node.annotation)) is not None and kind.name != name and is_component(kind.name)
            for node in known.node.body
            if isinstance(node, ast.AnnAssign)
        )
    return True


@cache
def functions() -> tuple[tuple[str, list[ast.AST], dict[str, Known | None]], ...]:
    """Return every function with its module and what its names hold."""
    found: list[tuple[str, list[ast.AST], dict[str, Known | None]]] = []
    for module, tree in MODULES.items():
        owners = {
            id(method): CLASSES[module, node.name]
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for method in node.body
        }
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                held = dict(parameters(module, node, owners.get(id(node))))
                nodes = list(ast.walk(node))
                for inner in nodes:
                    for target, value, annotation in assignments(inner):
                        if isinstance(target, ast.Name) and held.get(target.id) is None:
                            held[target.id] = named(module, annotation) or inferred(value, held, module)
                found.append((module, nodes, held))
    return tuple(found)


def reached_through() -> Iterator[str]:
    """Yield the places that reach through two components for something of a third."""
    seen = set()
    for module, nodes, held in functions():
        inside = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
        for node in nodes:
            if not isinstance(node, ast.Attribute) or id(node) in inside:
                continue
            links: list[ast.expr] = [node]
            while isinstance(links[-1], ast.Attribute):
                links.append(links[-1].value)
            if len(links) < 4:
                continue
            through = [inferred(link, held, module) for link in links[1:-1]]
            if len([kind for kind in through if kind is not None and is_component(kind.name)]) >= 2:
                seen.add(f"{module.replace('.', '/')}.py:{node.lineno}: {ast.unparse(node)}")
    yield from sorted(seen)


def completed() -> Iterator[str]:
    """Yield the places that assign to an attribute of a component that another room has."""
    for module, nodes, held in functions():
        for node in nodes:
            for target, _, _ in assignments(node):
                if not isinstance(target, ast.Attribute) or ast.unparse(target.value) == "self":
                    continue
                owner = inferred(target.value, held, module)
                here = module.split(".")[1]
                if owner is not None and owner.room not in {here, *STATE} and is_component(owner.name):
                    yield f"{module.replace('.', '/')}.py:{target.lineno}: {ast.unparse(target)}"


def long_chains() -> Iterator[str]:
    """Yield the places that take more steps than that from what they were handed; a module's names are apart."""
    for module, tree in MODULES.items():
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
        modules = {alias.asname or alias.name.partition(".")[0] for node in imports for alias in node.names}
        for node in (each for each in ast.walk(tree) if isinstance(each, ast.Attribute)):
            text = ast.unparse(node)
            first, *links = text.split(".") if re.fullmatch(r"[\w.]+", text) else ("",)
            if len(links) > LINKS_MAX and first not in modules:
                yield f"{module.replace('.', '/')}.py:{node.lineno}: {text}"


def handed_on() -> Iterator[str]:
    """Yield the methods whose body is one call of the same name on an attribute, or reads it off one."""
    for module, tree in MODULES.items():
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        for owner, method in ((cls, each) for cls in classes for each in cls.body):
            if not isinstance(method, FUNCTIONS):
                continue
            body = method.body[bool(ast.get_docstring(method)) :]
            value = getattr(body[0], "value", None) if len(body) == 1 else None
            value = value.value if isinstance(value, ast.Await) else value
            value = value.func if isinstance(value, ast.Call) else value
            match value:
                case ast.Attribute(ast.Attribute(), method.name):
                    yield f"{module.replace('.', '/')}.py:{method.lineno}: {owner.name}.{method.name}"


def handed_down() -> dict[tuple[str, str], set[str]]:
    """Return for each method of a part the others whose method of the same name it uses."""
    down: dict[tuple[str, str], set[str]] = {}
    for module, nodes, held in functions():
        method, owner = nodes[0], held.get("self")
        if not isinstance(method, FUNCTIONS) or owner is None or "Protocol" in owner.bases:
            continue
        used = (node.value for node in nodes if isinstance(node, ast.Attribute) and node.attr == method.name)
        kinds = (inferred(value, held, module) for value in used)
        down[owner.name, method.name] = {kind.name for kind in kinds if kind is not None and kind is not owner}
    return down


def test_one_name_goes_through_at_most_three_parts() -> None:
    """Who follows an order down to the numbers meets no row of doors with the same name on each."""
    down = handed_down()

    def way(part: str, name: str) -> list[str]:
        return [part, *max((way(each, name) for each in down.get((part, name), ())), key=len, default=[])]

    ways = [(name, way(part, name)) for part, name in down]
    assert len(ways) > 1000
    long = [f"{name}: {' -> '.join(parts)}" for name, parts in ways if len(parts) > LAYERS_MAX]
    assert not long, "\n".join(sorted(long))


@pytest.mark.parametrize(
    ("found", "at_most"),
    [(reached_through, REACHED_THROUGH_MAX), (completed, COMPLETED_MAX), (handed_on, HANDED_ON_MAX), (long_chains, 0)],
    ids=["reached through", "completed", "handed on", "long chains"],
)
def test_parts_are_handed_what_they_work_with(found: object, at_most: int) -> None:
    """Who reads a constructor knows everything that its class depends on, and that nothing is missing after it."""
    places = sorted(set(found()))  # type: ignore[operator]
    assert len(places) <= at_most, "\n".join(places)
