"""Options that many commands have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token

File = Annotated[Path, Parameter(name=["--file", "-f"], help="The configuration.", group="Which daemon")]
State = Annotated[Path | None, Parameter(help="The daemon's state folder.", group="Which daemon")]
Json = Annotated[bool, Parameter(help="Print JSON.")]
_WHOLE = re.compile(r"-?[0-9]{1,18}")
DEFAULT_FILE = Path("organism.yaml")


def _whole(_kind: object, tokens: Sequence[Token]) -> int:
    """Read a whole number as people write it: Python would take 1_000, 1e3 and the digits of every script too."""
    written = tokens[0].value
    if not _WHOLE.fullmatch(written):
        raise ValueError(f"{written!r} is no whole number; write such as 1000")
    return int(written)


Whole = Annotated[int, Parameter(converter=_whole)]


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
