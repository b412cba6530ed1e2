"""An organism with its HTTP API, its gateway, its dashboard and its exporters, in the event loop of a program."""

import importlib.util
import os
import socket
from collections.abc import Callable, Container, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import anyio

from organism.api.tokens.first_token import load_or_make_token
from organism.api.tokens.token_book import TokenBook
from organism.app import Organism
from organism.billing.answer_links import AnswerLinks
from organism.billing.delivery import EventSource, exporting
from organism.concurrency.error_groups import sole_error
from organism.config.build.exporters import exports
from organism.config.load import LoadedConfig
from organism.daemon.examine import examined
from organism.daemon.file_safety import refuse_network
from organism.daemon.gateway_settings import gateway_settings
from organism.daemon.journal_file import journal_of
from organism.daemon.loop_watchdog import LoopWatchdog
from organism.daemon.reloader import Reloader
from organism.daemon.state_folder import owned, remove_address, state_folder, write_address
from organism.errors import MissingExtraError
from organism.telemetry.conventions import genai_names
from organism.telemetry.otel import otel_exporting
from organism.text.redaction import remember
from organism.usage.events import STORED, AnyEvent
from organism.wiring import Environment

if TYPE_CHECKING:
    from organism.api.mounts import Mount
    from organism.api.server import ControlServer
    from organism.cluster.node import ClusterNode

_PACKAGES = ("httptools", "litestar", "prometheus_client", "uvicorn")


@dataclass(frozen=True, kw_only=True)
class DaemonHooks:
    """What a daemon calls in the program that runs it; none of these may fail.

    Attributes:
        progress: Called with one line about what takes long, such as fetching a model.
        on_loaded: Called with the configuration when it is loaded, and after each reload.
        on_event: Called with each event that is recorded, from the first one of the start.
        resumed: The threads that go on where the journal has open ones; all unless given.
        adjusted: Returns the configuration to run, made of what the file says; called at the start and at each reload.
    """

    progress: Callable[[str], None] = lambda _line: None
    on_loaded: Callable[[LoadedConfig], None] = lambda _loaded: None
    on_event: Callable[[AnyEvent], None] | None = None
    resumed: Container[str] | None = None
    adjusted: Callable[[LoadedConfig], LoadedConfig] = lambda loaded: loaded


_NO_HOOKS = DaemonHooks()


