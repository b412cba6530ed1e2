"""The bounds of the server itself, on a real socket: connections, heads, bodies, and who makes room for whom."""

import json
import resource
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
import httpx2
import pytest

from organism.api.auth_middleware import BODY_MAX, HEAD_MAX
from organism.api.protocol import BESIDE_MAX, CONNECTIONS_MAX
from organism.api.routes.system import OPEN_PATHS

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]
TOKEN = "the-first-token-of-the-tests-of-the-api"


async def connect(client: httpx2.AsyncClient) -> anyio.abc.SocketStream:
    """Open a connection of its own."""
    return await anyio.connect_tcp(str(client.base_url.host), int(client.base_url.port or 0))


@asynccontextmanager
async def connections(client: httpx2.AsyncClient, number: int) -> AsyncIterator[list[anyio.abc.SocketStream]]:
    """Open many connections that send nothing."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(await connect(client)) for _ in range(number)]


async def all_of(stream: anyio.abc.ByteReceiveStream) -> bytes:
    """Return all that comes until the other side ends; a connection that is torn down ends too."""
    received = b""
    with anyio.fail_after(60):
        try:
            async for piece in stream:
                received += piece
        except anyio.BrokenResourceError:
            pass
    return received


async def drip(stream: anyio.abc.ByteSendStream, data: bytes) -> None:
    """Send slowly enough that it cannot come in one piece."""
    for begin in range(0, len(data), 1000):
        await stream.send(data[begin : begin + 1000])
        await anyio.sleep(0.005)


def request(path: str, *headers: str) -> bytes:
    """Return the head of a request with the token."""
    lines = (f"GET {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def answer(client: httpx2.AsyncClient, head: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes on a connection of their own and return status and body of the answer."""
    async with await connect(client) as stream:
        await stream.send(head)
        received = b""
        with anyio.fail_after(60):
            while b"}" not in received:
                received += await stream.receive()
    status, _, _ = received.partition(b"\r\n")
    return int(status.split()[1]), json.loads(received.partition(b"\r\n\r\n")[2])


async def test_idle_connections_keep_nobody_out_and_do_not_pile_up(served: Served) -> None:
    """Whoever opens connections and sends nothing gets the oldest of them closed, and the operator his answer."""
    async with served() as (_, client), connections(client, 3 * CONNECTIONS_MAX) as idle:
        for _ in range(3):
            assert (await client.get("/v1/status")).status_code == 200
        ended = anyio.Semaphore(0)

        async def see_it_end(stream: anyio.abc.SocketStream) -> None:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await stream.receive()
            ended.release()

        async with anyio.create_task_group() as tasks:
            for stream in idle:
                tasks.start_soon(see_it_end, stream)
            with anyio.fail_after(60):
                for _ in range(2 * CONNECTIONS_MAX):
                    await ended.acquire()
            tasks.cancel_scope.cancel()


async def test_a_connection_that_makes_room_before_its_request_has_come_is_told_why(served: Served) -> None:
    """Of a burst of programs that connect at once, those that are cut read that they are, and not an empty answer."""
    async with served() as (_, client), connections(client, CONNECTIONS_MAX) as burst:
        assert (await client.get("/v1/status")).status_code == 200
        head, _, body = (await all_of(burst[0])).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert json.loads(body)["code"] == "too_many_connections"
        assert "try again in a moment" in json.loads(body)["detail"]


async def test_more_requests_at_a_time_than_are_taken_get_a_503_that_says_so(served: Served) -> None:
    """Requests under way are not broken off for new ones; when one has ended there is a place again."""
    async with served() as (_, client), connections(client, CONNECTIONS_MAX) as busy:
        for stream in busy:
            await stream.send(request("/v1/events/page?after=0&wait_seconds=20&type=AgentStopped"))
        async with await connect(client) as late:
            await late.send(request("/v1/status"))
            refused = await all_of(late)
        head, _, body = refused.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert json.loads(body)["code"] == "too_many_connections"
        await busy[0].aclose()
        status, _ = await answer(client, request("/v1/status"))
        assert status == 200


@pytest.mark.parametrize("path", OPEN_PATHS)
async def test_who_watches_the_daemon_is_answered_where_all_connections_are_taken(served: Served, path: str) -> None:
    """A daemon that has nothing but much to do is not taken for a dead one, however many others ask at once."""
    async with served() as (_, client), connections(client, CONNECTIONS_MAX) as busy:
        for stream in busy:
            await stream.send(request("/v1/events/page?after=0&wait_seconds=20&type=AgentStopped"))
        async with connections(client, BESIDE_MAX - 1), await connect(client) as probe:
            await probe.send(request(path))
            head = (await all_of(probe)).lower()
            assert head.startswith(b"http/1.1 200 ")
            assert b"connection: close" in head


async def test_connections_beside_those_that_are_taken_are_few(served: Served) -> None:
    """Who connects where all places are taken and asks nothing makes room for the next one, and hears why."""
    async with served() as (_, client), connections(client, CONNECTIONS_MAX) as busy:
        for stream in busy:
            await stream.send(request("/v1/events/page?after=0&wait_seconds=20&type=AgentStopped"))
        async with connections(client, BESIDE_MAX) as beside, await connect(client) as probe:
            await probe.send(request("/healthz"))
            assert (await all_of(probe)).startswith(b"HTTP/1.1 200 ")
            assert (await all_of(beside[0])).startswith(b"HTTP/1.1 503 ")


