"""Puts what a changed source says into functions and constants that are imported already."""

import gc
import sys
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from types import CodeType, FunctionType
from typing import Any

_OPTIMIZED = 0x1
"""The flag of code that is a function's, not a class's or a module's."""

_IN_A_ROW = ("<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>")
"""Functions to Python, of which nobody has hold once they have run."""

_PLAIN = (int, float, str, bytes, Decimal, Fraction, type(None))

Key = tuple[str, int]
"""A function within its module: the qualified name, and which of that name."""


class NotAliveError(Exception):
    """A change is of something that an import decides, such as a class: it takes a new process to try it."""


class Transplant:
    """A module as it is imported.

    Args:
        name: Of the module, which is imported.
        source: What it was imported from.
    """

    def __init__(self, name: str, source: str) -> None:
        self._module = sys.modules[name]
        self._file = str(self._module.__file__)
        self._before = compile(source, self._file, "exec", dont_inherit=True)
        keys = {(code.co_qualname, code.co_firstlineno): key for key, code in functions(self._before)}
        # Wherever they are: behind properties and decorators, and in modules that have imported them by name.
        self._alive = [
            (each, key)
            for each in gc.get_objects()
            if isinstance(each, FunctionType)
            and each.__code__.co_filename == self._file
            and (key := keys.get((each.__code__.co_qualname, each.__code__.co_firstlineno))) is not None
        ]

    def is_within_functions(self, source: str) -> bool:
        """Whether a changed source differs in the bodies of functions alone."""
        return levels(compile(source, self._file, "exec", dont_inherit=True)) == levels(self._before)

    def put(self, source: str) -> None:
        """Have this process do what a changed source says.

        Raises:
            NotAliveError: If that takes a new import.
        """
        changed = compile(source, self._file, "exec", dont_inherit=True)
        if levels(changed) != levels(self._before):
            self._put_constants(changed)
            return
        codes = dict(functions(changed))
        for function, key in self._alive:
            code = codes[key]
            if code.co_freevars != function.__code__.co_freevars:
                raise NotAliveError(code.co_qualname)
            function.__code__ = code

    def _put_constants(self, changed: CodeType) -> None:
        if levels(changed)[1:] != levels(self._before)[1:]:
            raise NotAliveError("the body of a class")
        fresh: dict[str, Any] = {"__name__": self._module.__name__, "__file__": self._file}
        exec(changed, fresh)  # noqa: S102 - our own source
        there = vars(self._module)
        others = [
            name for name, value in fresh.items() if name in there and is_plain(value) and not same(value, there[name])
        ]
        if not others:
            raise NotAliveError("what an import makes")
        for name in others:
            old = there[name]
            for module in list(sys.modules.values()):
                if vars(module).get(name) is old:
                    setattr(module, name, fresh[name])


def functions(code: CodeType) -> Iterator[tuple[Key, CodeType]]:
    """Yield the functions of a module, in the order of their lines."""
    count: dict[str, int] = {}
    for each in _inner(code):
        if each.co_flags & _OPTIMIZED:
            number = count[each.co_qualname] = count.get(each.co_qualname, -1) + 1
            yield (each.co_qualname, number), each


def levels(code: CodeType) -> list[object]:
    """Return what an import of a module does, without the bodies of functions: its own first, then each class's."""
    return [
        (each.co_code, each.co_names, [repr(const) for const in each.co_consts if not isinstance(const, CodeType)])
        for each in _imported(code)
    ]


def _imported(code: CodeType) -> Iterator[CodeType]:
    """Yield what runs at an import: the module, its classes, and what these make in a row."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType) and (not const.co_flags & _OPTIMIZED or const.co_name in _IN_A_ROW):
            yield from _imported(const)


def _inner(code: CodeType) -> Iterator[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _inner(const)


def is_plain(value: object) -> bool:
    """Whether a value is data that means the same in whichever class's hands."""
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(each) for key, each in value.items())
    if isinstance(value, tuple | list | set | frozenset):
        return all(map(is_plain, value))
    return type(value) is bool or type(value) in _PLAIN


def same(one: object, other: object) -> bool:
    """Whether two values are the same; ``True`` is not ``1``."""
    return type(one) is type(other) and one == other
