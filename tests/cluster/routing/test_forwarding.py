"""A request that is passed on ends with its client, and is sent again only where nothing can have been done."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from organism.api.auth_middleware import ASGIReceive, ASGIScope, ASGISend
from organism.cluster.routing.forwarded import PATH, Signatures
from organism.cluster.routing.forwarding import Forwarding, ForwardOutcome
from tests.cluster.routing.conftest import Client, KnownCluster, parts_of, row

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\norganism-node: b\r\n"
PIECE = HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"


class OtherNode:
    """Another node's server: sends what it is given, and then keeps the connection until the other side ends it."""

    def __init__(self, answer: bytes, *, cuts: bool = False) -> None:
        self._answer, self._cuts = answer, cuts
        self.url = ""
        self.asked, self.left = anyio.Event(), anyio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(f"POST {PATH} ".encode())
            writer.write(self._answer)
            await writer.drain()
            self.asked.set()
            if not self._cuts:
                await reader.read()
        except ConnectionError:
            pass  # an end as good as any
        finally:
            self.left.set()
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()


async def unasked(_scope: ASGIScope, _receive: ASGIReceive, _send: ASGISend) -> None:
    raise AssertionError("nothing is answered here")


class Passing:
    """A node that passes a client's request on to the other one."""

    def __init__(self, other: OtherNode) -> None:
        self.owner = row("b", other.url)
        self.node = KnownCluster([self.owner])
        local = parts_of(self.node)
        self.forwarding = Forwarding(self.node, local, Signatures(b"key", lambda: 0), lambda _scope: unasked)

    async def forward(self, client: Client) -> ForwardOutcome:
        try:
            return await self.forwarding.forward(self.owner, 0, client.asks(unasked, "/v1/threads/x"))
        finally:
            await self.forwarding.peers.aclose()


@pytest.mark.parametrize("answer", [b"", PIECE], ids=["before the answer", "in the midst of it"])
async def test_client_that_goes_takes_its_request_along(client: Client, answer: bytes) -> None:
    """The other node sees the connection end, so that nothing is streamed, and paid for, that nobody reads."""
    other = OtherNode(answer)
    with anyio.fail_after(60):
        async with other.running(), anyio.create_task_group() as tasks:
            passing = Passing(other)

            async def go() -> None:
                await other.asked.wait()
                if answer:
                    await client.got_piece.wait()
                client.gone.set()

            tasks.start_soon(go)
            await passing.forward(client)
            await other.left.wait()
    assert client.body == (b"hi" if answer else b"")


async def test_request_does_not_wait_for_a_node_that_has_lost_its_partition(client: Client) -> None:
    """A partition that has moved is looked for where it is by now; whether the first has done it is not known."""
    other = OtherNode(b"")
    with anyio.fail_after(60):
        async with other.running(), anyio.create_task_group() as tasks:
            passing = Passing(other)

            async def move() -> None:
                await other.asked.wait()
                passing.node.learn([row("c")])

            tasks.start_soon(move)
            assert await passing.forward(client) is ForwardOutcome.UNKNOWN
            await other.left.wait()
    assert not client.messages


SAID: dict[str, tuple[bytes, ForwardOutcome]] = {
    "the node": (HEAD + b"content-length: 2\r\n\r\nhi", ForwardOutcome.ANSWERED),
    "the node, that it has not": (
        b"HTTP/1.1 503 X\r\norganism-elsewhere: untouched\r\ncontent-length: 2\r\n\r\n{}",
        ForwardOutcome.UNTOUCHED,
    ),
    "the node, that it may have": (
        b"HTTP/1.1 503 X\r\norganism-elsewhere: unknown\r\ncontent-length: 2\r\n\r\n{}",
        ForwardOutcome.UNKNOWN,
    ),
    "a proxy in front of it": (b"HTTP/1.1 502 X\r\ncontent-length: 2\r\n\r\nno", ForwardOutcome.UNKNOWN),
    "nobody": (b"", ForwardOutcome.UNKNOWN),
    "no HTTP": (b"SSH-2.0\r\n\r\n", ForwardOutcome.UNKNOWN),
}


@pytest.mark.parametrize("who", SAID)
async def test_only_the_node_itself_answers(client: Client, who: str) -> None:
    """What others say in its place reaches no client, and counts as not known: the node may have done it."""
    answer, outcome = SAID[who]
    other = OtherNode(answer, cuts=True)
    with anyio.fail_after(60):
        async with other.running():
            assert await Passing(other).forward(client) is outcome
            await other.left.wait()
    assert (client.body if client.messages else None) == (b"hi" if outcome is ForwardOutcome.ANSWERED else None)


async def test_node_that_cannot_be_reached_has_done_nothing(client: Client) -> None:
    """A request that never left may be sent again, wherever its partition is by then."""
    other = OtherNode(b"")
    with socket.socket() as bound:  # nobody listens there, and nobody else can meanwhile
        bound.bind(("127.0.0.1", 0))
        other.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with anyio.fail_after(60):
            assert await Passing(other).forward(client) is ForwardOutcome.UNTOUCHED
