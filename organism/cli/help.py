"""Pages of help: sections of two columns, a name and what it does; the overview is made from the table of commands."""

import shutil
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from organism.cli.commands import SECTIONS
from organism.cli.output import print_text

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel

TAGLINE = "Run LLM agents with hard budgets per conversation."

_INDENT = "  "
_NAMES_MAX = 26
"""Names wider than this stand on a line of their own."""

_NO_DEFAULTS = (None, "False", "0")
"""A switch that is off and an amount of nothing are not worth a default in the help."""

_WIDTH_MAX = 100
_WIDTH_MIN = 40


def overview() -> str:
    """Return the page of ``organism --help``: every command with its summary, as wide as the terminal."""
    width = _columns()
    sections = [
        section(title, ((", ".join((one.name, *one.aliases)), one.summary) for one in commands), width)
        for title, commands in SECTIONS.items()
    ]
    options = (
        ("--help, -h", "Show this page, or after a command its options."),
        ("--version", "Print the version."),
        ("--install-completion", "Install completion of commands and options for your shell."),
    )
    head = f"Usage: organism COMMAND [OPTIONS]\n\n{TAGLINE}\n"
    return "\n".join([head, *sections, section("Options", options, width)])


def section(title: str, rows: Iterable[tuple[str, str]], width: int) -> str:
    """Return a heading and rows of a name and a text, the texts below each other.

    Args:
        title: The heading.
        rows: Names and what is said of them.
        width: Columns of the terminal.
    """
    rows = list(rows)
    width = max(_WIDTH_MIN, min(width, _WIDTH_MAX))
    column = max((len(name) for name, _ in rows if len(name) <= _NAMES_MAX), default=0)
    blank = " " * (len(_INDENT) + column + 2)
    lines = [f"{title}:"]
    for name, text in rows:
        first = f"{_INDENT}{name:<{column}}  "
        if len(name) > column:
            lines += textwrap.wrap(name, width, initial_indent=_INDENT, subsequent_indent=_INDENT * 2)
            first = blank
        lines += textwrap.wrap(text, width, initial_indent=first, subsequent_indent=blank) or [first.rstrip()]
    return "\n".join(lines) + "\n"


class HelpPage:
    """Writes the pages of single commands in the form of the overview; the library's port for that."""

    def __call__(self, console: object, options: object, panel: "HelpPanel") -> None:  # noqa: ARG002 - the port
        """Write one group of options or commands."""
        rows = [(_names(entry), _text(entry)) for entry in panel.entries]
        if rows:
            print_text(section(str(panel.title) or "Options", rows, _columns()))

    def render_usage(self, console: object, options: object, usage: object) -> None:  # noqa: ARG002 - the port
        """Write the line of usage."""
        if usage:
            print_text(f"Usage: {str(usage).strip()}\n")

    def render_description(self, console: object, options: object, description: object) -> None:  # noqa: ARG002 - the port
        """Write what the command does: a sentence, and paragraphs where there are some."""
        paragraphs = str(getattr(description, "primary_renderable", description) or "").strip().split("\n\n")
        width = max(_WIDTH_MIN, min(_columns(), _WIDTH_MAX))
        wrapped = [textwrap.fill(" ".join(paragraph.split()), width) for paragraph in paragraphs]
        if any(wrapped):
            print_text("\n\n".join(wrapped) + "\n")


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _names(entry: "HelpEntry") -> str:
    """Return how an option is written; ``--no-`` forms are accepted but not listed."""
    if entry.positional_label:
        return entry.positional_label
    names = ", ".join((*entry.positive_names, *entry.positive_shorts))
    return f"{names} {entry.metavar}" if entry.metavar else names


def _text(entry: "HelpEntry") -> str:
    said = str(getattr(entry.description, "primary_renderable", entry.description) or "").strip()
    notes = [f"[one of: {', '.join(entry.choices)}]"] if entry.choices else []
    notes += [f"[default: {entry.default}]"] if entry.default not in _NO_DEFAULTS else []
    notes += ["[required]"] if entry.required else []
    return " ".join(part for part in (said, *notes) if part)
