"""Commands that texts of deeper rooms name, made so that they work when they are pasted where the user stands.

An error, or what a daemon says, names a command by its words alone: ``'organism ledger verify'`` in quotes, or behind a
colon at the end of the sentence. Only the command line knows with which file and state folder it was called, so it is
the one place that completes them. Commands that the command line writes itself are complete already; see
:func:`organism.cli.options.command_text`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from organism.cli.options import DEFAULT_FILE, DaemonOptions

_QUOTED = re.compile(r"'(organism [^']+)'")
_LAST = re.compile(r"(?<=: )organism [a-z][^\n]*$")
_OPTIONS = {"--file": "file", "-f": "file", "--state": "state"}
_OF_NO_DAEMON = frozenset({"init", "models", "dashboards", "version", "help", "exec", "--help"})
"""Commands that take neither option."""


def pasteable(text: str, daemon: DaemonOptions) -> str:
    """Return a text with the options its commands are not found without.

    Args:
        text: What is said.
        daemon: The file and the state folder that were named.
    """
    options = daemon.command().removeprefix("organism").strip()
    if not options:
        return text

    def complete(command: str) -> str:
        words = command.split()
        if words[1] in _OF_NO_DAEMON or "--state" in words or "--file" in words:
            return command
        return f"{command} {options}"

    def quoted(found: re.Match[str]) -> str:
        command = complete(found[1])
        mark = "`" if "'" in command else "'"
        return f"{mark}{command}{mark}"

    return _LAST.sub(lambda found: complete(found[0]), _QUOTED.sub(quoted, text))


def place_of(arguments: Sequence[str]) -> DaemonOptions:
    """Return the file and the state folder that a command line names; what is behind ``--`` is another program's."""
    found: dict[str, str] = {}
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for place, argument in enumerate(own):
        name, equals, value = argument.partition("=")
        if name in _OPTIONS:
            found[_OPTIONS[name]] = value if equals else "".join(own[place + 1 : place + 2])
    state = found.get("state")
    file = Path(found.get("file", DEFAULT_FILE))
    return DaemonOptions(file=file, state=None if state is None else Path(state))
