"""The partitions of this node answer requests: one of them as a daemon does, or several for one answer."""

from collections.abc import Callable, MutableMapping
from typing import Any

import anyio
import msgspec

from organism.api.auth_middleware import CALLER, HEADERS, ASGIApp, ASGIReceive, ASGIScope, ASGISend
from organism.api.dependencies import SERVED, Served
from organism.api.routes.metrics import METRICS, Render
from organism.app import Organism
from organism.cluster.node import ClusterNode
from organism.gateway.request_handler import GATEWAY, Gateway

_READS = ("GET", "HEAD")
_FAILED = 400
_RELOAD = "/v1/reload"


class PartParts(msgspec.Struct, frozen=True):
    """What answers for one partition.

    Attributes:
        organism: Its organism.
        served: What the API works on.
        gateway: Its gateway, if there is one.
        metrics: Renders its metrics for an ``Accept`` header.
    """

    organism: Organism
    served: Served
    gateway: Gateway | None
    metrics: Render


class RoutedRequest(msgspec.Struct, frozen=True):
    """A request that was let in.

    Attributes:
        app: What answers it.
        scope: As ASGI has it.
        body: All of it.
        receive: Tells when its client goes.
        send: Answers it.
    """

    app: ASGIApp
    scope: ASGIScope
    body: bytes
    receive: ASGIReceive
    send: ASGISend

    @property
    def headers(self) -> dict[str, str]:
        """Its headers, by lower-case names."""
        headers: dict[str, str] = self.scope[HEADERS]
        return headers

    @property
    def repeatable(self) -> bool:
        """Whether doing it twice does it once: it changes nothing, or its receipt is found."""
        return self.scope["method"] in _READS or bool(self.headers.get("idempotency-key"))

    def with_key(self, key: str) -> "RoutedRequest":
        """Return it with an idempotency key."""
        headers = [*self.scope["headers"], (b"idempotency-key", key.encode())]
        scope = {**self.scope, "headers": headers, HEADERS: {**self.headers, "idempotency-key": key}}
        return msgspec.structs.replace(self, scope=scope)


class NodePage(msgspec.Struct, frozen=True):
    """What a node adds of itself to the answers of its partitions."""

    node: str
    body: bytes


class PartAnswer(msgspec.Struct, frozen=True):
    """What one partition has answered; with the first of a node's comes what the node itself adds, if anything."""

    partition: int
    status: int
    body: bytes
    content_type: str = "application/json"
    node: NodePage | None = None


class _WatchedSend:
    """Sends an answer, unless it is a failure of a partition that is being given up: then it says nothing."""

    def __init__(self, send: ASGISend, is_open: Callable[[], bool]) -> None:
        self._send = send
        self._is_open = is_open
        self.begun = self.dropped = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            self.dropped = status >= _FAILED and not self._is_open()
            self.begun = not self.dropped
            if status == 503 and not any(name.lower() == b"retry-after" for name, _ in message.get("headers", ())):  # noqa: PLR2004
                message["headers"] = [*message.get("headers", ()), (b"retry-after", b"1")]
        if not self.dropped:
            await self._send(message)


class LocalParts:
    """The partitions of this node.

    Args:
        node: It.
        fallback: Answers what needs no partition, while this node has none, and what is about all that it has.
        metrics: Renders the metrics of the node itself for an ``Accept`` header.
    """

    def __init__(
        self, node: ClusterNode, fallback: Served, metrics: Callable[[str], bytes] = lambda _accept: b""
    ) -> None:
        self._node = node
        self._fallback = fallback
        self._metrics = metrics
        self.parts: dict[int, PartParts] = {}

    def is_open(self, partition: int) -> bool:
        """Whether a partition runs here and takes work."""
        return partition in self.parts and partition in self._node.organisms

    @property
    def open(self) -> tuple[int, ...]:
        """The partitions that do."""
        return tuple(partition for partition in self._node.organisms if partition in self.parts)

    async def answer_itself(self, request: RoutedRequest, reader: Any) -> None:
        """Answer what is about no partition; what it notes is noted in any, a reload in all."""
        noted = self.open and request.scope["path"] != _RELOAD
        control = self.parts[self.open[0]].served.control if noted else self._fallback.control
        scope = {**request.scope, SERVED: Served(control, reader)}
        await request.app(scope, _given(request), request.send)

    async def answer(self, partition: int, request: RoutedRequest) -> bool:
        """Let a partition answer; whether it has. If it was given up meanwhile, it is not known what it has done."""
        watched = _WatchedSend(request.send, lambda: self.is_open(partition))
        try:
            await request.app(self._scope(partition, request), _given(request), watched)
        except Exception:
            if watched.begun or self.is_open(partition):
                raise
            return False
        return not watched.dropped

    async def collect(self, partitions: tuple[int, ...], request: RoutedRequest) -> list[PartAnswer]:
        """Return the answers of those partitions that answer."""
        found: list[PartAnswer] = []

        async def ask(partition: int) -> None:
            begun: list[MutableMapping[str, Any]] = []
            body = bytearray()

            async def keep(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    begun.append(message)
                else:
                    body.extend(message.get("body", b""))

            single = msgspec.structs.replace(request, receive=_never, send=keep)
            if await self.answer(partition, single) and begun:
                headers = {name.lower(): value for name, value in begun[0].get("headers", ())}
                kind = headers.get(b"content-type", b"").decode("latin-1")
                found.append(PartAnswer(partition, begun[0]["status"], bytes(body), kind))

        async with anyio.create_task_group() as tasks:
            for partition in partitions:
                if self.is_open(partition):
                    tasks.start_soon(ask, partition)
        if found and (page := self.page(request)) is not None:
            found[0] = msgspec.structs.replace(found[0], node=page)
        return found

    def page(self, request: RoutedRequest) -> NodePage | None:
        """Return what this node adds of itself to an answer."""
        if request.scope["path"] != "/metrics":
            return None
        return NodePage(self._node.name, self._metrics(request.headers.get("accept", "")))

    def _scope(self, partition: int, request: RoutedRequest) -> ASGIScope:
        parts = self.parts[partition]
        chosen = {SERVED: parts.served, GATEWAY: parts.gateway, METRICS: parts.metrics}
        # The application notes there that an answer has begun, and several partitions answer at the same time.
        own = {"state": dict(request.scope.get("state", {}))}
        return {**request.scope, **own, **{name: part for name, part in chosen.items() if part is not None}}


async def _never() -> MutableMapping[str, Any]:
    await anyio.sleep_forever()
    raise AssertionError


def _given(request: RoutedRequest) -> ASGIReceive:
    """Give the application the body, and then what happens to the connection."""
    given = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await request.receive()
        given = True
        return {"type": "http.request", "body": request.body, "more_body": False}

    return receive


def caller_name(scope: ASGIScope) -> str:
    """Return who makes a request; empty for nobody known."""
    caller = scope.get(CALLER)
    return "" if caller is None else str(caller.name)
