"""What people read: a console that is kind to pipes, and text from models that cannot play with the terminal."""

import os
import sys

from rich.console import Console

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_KEPT = frozenset("\n\t")
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
_DIRECTIONS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
"""Marks that turn the direction of writing around, and so can make a line read as another."""

_HARMLESS: dict[int, str | None] = {
    **{code: _REPLACEMENT for code in (*_CONTROLS, *_DIRECTIONS) if chr(code) not in _KEPT},
    ord("\r"): None,
}


def plain(text: str) -> str:
    """Return text without control characters: no answer moves the cursor, sets the title or hides what was said."""
    return text.translate(_HARMLESS)


def one_line(text: str) -> str:
    """Return text in one line, without control characters."""
    return " ".join(plain(text).split())


class Terminal(Console):
    """A console for people. In a file or a pipe a message is one line, however long.

    Args:
        stderr: Write to standard error, because standard output is for programs.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        in_terminal = (sys.stderr if stderr else sys.stdout).isatty()
        super().__init__(stderr=stderr, highlight=False, soft_wrap=not in_terminal)

    def on_broken_pipe(self) -> None:
        """Go on in silence: that the reader has gone, as ``| head`` does, is not the failure of what is running."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
