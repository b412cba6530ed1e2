"""Where commands write, but for what is drawn: lines and JSON to standard output, complaints to standard error.

Only this module and :mod:`organism.cli.terminal` write at all, so that what comes from outside is harmless wherever it
is printed. A test holds every other module to it. Heavy modules are imported where they are used: the overview of
``organism --help`` is printed here.
"""

import os
import sys
from collections.abc import Iterable
from types import TracebackType

from organism.text.plain_text import csv_lines, one_line, plain, visible_json

_PROGRAM = "organism"
_DONE = 0
"""The exit code of a command that has printed what it had to."""


def print_line(text: str) -> int:
    """Print a line, such as an id or a secret that was asked for."""
    return _print(one_line(text))


def print_text(text: str) -> int:
    """Print text of several lines, such as an answer."""
    return _print(plain(text))


def print_json(value: object) -> int:
    """Print a value as one line of JSON; what a terminal could obey is written as an escape in it."""
    import msgspec

    return _print(visible_json(msgspec.json.encode(value).decode()))


def print_json_text(text: str) -> int:
    """Print JSON that is written already: letter by letter, because its hash may be known, but not to a terminal."""
    return _print(visible_json(text) if sys.stdout.isatty() else text)


def print_answer(answer: object, text: str, *, as_json: bool) -> int:
    """Print what was asked for as JSON, or what there is to say of it."""
    return print_json(answer) if as_json else print_text(text)


def print_csv(rows: Iterable[Iterable[object]]) -> int:
    """Print comma-separated values."""
    for row in rows:
        sys.stdout.write(csv_lines([row]))
    return _DONE


def print_lines(lines: list[str], *, as_json: bool) -> int:
    """Print each on a line, or all as a JSON array."""
    return print_json(lines) if as_json else _print("\n".join(map(one_line, lines)))


def note(text: str) -> None:
    """Say something in a line that is no result, on standard error."""
    from organism.text.error_text import cleaned

    sys.stderr.write(f"{one_line(cleaned(text))}\n")


def called_as() -> str:
    """Return how this program is called from where the user stands: by its name where the shell finds it so.

    An environment need not be active: then it is the path that was typed.
    """
    import shutil

    typed = sys.argv[0] if sys.argv else ""
    if os.path.basename(typed) != _PROGRAM or os.sep not in typed:  # noqa: PTH119 - imported for every command
        return _PROGRAM
    found = shutil.which(_PROGRAM)
    return _PROGRAM if found is not None and os.path.samefile(found, typed) else typed  # noqa: PTH121


def note_json(value: object) -> None:
    """Say something as one line of JSON on standard error, where standard output is another program's."""
    import msgspec

    sys.stderr.write(visible_json(msgspec.json.encode(value).decode()) + "\n")


def complain(text: str) -> None:
    """Say what is wrong in a line, on standard error."""
    note(f"organism: {text}")


def agreed(question: str) -> bool:
    """Ask the person at the terminal; only a yes is one."""
    sys.stderr.write(f"{one_line(question)}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def show_cursor() -> None:
    """Bring back a cursor that a live view may have hidden."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")


def write_anything() -> None:
    """Let what a terminal's encoding cannot write be written as an escape, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")


def write_bug(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Write the traceback of what nobody has thought of: as Python does, but harmless, and without secrets."""
    import traceback

    from organism.text.redaction import redact

    sys.stderr.write(plain(redact("".join(traceback.format_exception(error)))))


def _print(text: str) -> int:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    return _DONE
