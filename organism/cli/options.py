"""Options that many commands have."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

File = Annotated[Path, Parameter(name=["--file", "-f"], help="The configuration.", group="Which daemon")]
State = Annotated[Path | None, Parameter(help="The daemon's state folder.", group="Which daemon")]
Json = Annotated[bool, Parameter(help="Print JSON.")]
DEFAULT_FILE = Path("organism.yaml")
