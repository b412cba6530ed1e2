"""The process of ``organism daemon``: signals, logs, and an end in good order."""

import gc
import resource
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import anyio
import structlog
from msgspec.structs import replace

from organism.app import Organism
from organism.config.build.spec import log_settings
from organism.config.load import LoadedConfig
from organism.control.idempotency import Order
from organism.daemon.daemon import Daemon, DaemonHooks
from organism.daemon.own_tasks import hide_own_tasks
from organism.daemon.process_exit import leave_soon
from organism.daemon.state_folder import remove_address
from organism.errors import OrganismError
from organism.runtime.process_loop import process_options
from organism.telemetry.logs import LogFormat, set_up
from organism.usage.events import AnyEvent, BudgetExceeded, ThreadBlocked, ThreadClosed, UsageEvent
from organism.usage.headlines import with_headline

_DRAIN_S = 30.0

Log = structlog.typing.FilteringBoundLogger

_LOGGED_FIELDS = (
    "agent",
    "call_id",
    "outcome",
    "threshold",
    "account",
    "reason",
    "trace_id",
    "by",
    "action",
    "target",
    "what",
    "approval_id",
    "allowed",
)
"""Fields that are logged of every event that has them."""


def run_daemon(
    file: Path,
    state: Path | None,
    port: int | None,
    log_format: LogFormat | None,
    environment: dict[str, str],
    adjusted: Callable[[LoadedConfig], LoadedConfig] = lambda loaded: loaded,
) -> None:
    """Run the daemon until a signal or an order stops it.

    Args:
        port: The port to listen on.
        log_format: For people or for programs.
        environment: Where ``${env:NAME}`` is looked up.
        adjusted: Returns the configuration to run, made of what the file says.

    Raises:
        ConfigError: If the configuration is wrong, the port is taken or another daemon owns the state folder.
        MissingExtraError: If the daemon's packages are not installed.
    """

    def log_as(configured: LoadedConfig) -> None:
        settings = log_settings(configured.config)
        set_up(replace(settings, format=log_format or settings.format))

    keep_no_core()
    hooks = DaemonHooks(progress=_log_progress, on_loaded=log_as, on_event=log_event, adjusted=adjusted)
    daemon = Daemon(file, state=state, port=port, environment=environment, hooks=hooks)
    anyio.run(_run, daemon, backend_options=process_options())


def keep_no_core() -> None:
    """Leave no image of the process when it crashes: it would hold keys and what agents say."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


async def _run(daemon: Daemon) -> None:
    hide_own_tasks()
    log: Log = structlog.get_logger("organism.daemon")
    async with daemon:
        organism = daemon.organism
        # Before it is ready: a program that reads so may send a signal at once, which would end the process as it is.
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            gc.freeze()  # modules, routes and what was read back stay as they are: no collection need look through them
            log.info("ready", url=daemon.url, state=str(daemon.state), agents=len(organism.agents))
            await _until_stopped(daemon, log, signals)
    log.info("stopped", **_totals(organism))
    leave_soon(0, partial(remove_address, daemon.state))


async def _until_stopped(daemon: Daemon, log: Log, signals: AsyncIterator[signal.Signals]) -> None:
    """Wait for a signal or an order and then for open threads; a second signal ends the wait."""
    organism = daemon.organism
    async with anyio.create_task_group() as tasks:

        async def drain() -> None:
            await daemon.drain(_DRAIN_S)
            tasks.cancel_scope.cancel()

        async def obey() -> None:
            await daemon.wait_stop_ordered()
            if not draining:
                begin("an order")

        draining = False

        def begin(because: str) -> None:
            nonlocal draining
            if draining:
                log.warning("stopping_at_once", because=because)
                tasks.cancel_scope.cancel()
                return
            draining = True
            organism.control.begin_stop()
            log.info("draining", because=because, seconds=_DRAIN_S, threads=len(organism.threads()))
            tasks.start_soon(drain)

        tasks.start_soon(obey)
        async for number in signals:
            if number == signal.SIGHUP:
                tasks.start_soon(_reload, organism, log)  # which may wait, and must not keep the next signal waiting
            else:
                begin(number.name)


async def _reload(organism: Organism, log: Log) -> None:
    """Reload the configuration, as ``organism reload`` does; a mistake in it changes nothing but the log."""
    try:
        done = await organism.control.reload_configuration(order=Order(by="signal"))
        log.info("reloaded", changes=list(done.changes))
    except OrganismError as error:
        for sentence in error.sentences:
            log.error("not_reloaded", mistake=sentence)  # noqa: TRY400 - its sentence says what to do


def _log_progress(line: str) -> None:
    structlog.get_logger("organism.daemon").info("progress", doing=line)


def _totals(organism: Organism) -> dict[str, int]:
    total = organism.usage.total
    return {"calls": total.calls, "tokens": total.usage.total, "cost_nanousd": total.cost_nanousd}


def log_event(event: AnyEvent) -> None:
    """Log an event in a line: names and numbers, never what agents say."""
    log = structlog.get_logger("organism.event")
    event = with_headline(event)
    fields = {name: value for name in _LOGGED_FIELDS if (value := getattr(event, name, None)) is not None}
    match event:
        case UsageEvent(usage=usage):
            used = {"tool": event.tool} if event.tool else {"model": event.model}
            fields |= {**used, "tokens": usage.total, "cost_nanousd": event.cost_nanousd}
        case BudgetExceeded(shortfall=shortfall) | ThreadBlocked(shortfall=shortfall):
            fields["refused"] = str(shortfall)
        case ThreadClosed(budget=budget):
            fields |= {"calls": budget.spent.calls, "tokens": budget.spent.tokens}
        case _:
            pass
    log.info(str(type(event).__struct_config__.tag), event_id=event.id, thread_id=event.thread_id, **fields)
