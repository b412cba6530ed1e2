"""What people read: a console that is kind to pipes, in which text from outside is text and nothing else.

Text from outside (labels, names, answers, errors) comes into what is drawn through a template's places, see
:func:`markup`, or as a cell of a :class:`Table`: there it becomes one line, and neither markup nor control characters.
What is drawn is looked over once more as it leaves. No other module knows the library that draws.
"""

import os
import re
import sys
from collections.abc import Container, Iterable, Iterator

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table as _RichTable
from rich.text import Text

from organism.text.plain_text import one_line, plain

__all__ = ["Live", "Markup", "Table", "Terminal", "drawn", "markup", "underlined"]

_QUOTE = "    | "
_PIPE_WIDTH = 100_000
_HEADING_WIDTH = 80


class Markup(str):
    """Text whose markup is our own; made by :func:`markup` from templates that are written in the code."""

    __slots__ = ()


Drawn = Markup | _RichTable | Text
"""What can be drawn."""


def markup(template: str, *values: object, **named: object) -> Markup:
    """Fill a template. What goes into its places is text: one line, without markup, unless it is ours.

    Args:
        template: Markup, with places as :meth:`str.format` has them; written in the code, never put together.
        values: What goes into them.
        named: What goes into places with names.
    """
    return Markup(template.format(*map(_safe, values), **{name: _safe(value) for name, value in named.items()}))


def _safe(value: object) -> object:
    if isinstance(value, Markup | int | float):
        return value
    # A backslash at the end would take the meaning of the markup that follows.
    return escape(one_line(str(value)))


class Table(_RichTable):
    """A table without lines. Where its words and numbers do not fit side by side, each row is a list of its own.

    Args:
        headings: Names of the columns.
        left: Which of them hold words; the others hold numbers, but for the first.
        fold: Break cells rather than hide anything; the rows stay side by side.
        title_column: Never break the first column.
    """

    def __init__(
        self, *headings: str, left: Container[str] = (), fold: bool = False, title_column: bool = False
    ) -> None:
        super().__init__(box=None, pad_edge=False, header_style="bold")
        self._is_folded = fold
        for place, heading in enumerate(headings):
            self.add_column(
                _text(heading),
                justify="left" if place == 0 or heading in left else "right",
                overflow="fold" if fold else "ellipsis",
                no_wrap=title_column and place == 0,
            )

    def add_row(self, *cells: RenderableType | None, style: str | None = None, end_section: bool = False) -> None:  # type: ignore[override]
        """Add cells: text of others as it is, in one line."""
        super().add_row(
            *(_text(cell) if isinstance(cell, str) else cell for cell in cells), style=style, end_section=end_section
        )

    def fitting(self, console: Console) -> _RichTable:
        """Return this table, or its rows one below the other where a cell would be cut: half a sum is a wrong one."""
        if self._is_folded or self._narrowest(console) <= console.width:
            return self
        rows = _RichTable.grid("", "", padding=(0, 2, 0, 0))
        rows.columns[1].overflow = "fold"
        for place, cells in enumerate(zip(*(column.cells for column in self.columns), strict=True)):
            if place:
                rows.add_row()
            for column, cell in zip(self.columns, cells, strict=True):
                if not isinstance(cell, Text) or cell.plain:
                    rows.add_row(column.header, cell)
        return rows

    def _narrowest(self, console: Console) -> int:
        """Return the width in which no cell is cut; a column that is never broken takes all of its own."""
        options = console.options.update(width=_PIPE_WIDTH)
        unbroken = (self._measure_column(console, options, column) for column in self.columns if column.no_wrap)
        spaces = sum(measured.maximum - measured.minimum for measured in unbroken)
        return self.__rich_measure__(console, options).minimum + spaces


_COMMAND = re.compile(r"(?:: |['`])\S*organism [a-z]")
"""A command of ours, as texts name it to be copied."""


class Terminal(Console):
    """A console for people. In a file or a pipe a message is one line, however long.

    Args:
        stderr: Write to standard error, because standard output is for programs.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        in_terminal = (sys.stderr if stderr else sys.stdout).isatty()
        # In a pipe nothing is wrapped: readers there go by lines, and a wrapped cell would begin one.
        width = None if in_terminal else _PIPE_WIDTH
        super().__init__(stderr=stderr, highlight=False, emoji=False, soft_wrap=not in_terminal, width=width)

    @property
    def columns(self) -> int:
        """How many characters fit into a line; 0 where nothing is broken."""
        return 0 if self.soft_wrap else self.width

    def say(self, template: str, *values: object, one_piece: bool = False, **named: object) -> None:
        """Print a line; see :func:`markup`.

        Args:
            template: Markup.
            values: What goes into its places.
            one_piece: Do not break it at the terminal's edge, because it is to be copied; so is what names a command.
            named: What goes into places with names.
        """
        line = _text(markup(template, *values, **named))
        self.print(line, soft_wrap=one_piece or bool(_COMMAND.search(line.plain)) or None)

    def head(self, title: str) -> None:
        """Print a line that parts what follows from what was before."""
        self.rule(title) if not self.soft_wrap else self.print(Text(f" {title} ".center(_HEADING_WIDTH, "─")))

    def show(self, *parts: Drawn) -> None:
        """Print tables, and lines that are made already."""
        for part in parts:
            if isinstance(part, str):
                self.print(_text(part))
            else:
                self.print(part.fitting(self) if isinstance(part, Table) and not self.soft_wrap else part)

    def say_as_it_is(self, text: str) -> None:
        """Print text of several lines that is meant for people, such as an answer."""
        self.print(Text(plain(text)))

    def quote(self, text: str) -> None:
        """Print text of several lines as a quotation: each line begins with a mark, so that none looks like ours."""
        width = max(20, self.width - len(_QUOTE))
        for line in plain(text).split("\n"):
            pieces = [Text(line)] if self.soft_wrap else Text(line).wrap(self, width)
            for piece in pieces or [Text()]:
                self.print(Text(_QUOTE) + piece, soft_wrap=True)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Draw, and replace what a terminal could obey in all that is no control of our own."""
        for segment in super().render(renderable, options):
            harmless = segment.control or (clean := plain(segment.text)) == segment.text
            yield segment if harmless else Segment(clean, segment.style)

    def on_broken_pipe(self) -> None:
        """Go on in silence: that the reader has gone, as ``| head`` does, is not the failure of what is running."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def drawn(parts: Iterable[Drawn]) -> Group:
    """Put parts below each other, for a live view."""
    return Group(*(_text(part) if isinstance(part, str) else part for part in parts))


def underlined(line: Markup, places: Iterable[int]) -> Text:
    """Return a line with single characters underlined."""
    text = _text(line)
    for place in places:
        text.stylize("underline", place, place + 1)
    return text


def _text(text: str) -> Text:
    """Return text as it is drawn: ours with its markup, others' without."""
    return Text.from_markup(text, emoji=False) if isinstance(text, Markup) else Text(one_line(text))
