"""``organism run``: one task from start to end, shown while it happens."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
from msgspec.structs import replace

from organism.amounts import BudgetState, Limits
from organism.app import Organism
from organism.budget.holds import Mode
from organism.cli import exits
from organism.cli.live import LiveView
from organism.cli.output import note, print_json, show_cursor
from organism.cli.summary import print_report
from organism.cli.terminal import Terminal
from organism.config.load import LoadedConfig, load_config
from organism.config.schema.llm import LocalProviderSection, ProviderSection
from organism.daemon.journal_file import journal_of
from organism.daemon.process_exit import leave_soon
from organism.daemon.state_folder import owned, state_folder
from organism.errors import BudgetExhaustedError, ConfigError, UnknownAccountError
from organism.messages import ThreadResult, as_message, as_text
from organism.telemetry.otel import otel_exporting
from organism.threads.approvals import Approval, ApprovalNeededError, Decision
from organism.usage.event_log import Store, stored_events
from organism.usage.events import AnyEvent
from organism.usage.report import RunReport, build_report


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about a run.

    Attributes:
        state: The state folder; beside the configuration unless given.
        ephemeral: Whether nothing is kept.
        decisions: What is allowed and what is not, by the id of the approval.
    """

    file: Path
    state: Path | None
    ephemeral: bool
    to: str | None
    budget_tokens: int | None
    budget_nanousd: int | None
    mode: Mode | None
    json: bool
    decisions: dict[str, bool] = {}


Begin = Callable[[Organism], Awaitable[str]]
"""Sets a thread going, or on, and returns its id."""


def run_task(text: str, options: RunOptions, environment: dict[str, str]) -> int:
    """Run a task and return the exit code.

    Raises:
        OrganismError: If the configuration or the task is wrong.
    """
    message = as_message(text)

    async def begin(organism: Organism) -> str:
        limits = _limits(organism.budgets.plan.thread, options)
        trace = environment.get("TRACEPARENT")
        return await organism.open_thread(message, to=options.to, limits=limits, trace=trace)

    return _run_owned(begin, (), options, environment)


def resume_task(thread_id: str, options: RunOptions, environment: dict[str, str]) -> int:
    """Go on with a thread that has stopped, was killed or waits for budget, and return the exit code.

    Raises:
        OrganismError: If there is no such thread, or the configuration is wrong.
    """

    async def begin(organism: Organism) -> str:
        _check_known(organism, thread_id)
        if _budgets(organism, thread_id):
            before = organism.budgets.budget(thread_id).limits
            if (limits := _limits(before, options)) is not None:
                await organism.set_limits(thread_id, limits)
        for approval, allowed in options.decisions.items():
            await organism.approvals.decide(approval, Decision(allowed))
        return thread_id

    return _run_owned(begin, (thread_id,), options, environment)


def _check_known(organism: Organism, thread_id: str) -> None:
    if organism.pump.result(thread_id) is None and not _budgets(organism, thread_id):
        open_threads = ", ".join(thread.thread_id for thread in organism.threads()) or "none"
        raise ConfigError(f"there is no run {thread_id!r} to go on with; there are: {open_threads}")


def _run_owned(begin: Begin, only: Container[str], options: RunOptions, environment: dict[str, str]) -> int:
    """Run on the journal of the state folder, which is ours as long as this takes."""
    loaded = load_config(options.file, environment)
    if options.ephemeral:
        return anyio.run(_run_and_leave, begin, loaded, None, only, options, environment)
    state = state_folder(options.file, options.state)
    with owned(state):
        return anyio.run(_run_and_leave, begin, loaded, journal_of(loaded, state), only, options, environment)


async def _run_and_leave(
    begin: Begin,
    loaded: LoadedConfig,
    journal: Store | None,
    only: Container[str],
    options: RunOptions,
    environment: dict[str, str],
) -> int:
    code = await _run(begin, loaded, journal, only, options, environment)
    leave_soon(code)
    return code


