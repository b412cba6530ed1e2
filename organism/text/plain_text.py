"""Text from outside made harmless for its readers: in a terminal, in a line of a log, in a table. Pure.

A label, an answer or an error may hold sequences that a terminal obeys (move, clear, set the clipboard), marks that
turn the direction of writing around so that a line reads as another, characters that nobody sees, and line breaks of
seven kinds that would begin a line of their own. Each is shown as a replacement character, or as a space.
"""

import csv
import io
import re
from collections.abc import Iterable

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_UNSEEN = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 but tab, line feed and carriage return; DEL; C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, fillers, marks of direction
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # zero width space, directions, separators, invisible operators
    "\u3164\ufeff\uffa0\ufff0-\ufffb"  # fillers, byte order mark, annotations
    "\ud800-\udfff"  # half characters, which no encoding can write
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # formats of shorthand and music, tags
    "]"
)
"""What is written and not seen. Joiners (U+200C, U+200D) stay: several scripts and many emoji are made of them."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters by which a spreadsheet takes a cell for a formula, and runs it."""


def counted(number: int, one: str, several: str = "", *, signed: bool = False) -> str:
    """Write how many there are of something: ``1 call``, ``2,000 calls``.

    Args:
        number: How many.
        one: What one is called, with its verb if there is one.
        several: What several are called; with an ``s`` at its end unless given.
        signed: Write a sign before what is added too.
    """
    return f"{number:{'+,' if signed else ','}} {one if abs(number) == 1 else several or f'{one}s'}"


def plain(text: str) -> str:
    """Return text without control characters: no answer moves the cursor, sets the title or hides what was said."""
    return _UNSEEN.sub(_REPLACEMENT, text.replace("\r\n", "\n").replace("\r", _REPLACEMENT))


def lines_of(text: str) -> list[str]:
    """Cut text into lines where editors and protocols end one: at a line feed, a carriage return, or both.

    ``str.splitlines`` also cuts at form feeds, file separators, U+0085, U+2028 and their like, which are characters of
    a value.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def one_line(text: str) -> str:
    """Return text in one line, without control characters."""
    return " ".join(plain(text).split())


def visible_json(text: str) -> str:
    """Return JSON in which what a terminal could obey is written as an escape: the same values, in harmless letters."""
    return _UNSEEN.sub(lambda found: "".join(f"\\u{unit:04x}" for unit in _units(found[0])), text)


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Return comma-separated values: text of others is one line a cell, and never a formula."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    line = one_line(value)
    return f"'{line}" if line.startswith(_FORMULA) or value.startswith(_FORMULA) else line


def _units(character: str) -> tuple[int, ...]:
    """Return the UTF-16 code units of a character, as JSON's escapes have it."""
    code = ord(character)
    if code < 0x10000:  # noqa: PLR2004 - the first that takes two
        return (code,)
    return (0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code - 0x10000 & 0x3FF))
