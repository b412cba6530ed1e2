"""``organism exec``: any program under a budget, by a gateway of its own."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter
from msgspec.structs import replace

from organism.budget.scopes import limits_over_time
from organism.cli.options import DEFAULT_FILE, NO_BUDGET, Budget, Labels, named_labels
from organism.cli.output import complain
from organism.cli.programs.child import check_startable
from organism.cli.programs.private_gateway import Purse, program_name, read_price
from organism.cli.programs.session import ProgramRun, Warn, run_and_leave
from organism.cli.programs.upstreams import configuration
from organism.config.build.limits import budget_plan
from organism.config.dotenv import read_dotenv
from organism.config.load import load_config
from organism.config.schema.root import Config
from organism.daemon.process import keep_no_core
from organism.daemon.state_folder import FolderOwnedError, read_address, state_folder
from organism.errors import ConfigError
from organism.ids import RandomIds
from organism.runtime.process_loop import process_options
from organism.stores.private_files import make_private_folder, write_private
from organism.telemetry.logs import LogSettings, set_up

_TEMPORARY = "organism-exec-"
_ID_LETTERS = 13
"""Of a run's thread: short enough to type."""


def execute(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    budget: Budget = NO_BUDGET,
    model: str | None = None,
    price: str | None = None,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"])] = None,
    state: Path | None = None,
    label: Labels = None,
    warn: Warn = "stderr",
    json: bool = False,
) -> int:
    """Run any program under a budget, and show what it cost.

    A gateway of its own answers on this machine, and the variables that SDKs read lead there. Vendors' keys of the
    environment stay with the gateway; without one, a model on this machine answers. The exit code is the program's,
    or 3 if the budget has ended it.

    Args:
        command: The program and its arguments, after --.
        model: What answers whatever model the program asks for: provider/model, or a name of the configuration.
        price: Dollars per million tokens, as INPUT,OUTPUT, of models whose price is not known.
        file: The configuration; organism.yaml if there is one here, else the keys of the environment are all there is.
        state: Where the ledger is kept; beside the configuration, or in a temporary folder if there is none or a daemon
            is at work there, unless given.
        warn: Where you hear of thresholds: on standard error, in a line of an answer, or only in headers.
        json: Print the summary, on standard error, as one JSON document.
    """
    if not command:
        raise ConfigError("name a program: organism exec --budget-usd 5 -- python agent.py")
    limits, labels, environment = budget.given(), named_labels(label or ()), dict(os.environ)
    check_startable(command[0], environment)
    written = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    dotenv = read_dotenv(Path(".env")) if written is None else {}  # beside a configuration it is read with that
    known = {**dotenv, **environment}
    folder = _state(written, state)
    purse = Purse(
        program=program_name(command[0]),
        thread_id=RandomIds().next("exec")[:_ID_LETTERS].replace("_", "-"),
        limits=limits,
        labels=labels,
        text=warn == "text",
        model=None if written is None else model,
        price=None if price is None else read_price(price),
    )
    run = ProgramRun(
        command=command,
        file=written or _make_configuration(folder, known, model),
        state=folder,
        purse=purse,
        model=model,
        found=written is None,
        known=known,
        warn=warn,
        json=json,
    )
    set_up(LogSettings(level="error"))
    keep_no_core()
    try:
        return anyio.run(run_and_leave, run, environment, backend_options=process_options())
    except FolderOwnedError as error:
        if state is not None:
            raise
        run = replace(run, state=_beside(error, run.file, known, command[0]))
    return anyio.run(run_and_leave, run, environment, backend_options=process_options())


def _beside(owned: FolderOwnedError, file: Path, environment: dict[str, str], command: str) -> Path:
    """Return a folder for the ledger where a daemon, or another run, owns the one beside the configuration.

    Raises:
        ConfigError: If there are limits over a time: each of two ledgers would allow the whole of them.
    """
    config = load_config(file, environment).config
    if counted := limits_over_time(budget_plan(config)):
        otherwise = _through(owned, config, command)
        raise ConfigError(
            f"process {owned.pid} owns {owned.state} and counts {', '.join(counted)} there; {otherwise}"
            "wait for its end, or name another folder with --state, where they count from zero"
        )
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
    complain(f"process {owned.pid} owns {owned.state}, so the ledger of this run is in {folder}")
    return folder


def _through(owned: FolderOwnedError, config: Config, command: str) -> str:
    """Say how the program spends from the daemon that owns a folder, if that has a gateway."""
    address = read_address(owned.state)
    if address is None or config.gateway is None or not config.gateway.tokens:
        return ""
    token = f"a token of 'organism token make {program_name(command)} --scope send'"
    return f"run the program without exec, with OPENAI_BASE_URL={address.url}/v1 and {token} as OPENAI_API_KEY, "


def _state(file: Path | None, given: Path | None) -> Path:
    """Return the folder of the ledger; a temporary one is kept, because the ledger is."""
    if file is None and given is None:
        return Path(tempfile.mkdtemp(prefix=_TEMPORARY))
    return state_folder(file or DEFAULT_FILE, given)


def _make_configuration(folder: Path, environment: dict[str, str], model: str | None) -> Path:
    make_private_folder(folder)
    path = folder / DEFAULT_FILE
    write_private(path, configuration(environment, model).encode())
    return path
