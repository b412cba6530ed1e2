"""Requests to other nodes, and theirs to this one: passed on piece by piece, with one hop at most."""

import ssl
from collections.abc import Callable, MutableMapping
from enum import Enum
from functools import partial
from typing import Any

import anyio
import msgspec

from organism.api.auth_middleware import (
    CALLER,
    HEAD_MAX,
    HEADERS,
    AccessRule,
    ASGIApp,
    ASGIReceive,
    ASGIScope,
    ASGISend,
    RequestHeaders,
    head_size,
)
from organism.api.tokens.token_book import Caller
from organism.cluster.node import ClusterNode
from organism.cluster.routing.forwarded import HEADER, PATH, ForwardedRequest, Signatures, digest_of, opened
from organism.cluster.routing.local_parts import LocalParts, PartAnswer, RoutedRequest
from organism.concurrency.loop_time import loop_time
from organism.gateway.routes import BOUNDS
from organism.providers.http_direct import (
    ConnectError,
    ConnectionLostError,
    DirectResponse,
    DirectTransport,
    LocalProtocolError,
)
from organism.providers.http_response import UnreadableResponseError
from organism.stores.leases import NodeRow
from organism.telemetry.metrics.node_instruments import FORWARD_SECONDS

_ELSEWHERE = "organism-elsewhere"
"""In an answer of another node: it has not answered. ``untouched``, or ``unknown`` if it may have done something."""

_NOT_PASSED = frozenset(
    {
        "host", "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length",
        "content-encoding", "expect", "authorization", "x-api-key", "cookie", "accept-encoding", HEADER,
    }
)  # fmt: skip
_NOT_RETURNED = frozenset(
    {
        "connection", "keep-alive", "transfer-encoding", "date", "server", "cache-control", "x-content-type-options",
        "referrer-policy", "cross-origin-resource-policy", "content-security-policy", "x-request-id",
    }
)  # fmt: skip
_FITS = 3_000
"""Bytes of a head that fit however they are written in JSON and in base 64."""

_BESIDE = 1_000
"""Bytes for what else stands in the head that they are passed on in."""

_OK = 200
_CONNECT_S = 3.0
_NAMED = "organism-node"
"""In each answer that was passed on: the node that has given it."""

_NODE = Caller("node", frozenset())


class ForwardOutcome(Enum):
    """Whether a request was answered, nothing was done, or neither is known."""

    ANSWERED = "answered"
    UNTOUCHED = "untouched"
    UNKNOWN = "unknown"


class Peers:
    """The other nodes, by where they answer."""

    def __init__(self) -> None:
        self._transports: dict[str, DirectTransport] = {}

    async def send(self, url: str, signed: str, body: bytes) -> DirectResponse:
        """Send a signed request and return the response when the head of it is there; raises as its transport does."""
        if (transport := self._transports.get(url)) is None:
            tls = ssl.create_default_context() if url.startswith("https:") else None
            transport = self._transports[url] = DirectTransport(url, _CONNECT_S, tls)
        headers = {HEADER: signed, "content-type": "application/json"}
        return await transport.post(url.rstrip("/") + PATH, headers, body)

    async def aclose(self) -> None:
        """End the connections that are idle."""
        for transport in self._transports.values():
            await transport.aclose()


