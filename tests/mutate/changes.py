"""Changes of single operators that can be made to a module: found in its tree, made in its text."""

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Div: ast.Mult,
}


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        file: The module.
        within: The function or class it is made in.
        line: The first line.
        last: The last line.
        text: What becomes what.
        source: The module with it.
    """

    file: str
    within: str
    line: int
    last: int
    text: str
    source: str

    @property
    def key(self) -> str:
        """What it is known by, whatever line it stands on."""
        return f"{self.file}::{self.within}: {self.text}"

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.file}:{self.line} {self.within}"


def changes_of(file: str, source: str) -> list[Change]:
    """Return the changes that can be made to a module, in the order of its lines."""
    found = []
    for within, node, fresh in _variants(ast.parse(source)):
        old, new = ast.unparse(node), "pass" if isinstance(fresh, ast.Pass) else f"{ast.unparse(fresh)}"
        if isinstance(node, ast.expr):
            new = f"({new})"
        edited = _replaced(source, node, new)
        text, last = f"{_short(old)} -> {_short(new)}", node.end_lineno or node.lineno
        found.append(Change(file, within, node.lineno, last, text, edited))
    return found


def _short(text: str) -> str:
    return " ".join(text.split())


def _replaced(source: str, node: ast.expr | ast.stmt, new: str) -> str:
    """Put text in the place of a node; columns of the tree count bytes."""
    lines = source.encode().splitlines(keepends=True)
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before = b"".join(lines[:first]) + lines[first][: node.col_offset]
    after = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])
    return (before + new.encode() + after).decode()


def _variants(node: ast.AST, within: str = "") -> Iterator[tuple[str, ast.expr | ast.stmt, ast.expr | ast.stmt]]:
    """Yield each node that can be changed, with what it becomes."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue  # types are read by nobody at run time, or by msgspec, which would refuse the module
        if name == "keywords" and isinstance(node, ast.ClassDef):
            continue  # that a value is frozen: nobody assigns to it, which ruff and mypy watch
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Raise) or _is_quiet(child):
                continue
            inner = within
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{within}.{child.name}".lstrip(".")
            if isinstance(child, ast.expr | ast.stmt):
                yield from ((inner, child, fresh) for fresh in _changed(child))
            yield from _variants(child, inner)


def _is_quiet(node: ast.AST) -> bool:
    """Whether a node is a docstring, or only there for a checker of types."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _changed(node: ast.expr | ast.stmt) -> Iterator[ast.expr | ast.stmt]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARED:
            fresh = deepcopy(node)
            fresh.ops = [_COMPARED[type(op)]()]
            yield fresh
        case ast.Compare(ops=[first, second]) if type(first) in _COMPARED and type(second) in _COMPARED:
            for place, op in enumerate((first, second)):
                fresh = deepcopy(node)
                fresh.ops[place] = _COMPARED[type(op)]()
                yield fresh
        case ast.BinOp(op=operator) if type(operator) in _COMPUTED:
            yield ast.BinOp(node.left, _COMPUTED[type(operator)](), node.right)
        case ast.BoolOp(op=ast.And()):
            yield ast.BoolOp(ast.Or(), node.values)
        case ast.BoolOp(op=ast.Or()):
            yield ast.BoolOp(ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(number)):
            yield ast.Constant(number + 1)
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield ast.Pass()
