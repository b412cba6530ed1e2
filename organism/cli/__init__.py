"""The ``organism`` command: arguments in, an app or an HTTP client called, an exit code out.

Exit codes: 0 done, 1 the work failed, 2 the command line or the configuration is wrong, 3 the budget is exhausted,
4 no daemon answers, 130 interrupted. Commands are imported when they are called, so ``organism --help`` stays quick.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter, validators

from organism.cli import exits
from organism.cli.options import Json, Whole
from organism.cli.remote import register

File = Annotated[Path, Parameter(name=["--file", "-f"], help="The configuration.")]
_FILE = Path("organism.yaml")

app = App(
    name="organism",
    help="Run LLM agents with hard budgets per conversation.",
    version_flags=["--version"],
    help_format="plaintext",
)
models = App(name="models", help="Models that run on this machine.")
app.command(models)
dashboards = App(name="dashboards", help="What Grafana and Prometheus show and watch.")
app.command(dashboards)
usage = App(name="usage", help="What has been used, and what it cost.")
app.command(usage)
ledger = App(name="ledger", help="The ledger, of the daemon that runs or of the state folder.")
app.command(ledger)
prices = App(name="prices", help="What models cost.")
app.command(prices)
register(app, usage)
app.register_install_completion_command()


BudgetTokens = Annotated[Whole | None, Parameter(name="--budget-tokens", help="Tokens the run may use.")]
BudgetUSD = Annotated[str | None, Parameter(name="--budget-usd", help="Dollars the run may cost.")]


@app.command
def run(
    text: str,
    *,
    file: File = _FILE,
    to: str | None = None,
    budget_tokens: BudgetTokens = None,
    budget_usd: BudgetUSD = None,
    mode: Literal["off", "audit", "enforce"] | None = None,
    state: Path | None = None,
    ephemeral: bool = False,
    json: bool = False,
) -> int:
    """Run one task and show what happens, then what it cost.

    Args:
        text: What the organism should do.
        to: The agent to send it to; the entry agent unless given.
        mode: What to do where a limit is reached.
        state: Where the run is kept, so that it can be resumed; .organism beside the configuration unless given.
        ephemeral: Keep nothing: neither the run nor what it adds to the limits per day and month.
        json: Print one JSON document and nothing else.
    """
    from organism.cli.run import RunOptions, run_task
    from organism.telemetry.logs import LogSettings, set_up

    set_up(LogSettings(level="error"))
    options = RunOptions(
        file=file,
        state=state,
        ephemeral=ephemeral,
        to=to,
        budget_tokens=_natural(budget_tokens),
        budget_nanousd=_nanousd(budget_usd),
        mode=mode,
        json=json,
    )
    return run_task(text, options, dict(os.environ))


@app.command
def resume(
    thread: str,
    *,
    file: File = _FILE,
    budget_tokens: BudgetTokens = None,
    budget_usd: BudgetUSD = None,
    allow: list[str] | None = None,
    deny: list[str] | None = None,
    mode: Literal["off", "audit", "enforce"] | None = None,
    state: Path | None = None,
    json: bool = False,
) -> int:
    """Go on with a run that was stopped or killed, or waits for budget or you. What it has paid for is not paid again.

    Args:
        thread: The run's thread, as it was printed.
        allow: An approval that it waits for, given; may be repeated.
        deny: An approval that it waits for, refused; may be repeated.
        mode: What to do where a limit is reached.
        state: Where the run is kept.
        json: Print one JSON document and nothing else.
    """
    from organism.cli.run import RunOptions, resume_task
    from organism.telemetry.logs import LogSettings, set_up

    set_up(LogSettings(level="error"))
    options = RunOptions(
        file=file,
        state=state,
        ephemeral=False,
        to=None,
        budget_tokens=_natural(budget_tokens),
        budget_nanousd=_nanousd(budget_usd),
        mode=mode,
        json=json,
        decisions={**dict.fromkeys(allow or (), True), **dict.fromkeys(deny or (), False)},
    )
    return resume_task(thread, options, dict(os.environ))


def _natural(budget_tokens: int | None) -> int | None:
    from organism.errors import ConfigError

    if budget_tokens is not None and budget_tokens < 0:
        raise ConfigError("--budget-tokens must not be negative")
    return budget_tokens


def _nanousd(budget_usd: str | None) -> int | None:
    from organism.amounts import nanousd
    from organism.errors import ConfigError

    try:
        return None if budget_usd is None else nanousd(budget_usd)
    except ValueError as error:
        raise ConfigError(f"--budget-usd: {error}") from None


@app.command
def check(*, file: File = _FILE, json: Json = False) -> int:
    """Check the configuration and show the organism it describes."""
    from organism.cli.check import check_file

    return check_file(file, dict(os.environ), as_json=json)


@app.command
def init(folder: Path = Path(), *, force: bool = False, json: Json = False) -> int:
    """Write a commented organism.yaml and its Python agent.

    Args:
        folder: Where to.
        force: Overwrite what is there.
    """
    from organism.cli.check import init_folder

    return init_folder(folder, force=force, as_json=json)


@app.command
def daemon(
    *,
    file: File = _FILE,
    state: Path | None = None,
    port: Annotated[Whole | None, Parameter(validator=validators.Number(gte=0, lte=65535))] = None,
    log_format: Literal["console", "json"] | None = None,
) -> int:
    """Run until stopped, taking messages over a local HTTP API.

    Args:
        state: Where the token and the daemon's address are kept; .organism beside the configuration unless given.
        port: The port to listen on; 0 takes any.
        log_format: For people or for programs.
    """
    from organism.daemon.daemon import run_daemon

    run_daemon(file, state, port, log_format, dict(os.environ))
    return exits.OK


@dashboards.command(name="export")
def export_dashboards(folder: Path, *, json: Json = False) -> int:
    """Write the Grafana dashboard and the Prometheus alert rules into a folder.

    Args:
        folder: Where to; made if it is not there.
    """
    from organism.cli.output import print_lines
    from organism.telemetry.dashboards import export

    return print_lines([str(path) for path in export(folder)], as_json=json)


@usage.command
def report(
    events: Path | None = None,
    *,
    file: File = _FILE,
    state: Path | None = None,
    since: str | None = None,
    until: str | None = None,
    thread: str | None = None,
    time_zone: str = "UTC",
    bill: Path | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    json: Json = False,
) -> int:
    """Report cost and tokens of a period or a thread, by day, agent, model and label, as an HTML page or Markdown.

    Args:
        events: Events as 'organism events' prints them, or - for standard input, or a journal; those of the state
            folder unless given.
        state: The state folder; .organism beside the configuration unless given.
        since: The first day, or an instant.
        until: The last day, or an instant.
        thread: Only this thread and its children.
        time_zone: Where days begin.
        bill: A provider's bill as CSV, to compare with.
        output: Where to: an .html page, or .md; Markdown on standard output unless given.
    """
    from organism.cli.recorded import recorded_events
    from organism.cli.usage import ReportOptions, write_report

    options = ReportOptions(
        since=since, until=until, thread=thread, time_zone=time_zone, bill=bill, output=output, as_json=json
    )
    return write_report(recorded_events(events, file, state), options)


@prices.default
def show_prices(model: str, *, file: File = _FILE, json: bool = False) -> int:
    """Show what a model costs, and where that is known from.

    Args:
        model: A model of the configuration, provider/model, or a model's name anywhere.
        json: Print JSON.
    """
    from organism.cli.prices import print_prices

    return print_prices(model, file, as_json=json)


@prices.command(name="check")
def check_prices(*, file: File = _FILE, json: bool = False) -> int:
    """Show what every model of the organism costs; fails if a call may be refused because nobody knows.

    Args:
        json: Print JSON.
    """
    from organism.cli.prices import check_prices as check_file_prices

    return check_file_prices(file, as_json=json)


@models.command(name="list")
def list_models(*, json: Json = False) -> int:
    """List the models known by name, and where they are."""
    from organism.cli.check import print_models

    return print_models(as_json=json)


@models.command
def fetch(name: str = "smollm2-135m", *, json: Json = False) -> int:
    """Fetch a model ahead of time.

    Args:
        name: One of 'organism models list'.
    """
    from organism.cli.output import note, print_lines
    from organism.providers.model_files import fetch as fetch_model

    file = fetch_model(name, note)
    return print_lines([str(file)], as_json=json)


@ledger.command(name="verify")
def verify_ledger(
    *, file: File = _FILE, state: Path | None = None, anchor: str | None = None, json: bool = False
) -> int:
    """Read every entry again and check it: its hash, whether it is legal where it stands, what it cost.

    It prints an anchor. Keep that elsewhere: only with it can a later check tell that a whole older copy was put back.

    Args:
        state: The state folder.
        anchor: What an earlier check has printed.
        json: Print JSON.
    """
    from organism.cli.ledger import verify_ledger as verify

    return verify(file, state, anchor, as_json=json)


@ledger.command(name="quarantine")
def show_quarantine(*, file: File = _FILE, state: Path | None = None, json: bool = False) -> int:
    """List what was kept in the journal and could not be taken up by a start, with the reason.

    Args:
        state: The state folder; a daemon that owns it has to be stopped first.
        json: Print JSON, with what was in each piece.
    """
    from organism.cli.ledger import show_quarantine as show

    return show(file, state, as_json=json)


@ledger.command(name="export")
def export_ledger(*, file: File = _FILE, state: Path | None = None, form: Literal["jsonl", "csv"] = "jsonl") -> int:
    """Print every entry.

    Args:
        state: The state folder.
        form: One JSON document a line, or comma-separated values.
    """
    from organism.cli.ledger import export_ledger as export

    return export(file, state, form)


def main() -> None:
    """Run the command line and leave with its exit code."""
    from organism.cli.output import write_anything, write_bug
    from organism.daemon.process_exit import allow

    allow()
    write_anything()
    sys.excepthook = write_bug
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run a command line and return its exit code; errors that are somebody's to mend are one line, no traceback."""
    try:
        code = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return exits.USAGE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as `organism events | head` does; that is not our failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except Exception as error:  # noqa: BLE001 - what is no error of organism's own is raised again
        return exits.explain(error)
    return code if isinstance(code, int) else exits.OK
