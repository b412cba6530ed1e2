"""``organism daemon``: run until stopped, controlled over a local HTTP API."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from organism.cli import exit_codes
from organism.cli.options import DEFAULT_FILE, File, Whole


def daemon(
    *,
    file: File = DEFAULT_FILE,
    state: Path | None = None,
    port: Annotated[Whole | None, Parameter(validator=validators.Number(gte=0, lte=65535))] = None,
    log_format: Literal["console", "json"] | None = None,
) -> int:
    """Serve the HTTP API, the gateway and the dashboard until stopped.

    Args:
        state: Where the token and the daemon's address are kept; .organism beside the configuration unless given.
        port: The port to listen on; 0 takes any.
        log_format: For people or for programs.
    """
    from organism.daemon.process import run_daemon  # heavy; the page of help does not need it

    run_daemon(file, state, port, log_format, dict(os.environ))
    return exit_codes.OK
