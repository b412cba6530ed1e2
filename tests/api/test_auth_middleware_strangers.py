"""Who has no token keeps nobody out: of many connections those of strangers end first."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import anyio
import anyio.abc
import httpx2
import pytest

from organism.api import streams
from tests.api.conftest import NO_TLS

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]

PLACES = 6
HEAD = "Host: localhost\r\n"
PROMISED = f"{HEAD}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
DAWDLERS = {
    "a body that does not come, to a health check": f"POST /healthz HTTP/1.1\r\n{PROMISED}",
    "a body in chunks that does not come": f"POST /readyz HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n",
    "a body that does not come, to a page": f"GET / HTTP/1.1\r\n{PROMISED}",
    "a body that does not come, to a file": f"GET /dashboard/main.js HTTP/1.1\r\n{PROMISED}{{",
    "a body that does not come, without a token": f"POST /v1/threads HTTP/1.1\r\n{PROMISED}",
    "a body that does not come, to nowhere": f"PUT /nowhere HTTP/1.1\r\n{PROMISED}",
    "a body that is waited for to go on": f"POST /healthz HTTP/1.1\r\nExpect: 100-continue\r\n{PROMISED}",
    "half a head": f"GET /healthz HTTP/1.1\r\n{HEAD}X-Slow: ",
    "nothing": "",
    "answers that nobody reads": f"GET /dashboard/main.js HTTP/1.1\r\n{HEAD}\r\n" * 200,
    "no HTTP": "\x16\x03\x01\x02\x00\x01\x00",
    "garbage behind a request": f"GET /healthz HTTP/1.1\r\n{HEAD}\r\n\x00\x01\x02\r\n\r\n",
    "HTTP/1.0": f"GET /readyz HTTP/1.0\r\n{HEAD}Connection: keep-alive\r\n\r\n",
}


async def dawdle(client: httpx2.AsyncClient, says: str) -> anyio.abc.SocketStream:
    stream = await anyio.connect_tcp(str(client.base_url.host), int(client.base_url.port or 0))
    if says:
        with anyio.move_on_after(0.2):  # whoever is not read from, does not take everything
            await stream.send(says.encode("latin-1"))
    return stream


@pytest.mark.parametrize("says", DAWDLERS.values(), ids=DAWDLERS)
async def test_stranger_who_dawdles_locks_nobody_out(
    served: Served, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    """With every connection in the hands of strangers who take their time, the operator is answered all the same."""
    monkeypatch.setattr("organism.api.protocol.CONNECTIONS_MAX", PLACES)
    async with served() as (_, client), AsyncExitStack() as open_streams:
        for _ in range(3 * PLACES):
            await open_streams.enter_async_context(await dawdle(client, says))
            async with httpx2.AsyncClient(
                base_url=client.base_url, headers=client.headers, timeout=60, verify=NO_TLS
            ) as operator:
                assert (await operator.get("/v1/status")).status_code == 200


async def test_stranger_ends_no_connection_of_the_operators(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that a token has been used on, and a request under way, outlive any number of strangers."""
    monkeypatch.setattr("organism.api.protocol.CONNECTIONS_MAX", PLACES)
    async with served() as (_, client), AsyncExitStack() as open_streams:
        await client.get("/v1/status")
        async with client.stream("GET", "/v1/events") as followed:
            frames = followed.aiter_raw()
            assert await anext(frames) == b": listening\n\n"
            for _ in range(3 * PLACES):
                await open_streams.enter_async_context(await dawdle(client, DAWDLERS["half a head"]))
            thread = await client.post("/v1/threads", json={"text": "go"})
            assert thread.status_code == 202
            assert b"ThreadOpened" in await anext(frames)


async def test_body_where_none_is_taken_is_refused_at_once(served: Served) -> None:
    """Whoever promises a body to a path that is open to everybody is told so, and the connection ends."""
    async with served() as (_, client):
        for path in ("/healthz", "/readyz", "/", "/dashboard/style.css"):
            async with await dawdle(client, f"POST {path} HTTP/1.1\r\n{PROMISED}") as stream:
                with anyio.fail_after(60):
                    answer = b"".join([piece async for piece in stream])  # until the connection has ended
            assert answer.startswith(b"HTTP/1.1 413")
            assert b"no_body_here" in answer


async def test_bound_on_followers_holds_for_those_who_come_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many who begin to follow in the same instant exactly so many are let in, and places are free again after."""
    monkeypatch.setattr(streams, "FOLLOWERS_MAX", 3)
    async with served() as (organism, client):
        await client.post("/v1/threads", json={"text": "go"})
        await organism.journal.commit()
        for _ in range(2):
            statuses: list[int] = []
            done = anyio.Event()

            async def follow() -> None:
                async with client.stream("GET", "/v1/events?after=0") as response:
                    statuses.append(response.status_code)  # noqa: B023 - each round has its own
                    if len(statuses) == 12:  # noqa: B023
                        done.set()  # noqa: B023
                    await done.wait()  # noqa: B023

            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    for _ in range(12):
                        tasks.start_soon(follow)
            assert sorted(statuses) == [200] * 3 + [429] * 9


async def test_follower_that_fails_to_begin_takes_no_place(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that are none, or of another journal, cost no place."""
    monkeypatch.setattr(streams, "FOLLOWERS_MAX", 1)
    async with served() as (_, client):
        for after in ("x", "9" * 30, "999", "-1", "\u0665"):
            assert (await client.get("/v1/events", params={"after": after})).status_code in (400, 410)
        async with client.stream("GET", "/v1/events") as response:
            assert response.status_code == 200


OTHER_HOSTS = [
    "127.0.0.1:1@evil.com",
    "localhost@evil.com",
    "localhost:80:90",
    "localhost:99999",
    "localhost:٨٠",
    "localhost/evil.com",
    "localhost,evil.com",
    "localhost evil.com",
    "[::1]evil.com",
    "[::1]:80@evil.com",
    "[::1",
    "localhost.",
    ".localhost",
    "127.1",
    "localhost:",
    "localhost#evil.com",
    "",
]


async def test_host_is_a_name_and_a_port_and_nothing_else(served: Served) -> None:
    """What only begins like this host means another one, and is refused."""
    async with served() as (_, client):
        for host in OTHER_HOSTS:
            answer = await client.get("/v1/status", headers=[("host", host.encode())])
            assert answer.status_code in (400, 421), host


async def test_host_of_this_machine_is_let_in(served: Served) -> None:
    """Names of this machine are, with any port."""
    async with served() as (_, client):
        for host in ("localhost", "LocalHost:80", "127.0.0.1:65535", "[::1]", "[::1]:8420"):
            assert (await client.get("/v1/status", headers={"host": host})).status_code == 200, host