class Daemon:
    """What ``organism daemon`` runs, for a program that embeds it. Use it as an async context manager, once.

    Inside, the organism of the file runs on the journal of its state folder, the API answers, and commands such as
    ``organism status`` find it. It changes nothing of the process: no signal handler, no logging, no working directory.

    Args:
        state: The state folder; ``.organism`` beside the configuration unless given.
        port: The port to listen on; 0 takes any, and the configuration says it unless given.
        environment: Where ``${env:NAME}`` is looked up; the process's own unless given.
        hooks: What is called in the program.

    Attributes:
        state: The state folder, absolute.
    """

    def __init__(
        self,
        file: str | Path,
        *,
        state: str | Path | None = None,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        hooks: DaemonHooks = _NO_HOOKS,
    ) -> None:
        self._file = Path(file)
        self.state = state_folder(self._file, None if state is None else Path(state))
        self._port = port
        self._environment = dict(os.environ if environment is None else environment)
        self._hooks = hooks
        self._organism: Organism | None = None
        self._node: ClusterNode | None = None
        self._url = ""
        self._stack = AsyncExitStack()

    @property
    def organism(self) -> Organism:
        """The organism that runs; of a node of a cluster the one that those of its partitions are made like.

        Raises:
            RuntimeError: If the daemon has not been entered.
        """
        if self._organism is None:
            raise RuntimeError("the daemon runs only inside 'async with'")
        return self._organism

    @property
    def node(self) -> "ClusterNode | None":
        """The node of a cluster that it is; ``None`` for a daemon alone."""
        return self._node

    @property
    def url(self) -> str:
        """Where the API answers, such as ``http://127.0.0.1:8373``; empty before the daemon is entered."""
        return self._url

    async def drain(self, within_s: float) -> None:
        """Take no new threads and wait for the open ones; a node of a cluster hands them to the others instead."""
        if self._node is None:
            await self.organism.drain(within_s)

    async def wait_stop_ordered(self) -> None:
        """Return when an operator has ordered the daemon to stop: its program then leaves the context."""
        control = self.organism.control
        await control.stop_ordered.wait()

    async def __aenter__(self) -> Self:
        """Load the configuration, own the state folder, open the journal, serve.

        The file is read and its handlers are imported before this first waits.

        Raises:
            ConfigError: If the configuration is wrong, the port is taken or another process owns the state folder.
            MissingExtraError: If the daemon's packages are not installed.
            JournalError: If the journal cannot be used.
        """
        try:
            async with AsyncExitStack() as stack:
                await self._start(stack)
                self._stack = stack.pop_all()
        except BaseExceptionGroup as group:
            raise sole_error(group) from group
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop: settle open calls, close the journal, stop serving. Open threads go on with the next start."""
        try:
            await self._stack.__aexit__(exc_type, exc, traceback)
        except BaseExceptionGroup as group:
            if (error := sole_error(group)) is not exc:
                raise error from group

    async def _start(self, stack: AsyncExitStack) -> None:
        if any(importlib.util.find_spec(package) is None for package in _PACKAGES):
            raise MissingExtraError("the daemon", "daemon")
        from organism.api.routes.answer_pages import answer_group
        from organism.api.server import bind, url_of

        loaded = self._load()
        refuse_network(self.state)
        stack.enter_context(owned(self.state))
        section = loaded.config.daemon
        listener = stack.enter_context(closing(bind(section.host, section.port if self._port is None else self._port)))
        remember(token := load_or_make_token(self.state))
        self._hooks.on_loaded(loaded)
        if loaded.config.cluster is not None:
            await self._start_node(stack, loaded, listener)
            return
        reloader = Reloader(self._load, loaded, self._environment, self._hooks.progress)
        reloader.subscribe(self._hooks.on_loaded)
        self._organism = organism = Organism.from_config(
            loaded,
            self._environment,
            Environment(journal_of(loaded, self.state, self._environment)),
            progress=self._hooks.progress,
            reload=reloader,
            only=self._hooks.resumed,
        )
        if self._hooks.on_event is not None:
            organism.usage.subscribe(self._hooks.on_event, *STORED)
        links = AnswerLinks(
            token, section.public_url or url_of(listener), organism.approvals.waiting, organism.clock.now_ns
        )
        exported = exports(loaded, organism.clock.now_ns, links)
        server = self._server(organism, loaded, listener, reloader, answer_group(links))
        stack.callback(remove_address, self.state)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        # The server outlives the organism: followers receive its last events, and then their streams end.
        stack.callback(server.stop)
        await stack.enter_async_context(otel_exporting(organism, self._environment))
        await stack.enter_async_context(organism)
        stack.enter_context(LoopWatchdog(organism.outbox.emit))
        control = organism.control
        origin = EventSource(organism.journal, organism.usage, control.cursors, lambda: control.source)
        await stack.enter_async_context(exporting(exported, origin))
        tasks.start_soon(server.serve)
        self._url = url_of(listener)
        write_address(self.state, self._url)

    async def _start_node(self, stack: AsyncExitStack, loaded: LoadedConfig, listener: socket.socket) -> None:
        """Run as a node of a cluster."""
        from organism.api.server import url_of
        from organism.daemon.cluster_daemon import ClusterDaemon

        node = ClusterDaemon(loaded, listener, self.state, self._environment, self._hooks, self._load)
        node.reloader.subscribe(self._hooks.on_loaded)
        self._organism, self._node = node.template, node.node
        stack.callback(remove_address, self.state)
        await stack.enter_async_context(node.running())
        self._url = url_of(listener)
        write_address(self.state, self._url)

    def _load(self) -> LoadedConfig:
        return self._hooks.adjusted(examined(self._file, self._environment))

    def _server(
        self, organism: Organism, loaded: LoadedConfig, listener: socket.socket, reloader: Reloader, pages: "Mount"
    ) -> "ControlServer":
        """Return the server of the API, the dashboard, the metrics and the gateway; a reload changes the gateway."""
        from organism.api.application import Options
        from organism.api.routes.metrics import metrics_group
        from organism.api.routes.pages import DASHBOARD
        from organism.api.server import ControlServer
        from organism.gateway.request_handler import Gateway
        from organism.gateway.routes import gateway_group
        from organism.telemetry.metrics.prometheus import PrometheusExporter

        tokens = TokenBook.open(self.state, organism.clock.now_ns)
        prometheus = PrometheusExporter(organism, names=genai_names(self._environment))
        settings = gateway_settings(loaded)
        gateway = Gateway(organism.control, settings) if settings is not None else None
        groups = [DASHBOARD, pages, metrics_group(prometheus.render)]
        groups += [gateway_group(gateway, tokens)] if gateway is not None else []

        def apply_settings(fresh: LoadedConfig) -> None:
            if gateway is not None and (changed := gateway_settings(fresh)) is not None:
                gateway.apply(changed)

        reloader.subscribe(apply_settings)
        section = loaded.config.daemon
        public = urlsplit(section.public_url or "").hostname
        hosts = (*section.hosts, *([public] if public else []))
        options = Options(hosts=hosts, groups=tuple(groups))
        return ControlServer(organism.control, tokens, listener, options)