class Forwarding:
    """Passes requests on, and answers those that others have passed on.

    Args:
        node: This node.
        local: Its partitions.
        signatures: Signs and checks.
        answering: Returns what answers a request, whose scope it prepares.
    """

    def __init__(
        self,
        node: ClusterNode,
        local: LocalParts,
        signatures: Signatures,
        answering: Callable[[ASGIScope], ASGIApp],
    ) -> None:
        self._node = node
        self._local = local
        self._signatures = signatures
        self._answering = answering
        self.peers = Peers()

    @property
    def rule(self) -> AccessRule:
        """Who may use the path where nodes send each other requests: nodes."""

        def authenticate(headers: RequestHeaders) -> Caller | None:
            return _NODE if self._signatures.admits(headers.get(HEADER, "")) else None

        return AccessRule(PATH, authenticate, bounds=BOUNDS, answers=self.answer)

    # -- to others ------------------------------------------------------------------------------------------------

    async def forward(self, owner: NodeRow, partition: int, request: RoutedRequest) -> ForwardOutcome:
        """Have another node answer; its client goes: so does this."""
        outcome = ForwardOutcome.ANSWERED
        async with anyio.create_task_group() as tasks:
            moved = partial(self._until_moved, partition, owner)
            tasks.start_soon(_cancel_after, partial(_until_gone, request.receive), tasks.cancel_scope)
            head = anyio.CancelScope()
            tasks.start_soon(_cancel_after, moved, head)
            outcome = await self._exchange(owner, partition, request, head)
            tasks.cancel_scope.cancel()
            self._node.counts.forwards[outcome.value] += 1
        return outcome

    async def _exchange(
        self, owner: NodeRow, partition: int, request: RoutedRequest, head: anyio.CancelScope
    ) -> ForwardOutcome:
        response: DirectResponse | None = None
        began_s = loop_time()
        try:
            with head:
                response = await self._sent(owner, (partition,), request)
        except (ConnectError, LocalProtocolError):
            return ForwardOutcome.UNTOUCHED
        except (ConnectionLostError, UnreadableResponseError):
            return ForwardOutcome.UNKNOWN
        self._node.counts.forwarded(loop_time() - began_s, FORWARD_SECONDS.bounds)
        if response is None:  # the partition is another node's by now, and this one may never answer
            return ForwardOutcome.UNKNOWN
        try:
            if (elsewhere := response.headers.get(_ELSEWHERE)) is not None:
                return (
                    ForwardOutcome.UNTOUCHED if elsewhere == ForwardOutcome.UNTOUCHED.value else ForwardOutcome.UNKNOWN
                )
            if _NAMED not in response.headers:  # it is its gate's, or a proxy's in front of it
                return ForwardOutcome.UNKNOWN
            headers = [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in response.headers.items()
                if name not in _NOT_RETURNED
            ]
            await request.send({"type": "http.response.start", "status": response.status, "headers": headers})
            async for piece in response.pieces():
                await request.send({"type": "http.response.body", "body": piece, "more_body": True})
            await request.send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await response.aclose()
        return ForwardOutcome.ANSWERED

    async def gather(self, owner: NodeRow, partitions: tuple[int, ...], request: RoutedRequest) -> list[PartAnswer]:
        """Return the answers of partitions of another node; of those that do not answer there is none."""
        try:
            response = await self._sent(owner, partitions, request, gathers=True)
            try:
                if response.status != _OK:
                    return []
                body = b"".join([piece async for piece in response.pieces()])
            finally:
                await response.aclose()
            return msgspec.json.decode(body, type=list[PartAnswer])
        except (OSError, ValueError, msgspec.MsgspecError):
            return []

    async def _sent(
        self, owner: NodeRow, partitions: tuple[int, ...], request: RoutedRequest, *, gathers: bool = False
    ) -> DirectResponse:
        forwarded = self._forwarded(owner.name, owner.incarnation, partitions, request, gathers=gathers)
        return await self.peers.send(owner.url, self._signatures.signed(forwarded), request.body)

    def fits(self, request: RoutedRequest) -> bool:
        """Whether a request's line and headers, signed, fit into the head that another node's gate takes."""
        if head_size(request.scope) <= _FITS:
            return True
        every = tuple(self._node.layout.every)
        forwarded = self._forwarded(self._node.name, 1 << 31, every, request, gathers=True)
        return len(self._signatures.signed(forwarded)) <= HEAD_MAX - _BESIDE

    def _forwarded(
        self, to: str, incarnation: int, partitions: tuple[int, ...], request: RoutedRequest, *, gathers: bool
    ) -> ForwardedRequest:
        scope = request.scope
        return ForwardedRequest(
            to=to,
            incarnation=incarnation,
            partitions=partitions,
            gathers=gathers,
            method=scope["method"],
            path=scope["path"],
            query=scope.get("query_string", b"").decode("latin-1"),
            headers=tuple((name, value) for name, value in request.headers.items() if name not in _NOT_PASSED),
            caller=scope.get(CALLER),
            digest=digest_of(request.body),
        )

    async def _until_moved(self, partition: int, owner: NodeRow) -> None:
        while True:
            await self._node.news.wait()
            now = self._node.view.owner_of(partition)
            if now is None or (now.name, now.incarnation) != (owner.name, owner.incarnation) or not now.live:
                return

    # -- from others ----------------------------------------------------------------------------------------------

    async def answer(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Answer a request that another node has passed on, or say that it was not answered."""
        body = (await receive()).get("body", b"")
        said = opened(scope[HEADERS][HEADER])
        table = self._node.table
        me = (self._node.name, table.incarnation)
        if (said.to, said.incarnation) != me or digest_of(body) != said.digest:
            await _elsewhere(send, ForwardOutcome.UNTOUCHED)
            return
        inner = _scope_of(said, scope)
        request = RoutedRequest(self._answering(inner), inner, body, receive, send)
        if said.gathers:
            found = await self._local.collect(said.partitions, request)
            await _reply(send, _OK, msgspec.json.encode(found))
        elif not self._local.is_open(said.partitions[0]):
            await _elsewhere(send, ForwardOutcome.UNTOUCHED)
        elif not await self._local.answer(said.partitions[0], msgspec.structs.replace(request, send=self._named(send))):
            await _elsewhere(send, ForwardOutcome.UNKNOWN)

    def _named(self, send: ASGISend) -> ASGISend:
        async def named(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (_NAMED.encode(), self._node.name.encode())]
            await send(message)

        return named


def _scope_of(said: ForwardedRequest, scope: ASGIScope) -> ASGIScope:
    """Return the scope of a request as it was where it came in."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said.headers]
    inner: ASGIScope = {
        "type": "http",
        "asgi": scope["asgi"],
        "http_version": scope["http_version"],
        "server": scope["server"],
        "client": scope["client"],
        "scheme": scope["scheme"],
        "root_path": "",
        "method": said.method,
        "path": said.path,
        "raw_path": said.path.encode(),
        "query_string": said.query.encode("latin-1"),
        "headers": headers,
        "organism.request_id": scope["organism.request_id"],
    }
    return inner if said.caller is None else {**inner, CALLER: said.caller}


async def _cancel_after(wait: Callable[[], Any], scope: anyio.CancelScope) -> None:
    await wait()
    scope.cancel()


async def _until_gone(receive: ASGIReceive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _elsewhere(send: ASGISend, outcome: ForwardOutcome) -> None:
    await _reply(send, 503, b"{}", [(_ELSEWHERE.encode(), outcome.value.encode())])


async def _reply(send: ASGISend, status: int, body: bytes, more: list[tuple[bytes, bytes]] | None = None) -> None:
    sized = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(more or [])]
    start: MutableMapping[str, Any] = {"type": "http.response.start", "status": status, "headers": sized}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
