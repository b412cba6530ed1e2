"""How the HTTP server ends, with a small application of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import pytest
import uvicorn

from organism.api.server import bind, url_of
from organism.api.uvicorn_server import UvicornServer

pytestmark = pytest.mark.anyio

Connected = tuple[UvicornServer, anyio.abc.SocketStream]
Application = Callable[[Any, Any, Callable[[Any], Awaitable[None]]], Awaitable[None]]
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def serving(application: Application, grace_s: int) -> AsyncIterator[Connected]:
    """Serve an application and connect to it; the server has ended behind the block."""
    with bind("127.0.0.1", 0) as listener:
        port = int(url_of(listener).rpartition(":")[2])
        config = uvicorn.Config(
            application, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=grace_s
        )
        server = UvicornServer(config)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: server.serve(sockets=[listener]))
                async with await anyio.connect_tcp("127.0.0.1", port) as client:
                    yield server, client


async def test_a_request_under_way_is_answered_before_the_end() -> None:
    """Who asked before a stop gets the answer, however idle the other connections are."""
    begun, released = anyio.Event(), anyio.Event()

    async def application(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        begun.set()
        await released.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(application, grace_s=20) as (server, client):
        await client.send(REQUEST)
        await begun.wait()
        server.stop()
        await anyio.wait_all_tasks_blocked()
        released.set()
        answer = await client.receive()
    assert answer.startswith(b"HTTP/1.1 200")


async def test_what_does_not_end_is_cut() -> None:
    """An answer that is never finished keeps no program from its end."""
    begun, cut = anyio.Event(), anyio.Event()

    async def application(_scope: Any, _receive: Any, _send: Any) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cut.set()

    async with serving(application, grace_s=0) as (server, client):
        await client.send(REQUEST)
        await begun.wait()
        server.stop()
        await cut.wait()
