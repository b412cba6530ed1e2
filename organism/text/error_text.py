"""What to say of errors and values that strangers have made: always text, never an exception, never too long.

An exception's ``__str__`` is foreign code. It may raise, return megabytes or half a surrogate pair, and
what is said of the error goes into logs, events and the journal, none of which may fail for it. It may hold a secret,
such as a header that could not be sent: this is the border at which secrets are taken out, before anything is cut,
because half a secret is not found any more.
"""

import os
import sys
import sysconfig
import traceback
from asyncio import CancelledError
from pathlib import Path
from types import CodeType, FrameType

from organism.concurrency.foreign_code import tame
from organism.error_root import OrganismError
from organism.text.redaction import redact

TEXT_MAX = 2000
"""Characters of what is said of one error."""

_READ_MAX = 4 * TEXT_MAX
"""Characters of a text that are looked at: what is cut from them is none of what is said."""

_NESTED_MAX = 3
_MEMBERS_MAX = 5
_FRAMES_MAX = 5000
_STACK_MAX = 50

_OURS = f"{Path(__file__).parents[1]}{os.sep}"
_INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")})


def shown(value: object, most: int = 60) -> str:
    """Return a value as Python writes it, cut to so many characters."""
    try:
        return cleaned(repr(value), most)
    except BaseException as error:  # noqa: BLE001 - a stranger's code, which may raise anything
        return f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"


def cleaned(text: str, most: int = TEXT_MAX) -> str:
    """Return text without secrets that any encoding can hold, cut to so many characters; its class is `str` itself."""
    exact = str.__getitem__(text, slice(0, max(most + 1, _READ_MAX)))
    exact = redact(exact.encode("utf-8", "backslashreplace").decode())
    return exact if len(exact) <= most else f"{exact[:most]} [cut]"


def in_one_line(text: str, most: int = TEXT_MAX) -> str:
    """Return text as :func:`cleaned` does, with every run of white space and line breaks as one space."""
    return cleaned(" ".join(str.__getitem__(text, slice(0, _READ_MAX)).split()), most)


def describe(error: BaseException) -> str:
    """Say an error in one line: ours as they are, others with their type."""
    return in_one_line(_said(error, 0))


def with_type(error: BaseException) -> str:
    """Say an error in one line as ``Type: text``, ours too, so that errors can be sorted by type."""
    return in_one_line(f"{type(error).__name__}: {text_of(error)}")


def _said(error: BaseException, nested: int) -> str:
    if isinstance(error, BaseExceptionGroup) and nested < _NESTED_MAX:
        return "; ".join(_said(inner, nested + 1) for inner in _members(error))
    text = text_of(error)
    if issubclass(type(error), OrganismError):
        return text
    if isinstance(error, CancelledError) and not text:
        text = "it awaited what others had cancelled, or cancelled its own task"
    return f"{type(error).__name__}: {text}"


def _members(group: "BaseExceptionGroup[BaseException]") -> tuple[BaseException, ...]:
    """Return the first errors of a group, each as one that can be looked at."""
    return tuple(map(tame, BaseExceptionGroup.exceptions.__get__(group)[:_MEMBERS_MAX]))


def text_of(error: BaseException) -> str:
    """Return what an error says, without its type."""
    try:
        return cleaned(str(error))
    except BaseException as raised:  # noqa: BLE001 - a stranger's code, which may raise anything
        return f"(what it says cannot be shown: {type(raised).__name__})"


def raised_at(error: BaseException) -> str | None:
    """Return ``file:line`` of the innermost line of a stranger's own code that an error has passed.

    Neither the line in this package that noticed a mistake, nor one in a library: its author needs the place.
    Not a traceback: rendered with its locals it would put prompts into the log.
    """
    if isinstance(error, BaseExceptionGroup) and (members := _members(error)):
        return next(filter(None, map(raised_at, members)), None)
    found: tuple[bool, str] | None = None
    trace = error.__traceback__
    for _ in range(_FRAMES_MAX):
        if trace is None:
            break
        file = trace.tb_frame.f_code.co_filename
        installed = file.startswith(_INSTALLED)
        if not file.startswith(_OURS) and (found is None or found[0] or not installed):
            found = installed, f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return cleaned(found[1]) if found is not None else None


def stack_of(error: BaseException) -> str:
    """Write a traceback with the places an error has passed and its type, and neither its text nor any variable."""
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < _MEMBERS_MAX:
        seen.add(id(current))
        above = [] if not lines else ["", "raised while this was handled:", ""]
        frames = traceback.format_list(traceback.extract_tb(current.__traceback__, limit=-_STACK_MAX))
        lines = ["Traceback (most recent call last):", "".join(frames).rstrip(), type(current).__name__, *above, *lines]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n".join(lines)


def defined_at(function: object) -> str | None:
    """Return ``file:line`` of where a function was written, if it was written in Python."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if not isinstance(code, CodeType):
        code = getattr(vars(type(function)).get("__call__"), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if isinstance(code, CodeType) else None


def running_at(thread_ident: int | None) -> str | None:
    """Return ``file:line`` of where a worker thread is right now, in a stranger's code if it is in any."""
    frame: FrameType | None = sys._current_frames().get(thread_ident or 0)  # noqa: SLF001 - documented, despite its name
    innermost = None
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_OURS, *_INSTALLED)):
            return f"{file}:{frame.f_lineno}"
        innermost = innermost or f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return innermost
