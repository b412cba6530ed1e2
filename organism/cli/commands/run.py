"""``organism run`` and ``organism resume``: one task from start to end, shown while it happens."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import anyio
import msgspec
from cyclopts import Parameter
from msgspec.structs import replace

from organism.amounts import BudgetState
from organism.amounts.account import thread_account, thread_of
from organism.app import Organism
from organism.budget.holds import Mode
from organism.budget.relief import amount_option, lacking, limit_behind
from organism.budget.scopes import limits_over_time
from organism.cli import exit_codes
from organism.cli.completion import AgentName, ThreadName
from organism.cli.options import (
    DEFAULT_FILE,
    NO_BUDGET,
    Budget,
    File,
    Labels,
    ModeName,
    TaskText,
    command_text,
    named_labels,
    task_of,
)
from organism.cli.output import note, print_json, show_cursor
from organism.cli.run_view import LiveView, print_report
from organism.cli.terminal import Terminal
from organism.config.load import LoadedConfig, load_config
from organism.config.schema.llm import LLMSection, LocalProviderSection
from organism.daemon.journal_file import journal_of
from organism.daemon.loop_watchdog import LoopWatchdog
from organism.daemon.own_tasks import hide_own_tasks
from organism.daemon.process_exit import leave_soon
from organism.daemon.state_folder import owned, state_folder
from organism.errors import BudgetExhaustedError, ConfigError, UnknownAccountError
from organism.messages import ThreadOutcome, ThreadResult, as_message, as_text
from organism.runtime.process_loop import process_options
from organism.telemetry.logs import LogSettings, set_up
from organism.telemetry.otel import otel_exporting
from organism.threads.approvals import Approval, ApprovalNeededError, Decision, asking
from organism.threads.thread import ThreadView
from organism.usage.event_log import Store, stored_events
from organism.usage.events import AnyEvent
from organism.usage.run_report import RunReport, build_report
from organism.wiring import Environment

OneJson = Annotated[bool, Parameter(name="--json", help="Print one JSON document and nothing else.")]

Begin = Callable[[Organism], Awaitable[str]]
"""Starts or resumes a thread and returns its id."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about a run.

    Attributes:
        state: The state folder; beside the configuration unless given.
        limits: The limits that are given, by the name of their field.
        ephemeral: Whether nothing is kept.
    """

    file: Path
    state: Path | None
    limits: dict[str, int]
    mode: Mode | None
    json: bool
    ephemeral: bool = False

    def command(self, *words: str) -> str:
        """Return a command to paste that goes on with this run."""
        return command_text(words, self.file, self.state)


def run(
    text: TaskText = None,
    *,
    file: File = DEFAULT_FILE,
    to: AgentName | None = None,
    budget: Budget = NO_BUDGET,
    label: Labels = None,
    mode: ModeName | None = None,
    state: Path | None = None,
    ephemeral: bool = False,
    json: OneJson = False,
) -> int:
    """Run one task and show what happens, then what it cost.

    Args:
        to: The agent that gets it; the entry agent unless given.
        mode: What a reached limit does.
        state: Where the run is kept, so that it can be resumed; .organism beside the configuration unless given.
        ephemeral: Keep nothing: neither the run nor what it adds to the limits per day and month.
    """
    limits = budget.given()
    options = RunOptions(file=file, state=state, limits=limits, mode=mode, json=json, ephemeral=ephemeral)
    message, labels = as_message(task_of(text)), named_labels(label or ())

    async def begin(organism: Organism) -> str:
        own = replace(organism.budgets.plan.thread, **limits) if limits else None
        return await organism.open_thread(
            message, to=to, limits=own, labels=labels, trace=os.environ.get("TRACEPARENT")
        )

    return _run_owned(begin, (), options)


def resume(
    thread: ThreadName,
    *,
    file: File = DEFAULT_FILE,
    budget: Budget = NO_BUDGET,
    allow: list[str] | None = None,
    deny: list[str] | None = None,
    mode: ModeName | None = None,
    state: Path | None = None,
    json: OneJson = False,
) -> int:
    """Continue a run that was stopped, killed or paused by a breaker, or that waits for budget or approval.

    What it has paid for is not paid again.

    Args:
        thread: The run's thread, as it was printed.
        allow: An approval that it waits for, allowed; may be repeated.
        deny: An approval that it waits for, denied; may be repeated.
        mode: What a reached limit does.
        state: Where the run is kept.
    """
    limits = budget.given()
    options = RunOptions(file=file, state=state, limits=limits, mode=mode, json=json)
    decisions = {**dict.fromkeys(allow or (), True), **dict.fromkeys(deny or (), False)}

    async def begin(organism: Organism) -> str:
        _check_known(organism, thread)
        if limits and _budgets(organism, thread):
            await organism.set_limits(thread, replace(organism.budgets.budget(thread).limits, **limits))
        for approval, allowed in decisions.items():
            await organism.approvals.decide(approval, Decision(allowed))
        if any(_is_paused(each, thread) for each in organism.threads()):
            await organism.control.resume_thread(thread)
        return thread

    return _run_owned(begin, (thread,), options)


def _check_known(organism: Organism, thread_id: str) -> None:
    if organism.pump.result(thread_id) is None and not _budgets(organism, thread_id):
        open_threads = ", ".join(thread.thread_id for thread in organism.threads()) or "none"
        raise ConfigError(f"there is no run {thread_id!r} to go on with; there are: {open_threads}")


def _run_owned(begin: Begin, only: Container[str], options: RunOptions) -> int:
    """Run on the journal of the state folder, which this process owns as long as this takes."""
    set_up(LogSettings(level="error"))
    environment = dict(os.environ)
    loaded = load_config(options.file, environment)
    work = partial(_run, begin, loaded, only=only, options=options, environment=environment)
    if options.ephemeral:
        return _run_in_loop(partial(work, journal=None))
    state = state_folder(options.file, options.state)
    with owned(state):
        return _run_in_loop(partial(work, journal=journal_of(loaded, state, environment)))


def _run_in_loop(work: Callable[[], Awaitable[int]]) -> int:
    return anyio.run(_work_and_leave, work, backend_options=process_options())


async def _work_and_leave(work: Callable[[], Awaitable[int]]) -> int:
    hide_own_tasks()
    code = await work()
    leave_soon(code)
    return code


async def _run(
    begin: Begin,
    loaded: LoadedConfig,
    *,
    journal: Store | None,
    only: Container[str],
    options: RunOptions,
    environment: dict[str, str],
) -> int:
    console = Terminal(stderr=options.json)
    view = LiveView(console, quiet=options.json)
    organism = Organism.from_config(
        loaded, environment, Environment(journal), progress=view.progress, on_text=view.on_text, only=only
    )
    if options.mode is not None:
        organism.budgets.mode = options.mode
    events: list[AnyEvent] = []
    organism.usage.subscribe(events.append)
    unfollow = organism.usage.subscribe(view.on_event)
    async with otel_exporting(organism, environment), organism:
        if not organism.journal.durable and (forgotten := limits_over_time(organism.budgets.plan)):
            console.say("[yellow]![/] {} count from zero: this run keeps nothing", ", ".join(forgotten))
        earlier = [event async for event in stored_events(organism.journal)] if only else []
        thread_id = await begin(organism)
        async with _interruptible() as interrupted:
            with view, LoopWatchdog(organism.outbox.emit):
                code, result = await _finish(organism, thread_id, interrupted, view)
        await organism.journal.commit()  # events are published after their commit
        # What the user wants to know is how the thread stood before we left it.
        unfollow()
        report = build_report([*earlier, *events], thread_id, _budgets(organism, thread_id))
        asked = [each for each in organism.approvals.waiting() if each.root_thread_id == thread_id]
        stopped = next((each for each in organism.threads() if _is_paused(each, thread_id)), None)
    if stopped is not None:
        report = replace(report, outcome="paused", reason=_why_paused(stopped))
    if result is not None:
        report = replace(report, answer="\n\n".join(map(as_text, result.outputs)))
    if options.json:
        print_json({**msgspec.to_builtins(report), "approvals": asked, "go_on": _ways_on(report, asked, options)})
        return code
    _print(console, report, options, _context_tokens(loaded.config.llm))
    _print_asked(console, asked, options)
    return code


def _is_paused(view: ThreadView, root: str) -> bool:
    return view.root_thread_id == root and view.status == "paused"


def _why_paused(view: ThreadView) -> str:
    """Say which thread stands still, and why; what to do is said below."""
    why = view.blocked_by.note.partition("; ")[0] if view.blocked_by is not None else "somebody has paused it"
    return f"{view.thread_id}: {why}"


async def _finish(
    organism: Organism, thread_id: str, interrupted: anyio.Event, view: LiveView
) -> tuple[int, ThreadResult | None]:
    """Wait for the end of the thread, for its budget to run out, or for Ctrl-C."""
    code, result = exit_codes.INTERRUPTED, None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await interrupted.wait()
            if not organism.journal.durable:
                await organism.terminate(thread_id, "interrupted")
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        tasks.start_soon(view.follow, lambda: _budgets(organism, thread_id))
        try:
            result = await organism.wait(thread_id)
            if not interrupted.is_set():
                code = exit_codes.OK if result.outcome == "completed" else exit_codes.FAILED
        except BudgetExhaustedError:
            code = exit_codes.EXHAUSTED
        except ApprovalNeededError:
            code = exit_codes.WAITS
        tasks.cancel_scope.cancel()
    return code, result


def _budgets(organism: Organism, thread_id: str) -> tuple[BudgetState, ...]:
    """Return what limits an open thread; nothing once it has ended."""
    try:
        return organism.thread_budgets(thread_id)
    except UnknownAccountError:
        return ()


@asynccontextmanager
async def _interruptible() -> AsyncIterator[anyio.Event]:
    """Set an event at the first Ctrl-C or SIGTERM; the second leaves at once."""
    interrupted = anyio.Event()
    async with anyio.create_task_group() as tasks:

        async def receive() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    if interrupted.is_set():
                        show_cursor()
                        note("stopped at once")
                        os._exit(exit_codes.INTERRUPTED)
                    note("stopping once the calls under way are paid for; Ctrl-C again stops at once")
                    interrupted.set()

        tasks.start_soon(receive)
        yield interrupted
        tasks.cancel_scope.cancel()


def _context_tokens(llm: LLMSection) -> int | None:
    """Return the context of the local model, if that is the only one: others do not tell."""
    sections = list(llm.providers.values())
    if len(sections) == 1 and isinstance(sections[0], LocalProviderSection):
        return sections[0].context_tokens
    return None


def _print(console: Terminal, report: RunReport, options: RunOptions, context_tokens: int | None) -> None:
    if report.answer:
        console.head("answer")
        console.say_as_it_is(report.answer)
    print_report(console, report, context_tokens)
    if report.outcome == "blocked":
        console.say("[red]budget exhausted[/]; {}", _way_out(report, options))
    elif report.outcome in ("open", "paused") and not options.ephemeral:
        console.say("stopped; go on with: {}", options.command("resume", report.thread_id), one_piece=True)


def _ways_on(report: RunReport, asked: Iterable[Approval], options: RunOptions) -> list[str]:
    """Return the commands of which each lets a run go on that has not ended; none where nothing is kept of it."""
    if options.ephemeral or report.outcome in get_args(ThreadOutcome):
        return []
    answers = [options.command("resume", report.thread_id, "--allow", approval.id) for approval in asked]
    higher = _higher(report) if report.outcome == "blocked" else None
    return answers or [options.command("resume", report.thread_id, *(higher or ()))]


def _print_asked(console: Terminal, asked: Iterable[Approval], options: RunOptions) -> None:
    """Show what a person is asked, and how to answer: nothing is done before."""
    for approval in asked:
        lines = "\n" in approval.detail
        console.say("{} {}: {}", approval.agent, asking(approval.what), "" if lines else approval.detail)
        if lines:
            console.quote(approval.detail)
        way = options.command("resume", approval.root_thread_id, "--allow", approval.id)
        if options.ephemeral:
            console.say("[yellow]it waits for you:[/] this run keeps nothing, so it ends here")
        else:
            console.say("[yellow]it waits for you (--allow or --deny):[/] {}", way, one_piece=True)


def _way_out(report: RunReport, options: RunOptions) -> str:
    """Say how to raise the limit that refused last, and how to go on."""
    higher = _higher(report)
    if higher is None:
        then = "" if options.ephemeral else f", then: {options.command('resume', report.thread_id)}"
        account = report.refusals[-1].account if report.refusals else ""
        where = "where it is spawned" if thread_of(account) is not None else f"in {options.file}"
        return f"raise the limit{f' of {account}' if account else ''} {where}{then}"
    if options.ephemeral:
        return f"try again with a higher limit, {' '.join(higher)}"
    return f"go on with a higher limit: {options.command('resume', report.thread_id, *higher)}"


def _higher(report: RunReport) -> tuple[str, str] | None:
    """Return the option of a limit that is enough for what was refused last; ``None`` if no option raises it."""
    last = report.refusals[-1] if report.refusals else None
    if last is None or last.account != thread_account(report.thread_id):
        return None
    limit = limit_behind(last)
    return amount_option(last.dimension, limit + max(limit, lacking(last)), "budget-")
