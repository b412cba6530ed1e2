"""The ``organism`` command: arguments in, a command called, an exit code out.

Exit codes: 0 done, 1 the work failed, 2 the command line or the configuration is wrong, 3 the budget is exhausted,
4 no daemon answers or the work waits for a person, 126 what is to be run under a budget is no program, 127 it is not
there, 130 interrupted. The module of a command is imported when the command is called, and the library that reads
command lines only for what is more than the overview, so ``organism --help`` answers at once.
"""

import errno
import os
import sys
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING

from organism.cli import exit_codes
from organism.cli.commands import SYNONYMS, every_command
from organism.cli.help import overview
from organism.cli.output import called_as, complain, print_text, write_anything, write_bug

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

_OVERVIEW: tuple[list[str], ...] = ([], ["--help"], ["-h"], ["help"])

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a disk that is full."""

_READ_INPUT = ("run", "ask", "send")
"""Commands that read their task from standard input where none is given, or a -."""

_COMPLETE = "__complete"
"""With it a shell's completion calls back for names of threads, agents and models."""

_FLAGS_OF_EXEC = ("--json", "--no-json", "--help", "-h")
"""Its options that take no value."""


@cache
def command_tree() -> "App":
    """Return the tree of commands; the modules of most are not imported yet."""
    from cyclopts import App

    from organism import __version__
    from organism.cli.help import TAGLINE, HelpPage

    tree = App(
        name="organism",
        help=TAGLINE,
        version=__version__,
        version_flags=["--version"],
        help_format="plaintext",
        help_formatter=HelpPage(),
    )
    for command in every_command():
        of_group = {"help": command.summary} if command.target.endswith(":app") else {}
        target = f"organism.cli.commands.{command.target}"
        tree.command(target, name=command.name, alias=command.aliases, **of_group)
    tree.register_install_completion_command()
    return tree


def main() -> None:
    """Run the command line and leave with its exit code."""
    from organism.daemon.process_exit import allow

    write_anything()
    sys.excepthook = write_bug
    allow()
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run a command line and return its exit code; errors that somebody can correct are one line, no traceback."""
    try:
        return _call(arguments)
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has closed it, as `organism events | head` does; that is not our failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OK
    except Exception as error:  # noqa: BLE001 - what is no error of organism's own is raised again
        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest of the output fails likewise
            complain(f"what is printed cannot be written: {error.strerror}")
            return exit_codes.FAILED
        from organism.cli.options import pasteable, place_of

        return exit_codes.explain(error, lambda sentence: pasteable(sentence, place_of(arguments)))


def _call(arguments: list[str]) -> int:
    if arguments in _OVERVIEW:
        return print_text(overview())
    if arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    if (unknown := _unknown(arguments[0])) is not None:
        complain(unknown)
        return exit_codes.USAGE
    from cyclopts import CycloptsError

    if arguments[0] == "exec":
        arguments = _programs_apart(arguments)
    elif arguments[0] in _READ_INPUT:  # to the parser a lone - is an option that it does not know
        arguments = [each for each in arguments if each != "-"]
    try:
        code = command_tree()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        words = " ".join((called_as(), *(error.command_chain or ())))
        wrong = _lacking(error, words) or str(error).rstrip(".")
        complain(f"{wrong}. See: {words} --help")
        return exit_codes.USAGE
    return code if isinstance(code, int) else exit_codes.OK


def _lacking(error: "CycloptsError", words: str) -> str | None:
    """Say which argument a command lacks that is written without a name; the parser would call it an option."""
    from cyclopts import MissingArgumentError

    argument = error.argument if isinstance(error, MissingArgumentError) and error.keyword is None else None
    if argument is None or argument.index is None or argument.tokens:
        return None
    return f"{words} needs {argument.name.lstrip('-').upper()}"


def _programs_apart(arguments: list[str]) -> list[str]:
    """Put ``--`` before the program that ``exec`` is given: what follows its name is its own, as with ``env``."""
    place = 1
    while place < len(arguments) and arguments[place].startswith("-"):
        option = arguments[place]
        if option == "--":
            return arguments
        place += 1 if "=" in option or option in _FLAGS_OF_EXEC else 2
    return [*arguments[:place], "--", *arguments[place:]] if place < len(arguments) else arguments


def _unknown(name: str) -> str | None:
    """Say that there is no such command and which was probably meant; ``None`` for a command or an option."""
    commands = every_command()
    names = [name for command in commands for name in (command.name, *command.aliases)]
    if name.startswith("-") or name in (*names, _COMPLETE):
        return None
    meant = [command for command, tried in SYNONYMS.items() if name in tried]
    meant = meant or get_close_matches(name, names, n=2)
    hint = f"did you mean {' or '.join(map(repr, meant))}?" if meant else f"see: {called_as()} --help"
    return f"unknown command {name!r}; {hint}"
