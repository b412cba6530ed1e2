"""Options that several commands have."""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token

from organism.amounts import nanousd
from organism.amounts.units import DIMENSIONS, UNITS
from organism.cli.client import Client, UnreachableError
from organism.cli.output import called_as
from organism.daemon.state_folder import state_folder
from organism.errors import ConfigError

_GROUP = "Which daemon"
_STATE_HELP = "The state folder; .organism beside the configuration unless given."

File = Annotated[Path, Parameter(name=["--file", "-f"], help="The configuration.")]
State = Annotated[Path | None, Parameter(help=_STATE_HELP)]
Json = Annotated[bool, Parameter(help="Print JSON.")]
Labels = Annotated[
    list[str] | None, Parameter(name="--label", help="Kept on the thread's usage, as name=value; may be repeated.")
]
ModeName = Literal["off", "audit", "enforce"]
DEFAULT_FILE = Path("organism.yaml")
TaskText = Annotated[
    str | None, Parameter(help="What to do; - or nothing reads it from standard input, if that is no terminal.")
]

_WHOLE = re.compile(r"-?[0-9]{1,18}")


def _whole(_kind: object, tokens: Sequence[Token]) -> int:
    """Read a whole number as people write it: Python would accept 1_000, 1e3 and the digits of every script too."""
    written = tokens[0].value
    if not _WHOLE.fullmatch(written):
        raise ValueError(f"{written!r} is no whole number; write such as 1000")
    return int(written)


Whole = Annotated[int, Parameter(converter=_whole)]


def task_of(written: str | None) -> str:
    """Return what is to be done: what was written, or what standard input has where nothing was.

    Raises:
        ConfigError: If it is nothing or no text, or is to be read from a terminal.
    """
    if written is not None:
        return written
    if sys.stdin.isatty():
        raise ConfigError("say what to do, or pipe it in: organism run 'the task', or cat task.txt | organism run -")
    if not (text := sys.stdin.read().strip()):
        raise ConfigError("standard input is empty; say what to do")
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8 come as halves of surrogate pairs
        raise ConfigError("standard input is no text in UTF-8; convert it first") from None
    return text


def command_text(words: Sequence[str], file: Path, state: Path | None) -> str:
    """Return a command of ours as it is pasted, with the file and the folder it was not found without.

    Args:
        words: The command and its arguments.
        file: The configuration that was named.
        state: The state folder, if one was.
    """
    options = [] if file == DEFAULT_FILE else ["--file", str(file)]
    options += [] if state is None else ["--state", str(state)]
    return shlex.join((called_as(), *words, *options))


def named_labels(written: Sequence[str]) -> dict[str, str]:
    """Return labels that were written as ``name=value``.

    Raises:
        ConfigError: If one is written differently, or has two values.
    """
    labels: dict[str, str] = {}
    for label in written:
        name, equals, value = label.partition("=")
        if not (name and equals):
            raise ConfigError(f"write a label as name=value, not {label!r}")
        if labels.setdefault(name, value) != value:
            raise ConfigError(f"label {name!r} has two values, {labels[name]!r} and {value!r}; give it one")
    return labels


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DaemonOptions:
    """Which daemon a command talks to: the one that was started with the same two options.

    Attributes:
        file: The configuration.
        state: The state folder, if it is not beside the configuration.
    """

    file: Annotated[
        Path, Parameter(name=["--file", "-f"], help="The configuration the daemon was started with.", group=_GROUP)
    ] = DEFAULT_FILE
    state: Annotated[Path | None, Parameter(help=_STATE_HELP, group=_GROUP)] = None

    @property
    def folder(self) -> Path:
        """The state folder."""
        return state_folder(self.file, self.state)

    def client(self) -> Client:
        """Find the daemon.

        Raises:
            UnreachableError: If none has said where it is.
            ConfigError: If its token cannot be read.
        """
        try:
            return Client.of(self.folder)
        except UnreachableError:
            if self.file.is_file():
                raise
            from organism.config.yaml.nodes import how_to_begin

            remedy = f"there is no {self.file} to start one with; name its --state, or {how_to_begin(self.file)}"
            raise UnreachableError(self.folder, remedy) from None

    def command(self, *words: str) -> str:
        """Return a command to paste that goes to the same daemon from the same folder."""
        return command_text(words, self.file, self.state)


DAEMON = DaemonOptions()
"""The daemon of ``organism.yaml`` in this folder."""

# Errors, and what a daemon says, name a command by its words alone: in quotes, or behind a colon at the end of the
# sentence. Only the command line knows how it was called, so it is the one place that completes them.
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
    program = shlex.quote(called_as())
    options = daemon.command().removeprefix(program)

    def complete(command: str) -> str:
        words = command.split()
        plain = words[1] in _OF_NO_DAEMON or "--state" in words or "--file" in words
        return f"{program}{command.removeprefix('organism')}{'' if plain else options}"

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


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Step:
    """How far limits are to move.

    Attributes:
        tokens: By how many tokens.
        usd: By how many dollars.
        seconds: By how many seconds.
        calls: By how many calls.
        percent: By how many per cent of every limit there is.
    """

    tokens: Annotated[Whole, Parameter(help="By how many tokens.")] = 0
    usd: Annotated[str | None, Parameter(help="By how many dollars.")] = None
    seconds: Annotated[Whole, Parameter(help="By how many seconds.")] = 0
    calls: Annotated[Whole, Parameter(help="By how many calls.")] = 0
    percent: Annotated[Whole, Parameter(help="By how many per cent of every limit there is.")] = 0

    def down(self) -> "Step":
        """Return the same step downwards."""
        usd = None if self.usd is None else f"-{self.usd}"
        return Step(tokens=-self.tokens, usd=usd, seconds=-self.seconds, calls=-self.calls, percent=-self.percent)


NO_STEP = Step()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may use; what is not given stays as it is configured.

    Attributes:
        budget_tokens: Tokens, input and output.
        budget_usd: Dollars.
        budget_calls: Model calls.
        budget_seconds: Seconds it may be open.
    """

    budget_tokens: Annotated[Whole | None, Parameter(help="Tokens it may use.")] = None
    budget_usd: Annotated[str | None, Parameter(help="Dollars it may cost.")] = None
    budget_calls: Annotated[Whole | None, Parameter(help="Model calls it may make.")] = None
    budget_seconds: Annotated[Whole | None, Parameter(help="Seconds it may take.")] = None

    def written(self) -> dict[str, object]:
        """Return the limits that are given as the API takes them; raises as :meth:`given`."""
        self.given()
        named = {unit: getattr(self, f"budget_{unit}") for unit in DIMENSIONS}
        return {unit: amount for unit, amount in named.items() if amount is not None}

    def given(self) -> dict[str, int]:
        """Return the limits that are given, by the name of their field in :class:`Limits`.

        Raises:
            ConfigError: If one is negative or not an amount.
        """
        found: dict[str, int] = {}
        for name, unit in UNITS.items():
            amount: int | str | None = getattr(self, f"budget_{name}")
            if isinstance(amount, str):
                try:
                    found[unit.limit] = nanousd(amount)
                except ValueError as error:
                    raise ConfigError(f"--budget-{name}: {error}") from None
            elif amount is not None:
                if amount < 0:
                    raise ConfigError(f"--budget-{name} must not be negative")
                found[unit.limit] = amount * unit.scale
        return found


NO_BUDGET = Budget()
