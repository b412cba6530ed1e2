"""``organism daemon``: run until stopped, controlled over a local HTTP API."""

import importlib.util
import resource
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import structlog
from msgspec.structs import replace

from organism.api.tokens import TokenBook, load_or_make_token
from organism.app import Organism
from organism.billing.delivery import Origin, exporting
from organism.config.build.exporters import exports
from organism.config.build.spec import log_settings
from organism.config.load import LoadedConfig, load_config
from organism.control.idempotency import Order
from organism.daemon.file_safety import refuse_foreign_file, refuse_network
from organism.daemon.gateway_settings import gateway_settings
from organism.daemon.journal_file import journal_of
from organism.daemon.own_tasks import hide_own_tasks
from organism.daemon.process_exit import leave_soon
from organism.daemon.reloader import Reloader
from organism.daemon.state_folder import owned, remove_address, state_folder, write_address
from organism.errors import MissingExtraError, OrganismError
from organism.telemetry.conventions import genai_names
from organism.telemetry.logs import Format, set_up
from organism.telemetry.otel import otel_exporting
from organism.text.redaction import remember
from organism.usage.events import STORED, AnyEvent, BudgetExceeded, ThreadBlocked, ThreadClosed, UsageEvent
from organism.usage.headlines import with_headline

_DRAIN_S = 30.0
_NEEDED = ("httptools", "litestar", "prometheus_client", "uvicorn")


def run_daemon(
    file: Path, state: Path | None, port: int | None, log_format: Format | None, environment: dict[str, str]
) -> None:
    """Run the daemon until a signal or an order stops it.

    Raises:
        ConfigError: If the configuration is wrong, the port is taken or another daemon owns the state folder.
        MissingExtraError: If the daemon's packages are not installed.
    """
    if any(importlib.util.find_spec(package) is None for package in _NEEDED):
        raise MissingExtraError("the daemon", "daemon")
    from organism.api.server import bind

    keep_no_core()
    refuse_foreign_file(file)
    loaded = load_config(file, environment)
    config = loaded.config
    folder = state_folder(file, state)
    refuse_network(folder)
    with owned(folder), bind(config.daemon.host, config.daemon.port if port is None else port) as listener:
        token = load_or_make_token(folder)
        remember(token)

        def log_as(configured: LoadedConfig) -> None:
            settings = log_settings(configured.config)
            set_up(replace(settings, format=log_format or settings.format))

        log_as(loaded)
        organism = Organism.from_config(loaded, environment, progress=_log_progress, journal=journal_of(loaded, folder))
        try:
            options = {"use_uvloop": importlib.util.find_spec("uvloop") is not None}
            anyio.run(_serve, organism, file, loaded, folder, listener, environment, log_as, backend_options=options)
        except BaseExceptionGroup as group:
            raise _sole_error(group) from group
        finally:
            remove_address(folder)


def _sole_error(group: BaseExceptionGroup) -> BaseException:
    """Return what a start or an end has failed with, out of the task groups that it has come through."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error


def keep_no_core() -> None:
    """Leave no image of the process when it crashes: it would hold keys and what agents say."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


