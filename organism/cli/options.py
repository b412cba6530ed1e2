"""Options that several commands have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token

from organism.cli.client import Client
from organism.daemon.state_folder import state_folder

_GROUP = "Which daemon"
_STATE_HELP = "The state folder; .organism beside the configuration unless given."

File = Annotated[Path, Parameter(name=["--file", "-f"], help="The configuration.")]
State = Annotated[Path | None, Parameter(help=_STATE_HELP)]
Json = Annotated[bool, Parameter(help="Print JSON.")]
ModeName = Literal["off", "audit", "enforce"]
DEFAULT_FILE = Path("organism.yaml")

_WHOLE = re.compile(r"-?[0-9]{1,18}")


def _whole(_kind: object, tokens: Sequence[Token]) -> int:
    """Read a whole number as people write it: Python would accept 1_000, 1e3 and the digits of every script too."""
    written = tokens[0].value
    if not _WHOLE.fullmatch(written):
        raise ValueError(f"{written!r} is no whole number; write such as 1000")
    return int(written)


Whole = Annotated[int, Parameter(converter=_whole)]


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
        return Client.of(self.folder)


DAEMON = DaemonOptions()
"""The daemon of ``organism.yaml`` in this folder."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Step:
    """How far limits are to move.

    Attributes:
        tokens: So many tokens.
        usd: So many dollars.
        seconds: So many seconds.
        calls: So many calls.
        percent: So many per cent of every limit there is.
    """

    tokens: Annotated[Whole, Parameter(help="So many tokens.")] = 0
    usd: Annotated[str | None, Parameter(help="So many dollars.")] = None
    seconds: Annotated[Whole, Parameter(help="So many seconds.")] = 0
    calls: Annotated[Whole, Parameter(help="So many calls.")] = 0
    percent: Annotated[Whole, Parameter(help="So many per cent of every limit there is.")] = 0

    def down(self) -> "Step":
        """Return the same step downwards."""
        usd = None if self.usd is None else f"-{self.usd}"
        return Step(tokens=-self.tokens, usd=usd, seconds=-self.seconds, calls=-self.calls, percent=-self.percent)


NO_STEP = Step()