async def test_body_that_says_it_is_too_large_is_not_waited_for(served: Served) -> None:
    """Whoever announces more than may be sent is refused by the announcement: nothing of it need come."""
    async with served() as (_, client):
        head = request("/v1/threads", "Content-Type: application/json", f"Content-Length: {BODY_MAX + 1}")
        status, problem = await answer(client, head.replace(b"GET", b"POST", 1))
        assert (status, problem["code"]) == (413, "too_large")


async def test_client_that_does_not_read_is_left(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that was stopped in the middle of an answer keeps neither its connection nor the answer's memory."""
    monkeypatch.setattr("organism.api.protocol.UNREAD_S", 0.1)
    async with served() as (_, client), await connect(client) as stopped:
        await stopped.send(request("/v1/schema/openapi.json") * 30)
        with anyio.fail_after(60), pytest.raises(anyio.BrokenResourceError):
            await drip(stopped, b"\r\n" * 30_000)
        assert (await client.get("/v1/status")).status_code == 200


async def test_requests_of_one_connection_do_not_pile_up(served: Served) -> None:
    """Whoever sends requests by the thousand before reading an answer is cut off, and they are not kept in memory."""
    async with served() as (_, client), await connect(client) as hasty:
        with anyio.fail_after(60), pytest.raises(anyio.BrokenResourceError):
            await hasty.send(request("/v1/schema/openapi.json") * 100_000)
        assert (await client.get("/v1/status")).status_code == 200


@pytest.mark.parametrize(
    "lines",
    [("X-Large: " + "x" * HEAD_MAX,), tuple(f"X-{number}: {'x' * 80}" for number in range(200))],
    ids=["one", "many"],
)
async def test_head_above_its_bound_is_refused_however_it_comes(served: Served, lines: tuple[str, ...]) -> None:
    """In one piece it is read whole and answered 431; in drops it is cut off as soon as it is too large."""
    async with served() as (_, client):
        status, problem = await answer(client, request("/v1/status", *lines))
        assert (status, problem["code"]) == (431, "head_too_large")
        status, _ = await answer(client, request("/v1/status", "X-Large: " + "x" * (HEAD_MAX - 400)))
        assert status == 200
        async with await connect(client) as stream:
            head = request("/v1/status", *lines)[:-2]
            with pytest.raises(anyio.BrokenResourceError):
                await drip(stream, head + b"x" * 100_000)


CHUNKS = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "blank lines": ("", "\r\n"),
    "a method": ("", "X"),
    "a path": ("GET /v1/status?", "x"),
    "a header": ("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-Large: ", "x"),
    "headers": ("GET /v1/status HTTP/1.1\r\nHost: localhost\r\n", "X: y\r\n"),
    "an extension of a chunk": (f"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\n{CHUNKS}1;x=", "y"),
    "a trailer": (f"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\n{CHUNKS}0\r\nX-Large: ", "x"),
    "trailers": (f"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\n{CHUNKS}0\r\n", "X: y\r\n"),
}


@pytest.mark.parametrize(("begun", "more"), ENDLESS.values(), ids=ENDLESS)
async def test_what_is_no_body_is_bounded(served: Served, begun: str, more: str) -> None:
    """Lines that go on and on end their connection, wherever in a request they stand."""
    async with served() as (_, client), await connect(client) as stream:
        with anyio.fail_after(60), pytest.raises(anyio.BrokenResourceError):
            await drip(stream, (begun + more * (4 * HEAD_MAX // len(more))).encode())


async def test_what_is_no_http_is_refused_in_the_shape_of_every_refusal(served: Served) -> None:
    """Also where no request could be made of it."""
    async with served() as (_, client):
        status, problem = await answer(client, b"this is no request\r\n\r\n")
        assert (status, problem["code"], problem["status"]) == (400, "not_http", 400)


async def test_body_without_end_costs_no_memory(served: Served) -> None:
    """A body that is announced too large is refused before it comes, one in chunks when it has grown too large."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1_000_000

    async with served() as (_, client):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with await connect(client) as stream:
            announced = request("/v1/threads", "Content-Type: application/json", f"Content-Length: {10**9}")
            await stream.send(announced.replace(b"GET", b"POST", 1))
            assert (await stream.receive()).startswith(b"HTTP/1.1 413")
        headers = {"content-type": "application/json"}
        try:
            refused = await client.post("/v1/threads", content=endless(), headers=headers)
            assert refused.status_code == 413
        except httpx2.TransportError:
            pass  # it was cut off while it still sent
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 64 * 1024
        exact = json.dumps({"text": "x" * (BODY_MAX - 12)})
        assert (await client.post("/v1/threads", content=exact, headers=headers)).status_code == 413  # of the message
        assert (await client.get("/v1/status")).status_code == 200


async def test_no_other_protocol_is_spoken(served: Served) -> None:
    """A request to go on as a WebSocket is answered as the plain request it is, behind the same gate."""
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
    async with served() as (_, client):
        status, body = await answer(client, request("/v1/status", *upgrade))
        assert (status, body["name"]) == (200, "organism")
        status, _ = await answer(client, request("/v1/status", *upgrade).replace(TOKEN.encode(), b"wrong"))
        assert status == 401


async def test_an_answer_does_not_wait_for_an_acknowledgement(served: Served) -> None:
    """On a connection that is kept, head and body leave at once, not 40 ms later with a delayed acknowledgement."""
    async with served() as (_, client):
        took = []
        for _ in range(30):
            began = time.perf_counter()
            await client.get("/v1/status")
            took.append(time.perf_counter() - began)

    assert min(took[10:]) < 0.03, "the first ones are acknowledged at once in any case"