async def _serve(
    organism: Organism,
    file: Path,
    loaded: LoadedConfig,
    state: Path,
    listener: socket.socket,
    environment: dict[str, str],
    log_as: Callable[[LoadedConfig], None],
) -> None:
    from organism.api.application import Options
    from organism.api.routes.metrics import metrics_group
    from organism.api.routes.pages import DASHBOARD
    from organism.api.server import ControlServer, url_of
    from organism.gateway.request_handler import Gateway
    from organism.gateway.routes import gateway_group
    from organism.telemetry.metrics.prometheus import PrometheusExporter

    hide_own_tasks()
    log = structlog.get_logger("organism.daemon")
    tokens = TokenBook.open(state, organism.clock.now_ns)
    exported = exports(loaded, organism.clock.now_ns)
    organism.usage.subscribe(_log_event, *STORED)
    prometheus = PrometheusExporter(organism, names=genai_names(environment))
    hosts = tuple(loaded.config.daemon.hosts)
    control = organism.control
    settings = gateway_settings(loaded)
    gateway = Gateway(control, settings) if settings is not None else None
    groups = [DASHBOARD, metrics_group(prometheus.render)]
    groups += [gateway_group(gateway, tokens)] if gateway is not None else []
    options = Options(hosts=hosts, groups=tuple(groups))

    def on_loaded(fresh: LoadedConfig) -> None:
        log_as(fresh)
        if gateway is not None and (changed := gateway_settings(fresh)) is not None:
            gateway.put_in_force(changed)

    control.reload = Reloader(organism, file, loaded, environment, _log_progress, on_loaded)
    origin = Origin(organism.journal, organism.usage, control.cursors, lambda: control.source)
    async with anyio.create_task_group() as tasks:
        server = ControlServer(control, tokens, listener, options)
        # The server outlives the organism: followers are told of its end, and their streams end with it.
        async with otel_exporting(organism, environment), organism, exporting(exported, origin):
            tasks.start_soon(server.serve)
            write_address(state, url_of(listener))
            log.info("ready", url=url_of(listener), state=str(state), agents=len(organism.agents))
            await _until_stopped(organism, log)
        server.stop()
    log.info("stopped", **_totals(organism))
    leave_soon(0, partial(remove_address, state))


async def _until_stopped(organism: Organism, log: structlog.typing.FilteringBoundLogger) -> None:
    """Wait for a signal and then for open threads; a second signal ends the wait."""
    async with anyio.create_task_group() as tasks:

        async def drain() -> None:
            await organism.drain(_DRAIN_S)
            tasks.cancel_scope.cancel()

        async def obey() -> None:
            await organism.control.stop_ordered.wait()
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
            organism.control.stop_ordered.set()
            log.info("draining", because=because, seconds=_DRAIN_S, threads=len(organism.threads()))
            tasks.start_soon(drain)

        tasks.start_soon(obey)
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    await _reload(organism, log)
                else:
                    begin(number.name)


async def _reload(organism: Organism, log: structlog.typing.FilteringBoundLogger) -> None:
    """Read the configuration again, as ``organism reload`` does; a mistake in it changes nothing but the log."""
    try:
        done = await organism.control.reload_configuration(order=Order(by="signal"))
        log.info("reloaded", changes=list(done.changes))
    except OrganismError as error:
        log.error("not_reloaded", mistake=str(error))  # noqa: TRY400 - its sentence says what to do


def _log_progress(line: str) -> None:
    structlog.get_logger("organism.daemon").info("progress", doing=line)


def _log_event(event: AnyEvent) -> None:
    """Log an event in a line: names and numbers, never what agents say."""
    log = structlog.get_logger("organism.event")
    event = with_headline(event)
    told: tuple[str, ...] = (
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
    )
    told += ("what", "approval_id", "allowed")
    fields = {name: value for name in told if (value := getattr(event, name, None)) is not None}
    match event:
        case UsageEvent(usage=usage):
            fields |= {"model": event.model, "tokens": usage.total, "cost_nanousd": event.cost_nanousd}
        case BudgetExceeded(shortfall=shortfall) | ThreadBlocked(shortfall=shortfall):
            fields["refused"] = str(shortfall)
        case ThreadClosed(budget=budget):
            fields |= {"calls": budget.spent.calls, "tokens": budget.spent.tokens}
        case _:
            pass
    log.info(str(type(event).__struct_config__.tag), event_id=event.id, thread_id=event.thread_id, **fields)


def _totals(organism: Organism) -> dict[str, int]:
    total = organism.usage.total
    return {"calls": total.calls, "tokens": total.usage.total, "cost_nanousd": total.cost_nanousd}