async def _run(
    begin: Begin,
    loaded: LoadedConfig,
    journal: Store | None,
    only: Container[str],
    options: RunOptions,
    environment: dict[str, str],
) -> int:
    console = Terminal(stderr=options.json)
    view = LiveView(console, quiet=options.json)
    organism = Organism.from_config(loaded, environment, view.progress, view.on_text, journal, only)
    if options.mode is not None:
        organism.budgets.mode = options.mode
    events: list[AnyEvent] = []
    organism.usage.on_event(events.append)
    unfollow = organism.usage.on_event(view.on_event)
    async with otel_exporting(organism, environment), organism:
        earlier = [event async for event in stored_events(organism.journal)] if only else []
        thread_id = await begin(organism)
        async with _interruptible() as interrupted:
            with view:
                code, result = await _finish(organism, thread_id, interrupted, view)
        await organism.journal.commit()  # events are told when they are kept
        # What the user wants to know is how the thread stood before we left it.
        unfollow()
        report = build_report([*earlier, *events], thread_id, _budgets(organism, thread_id))
        asked = [each for each in organism.approvals.waiting() if each.root_thread_id == thread_id]
    if result is not None:
        report = replace(report, answer="\n\n".join(map(as_text, result.outputs)))
    _print(console, report, options, _context_tokens(loaded.config.llm.providers.values()))
    if not options.json:
        _print_asked(console, asked, options)
    return code


async def _finish(
    organism: Organism, thread_id: str, interrupted: anyio.Event, view: LiveView
) -> tuple[int, ThreadResult | None]:
    """Wait for the end of the thread, for its budget to run out, or for Ctrl-C."""
    code, result = exits.INTERRUPTED, None
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
                code = exits.OK if result.outcome == "completed" else exits.FAILED
        except BudgetExhaustedError:
            code = exits.EXHAUSTED
        except ApprovalNeededError:
            code = exits.FAILED
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
                        os._exit(exits.INTERRUPTED)
                    note("stopping once the calls under way are paid for; Ctrl-C again stops at once")
                    interrupted.set()

        tasks.start_soon(receive)
        yield interrupted
        tasks.cancel_scope.cancel()


def _limits(limits: Limits, options: RunOptions) -> Limits | None:
    """Lay the command line's limits over those in force; ``None`` when it names none."""
    if options.budget_tokens is None and options.budget_nanousd is None:
        return None
    if options.budget_tokens is not None:
        limits = replace(limits, tokens=options.budget_tokens)
    if options.budget_nanousd is not None:
        limits = replace(limits, cost_nanousd=options.budget_nanousd)
    return limits


def _context_tokens(providers: Iterable[ProviderSection]) -> int | None:
    """Return the context of the local model, if that is the only one: others do not tell."""
    sections = list(providers)
    if len(sections) == 1 and isinstance(sections[0], LocalProviderSection):
        return sections[0].context_tokens
    return None


def _print(console: Terminal, report: RunReport, options: RunOptions, context_tokens: int | None) -> None:
    if options.json:
        print_json(report)
        return
    if report.answer:
        console.head("answer")
        console.say_as_it_is(report.answer)
    print_report(console, report, context_tokens)
    if report.outcome == "blocked":
        console.say("[red]budget exhausted[/]; {}", _way_out(report, options))
    elif report.outcome == "open" and not options.ephemeral:
        console.say("stopped; go on with: organism resume {}", report.thread_id)


def _print_asked(console: Terminal, asked: Iterable[Approval], options: RunOptions) -> None:
    """Show what a person is asked, and how to answer: nothing is done before."""
    for approval in asked:
        lines = "\n" in approval.detail
        console.say("{} asks to use {}: {}", approval.agent, approval.what, "" if lines else approval.detail)
        if lines:
            console.quote(approval.detail)
        way = f"organism resume {approval.root_thread_id} --allow {approval.id}"
        way = "this run keeps nothing, so it ends here" if options.ephemeral else f"{way} (or --deny)"
        console.say("[yellow]it waits for you:[/] {}", way, one_piece=True)


def _way_out(report: RunReport, options: RunOptions) -> str:
    """Say how to raise the limit that refused last, and how to go on."""
    flags = {"tokens": "--budget-tokens N", "usd": "--budget-usd X"}
    last = report.refusals[-1] if report.refusals else None
    if last is None or not last.account.startswith("thread:") or last.dimension not in flags:
        again = "" if options.ephemeral else f", then: organism resume {report.thread_id}"
        return f"raise the limit in the configuration{again}"
    if options.ephemeral:
        return f"try again with a higher limit, {flags[last.dimension]}"
    return f"go on with a higher limit: organism resume {report.thread_id} {flags[last.dimension]}"
