"""``organism run``: one task from start to end, shown while it happens."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
from rich.console import Console

from organism.amounts import BudgetState, Limits
from organism.app import Organism
from organism.budget.holds import Mode
from organism.cli import exits
from organism.cli.live import LiveView
from organism.cli.summary import print_report
from organism.cli.terminal import Terminal, plain
from organism.config.load import load_config
from organism.config.schema_llm import LocalProviderSection, ProviderSection
from organism.errors import BudgetExhaustedError, Shortfall, UnknownAccountError
from organism.exporters.otel import otel_exporting
from organism.messages import Message, ThreadResult, as_message
from organism.usage.events import AnyEvent
from organism.usage.report import RunReport, build_report

_DRAIN_S = 10.0


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about a run."""

    file: Path
    to: str | None
    budget_tokens: int | None
    budget_nanousd: int | None
    mode: Mode | None
    json: bool


def run_task(text: str, options: RunOptions, environment: dict[str, str]) -> int:
    """Run a task and return the exit code.

    Raises:
        OrganismError: If the configuration or the task is wrong.
    """
    message = as_message(text)
    return anyio.run(_run, message, options, environment)


async def _run(message: Message, options: RunOptions, environment: dict[str, str]) -> int:
    loaded = load_config(options.file, environment)
    console = Terminal(stderr=options.json)
    view = LiveView(console, quiet=options.json)
    organism = Organism.from_config(loaded, environment, progress=view.progress, on_text=view.on_text)
    if options.mode is not None:
        organism.budgets.mode = options.mode
    events: list[AnyEvent] = []
    organism.usage.on_event(events.append)
    unfollow = organism.usage.on_event(view.on_event)
    limits = _limits(organism, options)
    async with otel_exporting(organism, environment), organism:
        thread_id = await organism.open_thread(
            message, to=options.to, limits=limits, trace=environment.get("TRACEPARENT")
        )
        async with _interruptible() as interrupted:
            with view:
                code = await _finish(organism, thread_id, interrupted, view)
        # Leaving the organism ends a blocked thread; what the user wants to know is what it was before.
        unfollow()
        report = build_report(events, thread_id, _budgets(organism, thread_id))
    _print(console, report, options, _context_tokens(loaded.config.llm.providers.values()))
    return code


async def _finish(organism: Organism, thread_id: str, interrupted: anyio.Event, view: LiveView) -> int:
    """Wait for the end of the thread, for its budget to run out, or for Ctrl-C."""
    code = exits.INTERRUPTED
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await interrupted.wait()
            await organism.terminate(thread_id, "interrupted")
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        tasks.start_soon(view.follow, lambda: _budgets(organism, thread_id))
        try:
            result: ThreadResult = await organism.wait(thread_id)
            if not interrupted.is_set():
                code = exits.OK if result.outcome == "completed" else exits.FAILED
        except BudgetExhaustedError:
            code = exits.EXHAUSTED
        tasks.cancel_scope.cancel()
    return code


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
                        sys.stderr.write("\x1b[?25hstopped at once\n")  # the live view may have hidden the cursor
                        os._exit(exits.INTERRUPTED)
                    sys.stderr.write("stopping once the calls under way are paid for; Ctrl-C again stops at once\n")
                    interrupted.set()

        tasks.start_soon(receive)
        yield interrupted
        tasks.cancel_scope.cancel()


def _limits(organism: Organism, options: RunOptions) -> Limits | None:
    """Lay the command line's limits over the configured ones."""
    if options.budget_tokens is None and options.budget_nanousd is None:
        return None
    limits = organism.budgets.plan.thread
    if options.budget_tokens is not None:
        limits = msgspec.structs.replace(limits, tokens=options.budget_tokens)
    if options.budget_nanousd is not None:
        limits = msgspec.structs.replace(limits, cost_nanousd=options.budget_nanousd)
    return limits


def _context_tokens(providers: Iterable[ProviderSection]) -> int | None:
    """Return the context of the local model, if that is the only one: others do not tell."""
    sections = list(providers)
    if len(sections) == 1 and isinstance(sections[0], LocalProviderSection):
        return sections[0].context_tokens
    return None


def _print(console: Console, report: RunReport, options: RunOptions, context_tokens: int | None) -> None:
    if options.json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        return
    if report.answer:
        console.rule("answer")
        console.print(plain(report.answer), markup=False)
    print_report(console, report, context_tokens)
    if report.outcome == "blocked":
        console.print(f"[red]budget exhausted[/]; {_way_out(report.refusals)}")


def _way_out(refusals: Sequence[Shortfall]) -> str:
    """Say how to raise the limit that refused last."""
    options = {"tokens": "--budget-tokens N", "usd": "--budget-usd X"}
    last = refusals[-1] if refusals else None
    if last is not None and last.account.startswith("thread:") and last.dimension in options:
        return f"try again with a higher limit, {options[last.dimension]}"
    return "raise the limit in the configuration"
