"""A program's run from start to end: its gateway, the program, its report."""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic_ns
from typing import Literal

import msgspec
from msgspec.structs import replace

from organism.amounts import NANOUSD_PER_USD, Limits
from organism.amounts.units import format_limits, limited_units
from organism.app import Organism
from organism.budget.relief import amount_option, as_much_again
from organism.cli.options import DEFAULT_FILE, command_text
from organism.cli.output import complain, note, note_json
from organism.cli.programs.child import run_child
from organism.cli.programs.private_gateway import Purse, with_gateway
from organism.cli.programs.upstreams import LOCAL_MODEL, found
from organism.cli.programs.variables import Invocation, Place, invocation
from organism.cli.programs.verdict import Notices, ProgramReport, Refusals, report_of
from organism.cli.run_view import print_report
from organism.cli.terminal import Terminal
from organism.daemon.daemon import Daemon, DaemonHooks
from organism.daemon.journal_file import JOURNAL_FILE
from organism.daemon.own_tasks import hide_own_tasks
from organism.daemon.process_exit import leave_soon
from organism.daemon.state_folder import state_folder
from organism.errors import ThreadClosedError, UnpricedError
from organism.usage.events import AnyEvent

Warn = Literal["stderr", "text", "headers"]
"""Where a person hears of thresholds."""


class ProgramRun(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run, and how.

    Attributes:
        command: The program and its arguments.
        file: The configuration of its gateway.
        state: Where the ledger is kept.
        purse: What the program spends.
        model: What answers whatever it asks for; ``None`` for what it asks for.
        found: Whether the configuration is made of what the environment has.
        known: The environment, and what the ``.env`` there adds: where the gateway finds its keys.
        warn: Where a person hears of thresholds.
        json: Whether the report is a JSON document.
    """

    command: tuple[str, ...]
    file: Path
    state: Path
    purse: Purse
    model: str | None
    found: bool
    known: dict[str, str]
    warn: Warn
    json: bool


async def run_and_leave(run: ProgramRun, environment: dict[str, str]) -> int:
    """Run a program to its end and return the exit code, whatever agents' code is still running in this process.

    Raises:
        OrganismError: If its gateway cannot be started, or it cannot.
    """
    hide_own_tasks()
    report = await _run(run, environment)
    if run.json:
        note_json(report)
    else:
        _print(report)
    leave_soon(report.exit_code)
    return report.exit_code


async def _run(run: ProgramRun, environment: Mapping[str, str]) -> ProgramReport:
    hooks = DaemonHooks(progress=complain, resumed=(), adjusted=lambda loaded: with_gateway(loaded, run.purse))
    daemon = Daemon(run.file, state=run.state, environment=run.known, hooks=hooks)
    thread_id, events, refusals = run.purse.thread_id, list[AnyEvent](), Refusals()
    async with daemon:
        organism = daemon.organism
        organism.usage.subscribe(events.append)
        organism.activity.observe(refusals.see)
        if run.warn == "stderr":
            organism.usage.subscribe(Notices().on_event)
        place = Place(url=daemon.url, key=run.purse.key, model=run.model)
        started = invocation(run.command, environment, place, run.known)
        _tell_start(run, started, daemon.url)
        begun_ns = monotonic_ns()
        code = await run_child(started.command, started.environment)
        duration_ns = monotonic_ns() - begun_ns
        await _end_thread(organism, thread_id)
    exit_code, report = report_of(events, thread_id, code, refusals.last)
    return ProgramReport(
        exit_code=exit_code,
        program_exit_code=code,
        command=run.command,
        state=str(run.state),
        failure=refusals.failure,
        run=replace(report, duration_ns=duration_ns),
    )


async def _end_thread(organism: Organism, thread_id: str) -> None:
    """Settle what the program has left behind, and close its budget; there is none if it made no call."""
    try:
        await organism.terminate(thread_id, "the program has ended")
    except ThreadClosedError:
        await organism.journal.commit()


def _tell_start(run: ProgramRun, started: Invocation, url: str) -> None:
    limits = Limits(**run.purse.limits)
    budget = format_limits(limits) or "the configured budget"
    again = next(iter(limited_units(limits)), ("usd", NANOUSD_PER_USD))
    more = amount_option(again[0], as_much_again(*again))
    raised = command_text(("budget", "raise", run.purse.thread_id, *more), DEFAULT_FILE, _named(run.state))
    complain(f"{budget} for {run.purse.program}, at {url}; to raise it meanwhile: {raised}")
    if run.found and run.model is None and not found(run.known):
        complain(f"no vendor's key is set, so {LOCAL_MODEL} answers, whatever model is asked for")
    if started.hidden:
        complain(f"kept from the program, because the gateway does not stand for them: {', '.join(started.hidden)}")


def _print(report: ProgramReport) -> None:
    if report.failure is not None:
        hint = "; say one with --price INPUT,OUTPUT" if report.failure.startswith(UnpricedError.__name__) else ""
        complain(f"its last call failed, {report.failure}{hint}")
    elif not report.run.totals.calls and not report.run.refusals:
        complain(f"{report.command[0]} has made no model call through its gateway; see docs/CLIENTS.md")
    print_report(Terminal(stderr=True), report.run, None)
    state = Path(report.state)
    cost = command_text(("usage", "report"), DEFAULT_FILE, _named(state))
    note(f"ledger: {state / JOURNAL_FILE}; what it cost: {cost}")


def _named(state: Path) -> Path | None:
    """Return a state folder if a command has to name it: the usual one is found without."""
    return None if state == state_folder(DEFAULT_FILE, None) else state
