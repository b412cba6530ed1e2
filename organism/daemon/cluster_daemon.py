"""The daemon as one node of a cluster: an organism for each partition it has, and one API and gateway over all."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import anyio
import structlog

from organism.api.application import Options
from organism.api.auth_middleware import ASGIApp, ASGIScope
from organism.api.dependencies import Served
from organism.api.mounts import Mount
from organism.api.routes.answer_pages import answer_group
from organism.api.routes.metrics import metrics_group
from organism.api.routes.pages import DASHBOARD
from organism.api.server import ControlServer, url_of
from organism.api.streams import Reader
from organism.api.tokens.first_token import load_or_make_token
from organism.api.tokens.token_book import OWNER, TokenBook, kept_tokens
from organism.app import Organism
from organism.billing.answer_links import AnswerLinks
from organism.billing.delivery import EventSource, Export, exporting
from organism.cluster.node import ClusterNode
from organism.cluster.node_labels import NodeLabels
from organism.cluster.node_metrics import NodeMetrics
from organism.cluster.node_parts import Applied
from organism.cluster.routing.event_reader import ClusterReader
from organism.cluster.routing.forwarded import Signatures
from organism.cluster.routing.forwarding import Forwarding
from organism.cluster.routing.local_parts import LocalParts, PartParts
from organism.cluster.routing.request_router import RequestRouter
from organism.config.build.exporters import exports
from organism.config.load import LoadedConfig
from organism.config.schema.root import listed_labels
from organism.control.components import OrganismSpec
from organism.control.control import Control
from organism.control.idempotency import Order
from organism.daemon.gateway_settings import gateway_settings
from organism.daemon.journal_file import retention_of
from organism.daemon.loop_watchdog import LoopWatchdog
from organism.daemon.node_name import node_name
from organism.daemon.reloader import Reloader
from organism.gateway.request_handler import Gateway
from organism.gateway.routes import gateway_group
from organism.telemetry.conventions import genai_names
from organism.telemetry.metrics.prometheus import PrometheusExporter
from organism.telemetry.otel import otel_exporting
from organism.threads.approvals import Approval
from organism.usage.events import STORED, AnyEvent

if TYPE_CHECKING:
    from organism.cluster.shared_tokens import SharedTokenBook
    from organism.gateway.settings import Settings

_log = structlog.get_logger("organism.cluster")


class NodeHooks(Protocol):
    """What a node calls in the program that runs it; see :class:`organism.daemon.daemon.DaemonHooks`."""

    @property
    def progress(self) -> Callable[[str], None]:
        """Called with one line about what takes long."""

    @property
    def on_event(self) -> Callable[[AnyEvent], None] | None:
        """Called with each event that is recorded."""


class ClusterDaemon:
    """A node with its API, its gateway and its exporters.

    Args:
        loaded: The configuration, with a ``cluster`` section.
        listener: A bound socket.
        state: The state folder, where its own tokens are.
        environment: Where ``${env:NAME}`` is looked up.
        hooks: What is called in the program.
        load: Reads and checks the configuration again.

    Attributes:
        reloader: Reads the file again and applies it to all partitions of this node.
        template: An organism like those of the partitions; it never runs.
        node: The node.

    Raises:
        ConfigError: If the configuration asks for what a cluster cannot keep.
        MissingExtraError: If the driver of PostgreSQL is not installed.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        listener: socket.socket,
        state: Path,
        environment: Mapping[str, str],
        hooks: NodeHooks,
        load: Callable[[], LoadedConfig],
    ) -> None:
        section = loaded.config.cluster
        if section is None:
            raise ValueError("the configuration has no cluster")
        self._loaded, self._listener, self._state, self._hooks = loaded, listener, state, hooks
        self._section, self._daemon = section, loaded.config.daemon
        self._environment = dict(environment)
        self._url = section.advertise or url_of(listener)
        self.reloader = Reloader(load, loaded, self._environment, hooks.progress, self._apply)
        self.reloader.subscribe(self._on_loaded)
        self.template = Organism.from_config(loaded, self._environment, progress=hooks.progress, reload=self.reloader)
        self.node = ClusterNode(
            self.template,
            section.url,
            node=node_name(section),
            partitions=section.partitions,
            labels=NodeLabels(has=frozenset(listed_labels(section.labels)), partitions=section.label_partitions),
            url=self._url,
            retention=retention_of(loaded),
            beside=self._prepare,
        )
        self._settings: Settings | None = gateway_settings(loaded)
        self._gateway: Gateway | None = None
        served = Served(self.template.control, Reader(self.template.control))
        self._local = LocalParts(self.node, served, NodeMetrics(self.node).render)
        self._links: AnswerLinks | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take part in the cluster, and answer.

        Raises:
            JournalError: If the database cannot be reached or is refused, or the machine's clock is wrong.
        """
        if urlsplit(self._url).hostname in ("127.0.0.1", "localhost", "::1"):
            _log.warning("advertises_loopback", node=self.node.name, url=self._url, see="cluster.advertise")
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            after = await stack.enter_async_context(AsyncExitStack())  # what serves outlives the partitions
            await stack.enter_async_context(self.node)
            tokens = await self._tokens()
            after.callback(tokens.stop)
            tasks.start_soon(tokens.run)
            server = self._server(after, tokens)
            stack.enter_context(LoopWatchdog(self._emit))
            tasks.start_soon(server.serve)
            yield

    async def _apply(self, _control: Control, spec: OrganismSpec, order: Order, applied: Applied) -> None:
        await self.node.reload(spec, order, applied)

    def _on_loaded(self, loaded: LoadedConfig) -> None:
        """Serve by another file, which all partitions have from this step on."""
        self._loaded, self._settings = loaded, gateway_settings(loaded)
        for gateway in (self._gateway, *(parts.gateway for parts in self._local.parts.values())):
            if gateway is not None and self._settings is not None:
                gateway.apply(self._settings)

    async def _tokens(self) -> "SharedTokenBook":
        """Return the tokens that all nodes have, with the first one of this one's own folder."""
        from organism.cluster.shared_tokens import SharedTokenBook

        secret = load_or_make_token(self._state)
        tokens = SharedTokenBook(self.template.clock.now_ns, self._section.url, self.node.counts)
        tokens.know(OWNER, secret, ("admin",))
        await tokens.begin(kept_tokens(self._state))
        return tokens

    def _server(self, stack: AsyncExitStack, tokens: TokenBook) -> ControlServer:
        """Return the server of everything, which takes requests where they belong."""
        cluster, template = self._section, self.template
        reader = ClusterReader(cluster.url, lambda: self.node.layout.every, template.name)
        stack.push_async_callback(reader.aclose)
        signatures = Signatures(self.node.key, template.clock.now_ns)

        def answering(scope: ASGIScope) -> ASGIApp:
            return server.api.answering(scope)

        forwarding = Forwarding(self.node, self._local, signatures, answering)
        stack.push_async_callback(forwarding.peers.aclose)
        gateway = self._gateway = None if self._settings is None else Gateway(template.control, self._settings)
        payer_of = None if gateway is None else gateway.payers.thread_of
        groups = [DASHBOARD, answer_group(self._answer_links), metrics_group(self._prometheus(template).render)]
        groups += [Mount((), (forwarding.rule,))]
        groups += [gateway_group(gateway, tokens)] if gateway is not None else []
        router = RequestRouter(self.node, self._local, forwarding, reader, payer_of)
        options = Options(hosts=self._hosts(), groups=tuple(groups), carry=router.carry)
        server = ControlServer(template.control, tokens, self._listener, options)
        stack.callback(server.stop)
        return server

    def _hosts(self) -> tuple[str, ...]:
        named = (urlsplit(url or "").hostname for url in (self._url, self._daemon.public_url))
        return (*self._daemon.hosts, *(name for name in named if name))

    @property
    def _answer_links(self) -> AnswerLinks:
        """Links that any node makes and any node takes."""
        if self._links is None:
            secret = self.node.key.hex()
            url = self._daemon.public_url or self._url
            self._links = AnswerLinks(secret, url, self._waiting, self.template.clock.now_ns)
        return self._links

    def _waiting(self) -> list[Approval]:
        parts = self._local.parts.values()
        return [asked for each in parts for asked in each.organism.approvals.waiting()]

    def _prometheus(self, organism: Organism) -> PrometheusExporter:
        return PrometheusExporter(organism, names=genai_names(self._environment))

    def _emit(self, event: AnyEvent) -> None:
        """Record what is about the process in any partition that it has."""
        for parts in self._local.parts.values():
            parts.organism.outbox.emit(event)
            return

    def _prepare(self, partition: int, organism: Organism) -> AbstractAsyncContextManager[None]:
        """Prepare what answers for a partition, before it runs: it misses none of its events."""
        if self._hooks.on_event is not None:
            organism.usage.subscribe(self._hooks.on_event, *STORED)
        control = organism.control
        gateway = None if self._settings is None else Gateway(control, self._settings)
        served = Served(control, Reader(control))
        parts = PartParts(organism, served, gateway, self._prometheus(organism).render)
        return self._beside(partition, parts, exports(self._loaded, organism.clock.now_ns, self._answer_links))

    @asynccontextmanager
    async def _beside(self, partition: int, parts: PartParts, exported: Sequence[Export]) -> AsyncIterator[None]:
        organism, control = parts.organism, parts.organism.control
        origin = EventSource(organism.journal, organism.usage, control.cursors, lambda: control.source)
        async with (
            otel_exporting(organism, self._environment),
            exporting(exported, origin),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._until_stop_ordered, control)
            self._local.parts[partition] = parts
            try:
                yield
            finally:
                del self._local.parts[partition]
                tasks.cancel_scope.cancel()

    async def _until_stop_ordered(self, control: Control) -> None:
        await control.stop_ordered.wait()
        self.template.control.begin_stop()
