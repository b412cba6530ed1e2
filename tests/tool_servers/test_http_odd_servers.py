"""MCP servers on the web that are odd, as real HTTP servers: a fault is its request's, a lost session is begun anew."""

import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, cast

import anyio
import pytest

from organism.agents.tools.tool import ToolOutput, ToolServerError
from organism.tool_servers.mcp import MCPServer
from organism.tool_servers.targets import WebAddress

pytestmark = pytest.mark.anyio

Handler = BaseHTTPRequestHandler


class Odd:
    """A server of streamable HTTP with sessions; a script may answer calls otherwise."""

    def __init__(self) -> None:
        self.sessions: set[str] = set()
        self.opened = 0
        self.calls: list[str] = []
        self.script: Callable[[Handler, dict[str, Any]], bool] = lambda _handler, _message: False
        odd = self

        class Served(Handler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802 - the name that the library calls
                message = json.loads(self.rfile.read(int(self.headers["content-length"])))
                odd.on_message(self, message)

            def do_GET(self) -> None:  # noqa: N802
                odd.answer(self, 405, b"")

            do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Served)
        self.url = f"http://127.0.0.1:{self.server.server_port}/mcp"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def on_message(self, handler: Handler, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "initialize":
            self.opened += 1
            self.sessions.add(f"s{self.opened}")
            result = {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "serverInfo": {"name": "odd", "version": "1"},
            }
            self.result(handler, message, result, **{"mcp-session-id": f"s{self.opened}"})
            return
        if "id" not in message:
            self.answer(handler, 202, b"")
            return
        if handler.headers.get("mcp-session-id") not in self.sessions:
            self.answer(handler, 404, b"no such session")
            return
        if method == "tools/call":
            self.calls.append(message["params"]["name"])
            if self.script(handler, message):
                return
            self.result(handler, message, {"content": [{"type": "text", "text": f"call {len(self.calls)}"}]})
            return
        self.result(handler, message, {"tools": [{"name": "count"}]})

    def result(self, handler: Handler, message: dict[str, Any], result: Any, **headers: str) -> None:
        document = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        self.answer(handler, 200, json.dumps(document).encode(), **{"content-type": "application/json", **headers})

    @staticmethod
    def answer(handler: Handler, status: int, body: bytes, **headers: str) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def odd() -> Iterator[Odd]:
    served = Odd()
    yield served
    served.close()


@asynccontextmanager
async def running(url: str) -> AsyncIterator[MCPServer]:
    server = MCPServer("odd", WebAddress(url), start_timeout_s=30)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        try:
            yield server
        finally:
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("status", [404, 400, 410])
async def test_lost_session_is_begun_anew_once_and_the_call_made_in_it(odd: Odd, status: int) -> None:
    """A server that was restarted does not know the session: the call has not run, and is made in a new one."""
    async with running(odd.url) as server:
        assert await server.call("count", "{}") == ToolOutput("call 1")
        odd.sessions.clear()
        odd.script = lambda handler, _: False
        if status != 404:
            known = odd.on_message

            def forget(handler: Handler, message: dict[str, Any]) -> None:
                if "id" in message and message["method"] != "initialize" and not odd.sessions:
                    odd.answer(handler, status, b'{"error": "Bad Request: No valid session ID provided"}')
                else:
                    known(handler, message)

            odd.on_message = forget  # type: ignore[method-assign]
        assert await server.call("count", "{}") == ToolOutput("call 2")

        odd.sessions.clear()
        assert [tool.name for tool in await server.tools()] == ["count"]

    assert odd.calls == ["count", "count"]


async def test_session_that_is_lost_again_and_again_is_an_error(odd: Odd) -> None:
    """A new session is tried once a call, not for ever."""

    def forget(handler: Handler, _message: dict[str, Any]) -> bool:
        odd.answer(handler, 404, b"")
        return True

    odd.script = forget
    async with running(odd.url) as server:
        told = await server.call("count", "{}")

    assert told.is_error
    assert "does not know the session" in str(told.content)
    assert odd.calls == ["count", "count"]


def cut_off(handler: Handler, _message: dict[str, Any]) -> bool:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True
    return True


def in_the_middle(handler: Handler, _message: dict[str, Any]) -> bool:
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"jsonrpc"')
    return cut_off(handler, _message)


def says(status: int, body: bytes, media_type: str = "text/html") -> Callable[[Handler, dict[str, Any]], bool]:
    def script(handler: Handler, message: dict[str, Any]) -> bool:
        Odd.answer(handler, status, body.replace(b"$ID", str(message["id"]).encode()), **{"content-type": media_type})
        return True

    return script


GOOD = b'{"jsonrpc": "2.0", "id": $ID, "result": {"content": [{"type": "text", "text": "fine"}]}}'


NOTE = b'{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}'
OTHER = b'{"jsonrpc": "2.0", "id": 999, "result": {"content": [{"type": "text", "text": "of another"}]}}'


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (cut_off, "RemoteProtocolError"),
        (in_the_middle, "RemoteProtocolError"),
        (says(500, b"<html>it broke</html>"), "answered 500: <html>it broke</html>"),
        (says(401, b'{"message": "who are you"}', "application/json"), "answered 401"),
        (says(503, b""), "answered 503"),
        (says(200, b"<html>log in</html>"), "no MCP message (text/html): <html>log in</html>"),
        (says(200, b"[]", "application/json"), "no MCP message"),
        (says(200, b"x" * 20_000_000, "application/json"), "larger than 16,777,216 bytes"),
        (says(400, b'{"jsonrpc": "2.0", "id": null, "error": {"code": 1, "message": "bad"}}'), "answered 400"),
        (says(200, b'{"jsonrpc": "2.0", "id": $ID, "error": "not today"}', "application/json"), "not today"),
        (says(200, b"data: {broken\n\n", "text/event-stream"), "no MCP message: {broken"),
        (says(200, b'data: {"id": null, "error": "bad"}\n\n', "text/event-stream"), "no MCP message: {"),
        (says(200, b"data: " + b"x" * 20_000_000, "text/event-stream"), "larger than 16,777,216 bytes"),
        (says(200, b"{" + b"x" * 20_000_000, "text/event-stream"), "larger than 16,777,216 bytes"),
        (says(200, b": nothing\n\n", "text/event-stream"), "ended without a response"),
    ],
)
async def test_fault_costs_its_request_and_is_not_asked_twice(odd: Odd, script: Any, words: str) -> None:
    """What may have been done is not done again; the session goes on."""
    odd.script = script
    async with running(odd.url) as server:
        failed = await server.call("count", "{}")
        odd.script = lambda _handler, _message: False
        after = await server.call("count", "{}")

    assert failed.is_error
    assert words in str(failed.content)
    assert after == ToolOutput("call 2")
    assert odd.opened == 1


@pytest.mark.parametrize(
    "script",
    [
        says(200, GOOD, "application/json; charset=utf-8"),
        says(200, GOOD, "text/plain"),
        says(200, b"[" + GOOD + b"]", "application/json"),
        says(200, GOOD.replace(b'"jsonrpc": "2.0", ', b""), "application/json"),
        says(200, GOOD.replace(b"$ID", b"999"), "application/json"),
        says(200, b"event: message\ndata: " + GOOD + b"\n\n", "text/event-stream"),
        says(200, GOOD.replace(b"}]", b'}], "n": NaN'), "application/json"),
        says(200, b"data: " + GOOD.replace(b"}]", b'}], "cut": "\\ud83d"') + b"\n\n", "text/event-stream"),
        says(200, b"\xef\xbb\xbf" + GOOD, "application/json"),
        says(200, GOOD, "text/event-stream"),
        says(200, b"event: message\ndata: " + GOOD + b"\n\n", "application/json"),
        says(200, b"data: " + GOOD + b"\n\n", "text/plain"),
        says(200, NOTE + b"\n" + GOOD, "application/x-ndjson"),
        says(200, GOOD + b"\n" + GOOD, "application/json"),
        says(200, b"\xef\xbb\xbfdata: " + GOOD + b"\n\n", "text/event-stream"),
        says(200, b"data: " + GOOD, "text/event-stream"),
        says(200, b"data: [" + GOOD + b"]\n\n", "text/event-stream"),
        says(200, b"event: answer\ndata: " + GOOD + b"\n\n", "text/event-stream"),
        says(200, b"data: " + OTHER + b"\n\ndata: " + GOOD + b"\n\n", "text/event-stream"),
        says(200, b"data: " + GOOD.replace(b"$ID", b"999") + b"\n\n", "text/event-stream"),
        says(200, b"data: " + NOTE + b"\n\n: ping\n\ndata: " + GOOD + b"\n\n", "text/event-stream"),
    ],
)
async def test_odd_answer_is_understood(odd: Odd, script: Any) -> None:
    """The answer to a request is found whatever the media type, the list around it, or its number."""
    odd.script = script
    async with running(odd.url) as server:
        assert await server.call("count", "{}") == ToolOutput("fine")


async def test_packed_answer_is_read(odd: Odd) -> None:
    """A compressed answer is an answer."""

    def packed(handler: Handler, message: dict[str, Any]) -> bool:
        body = gzip.compress(GOOD.replace(b"$ID", str(message["id"]).encode()))
        Odd.answer(handler, 200, body, **{"content-type": "application/json", "content-encoding": "gzip"})
        return True

    odd.script = packed
    async with running(odd.url) as server:
        assert await server.call("count", "{}") == ToolOutput("fine")


async def test_server_that_is_away_is_told() -> None:
    """Nobody listening is an error with a reason, of a call as of the list."""
    odd = Odd()
    cast("Any", odd.server.RequestHandlerClass).protocol_version = "HTTP/1.0"  # a connection for each request
    async with running(odd.url) as server:
        assert await server.call("count", "{}") == ToolOutput("call 1")
        odd.close()
        away = await server.call("count", "{}")
        with pytest.raises(ToolServerError, match="ConnectError"):
            await server.tools()

    assert away.is_error
    assert "ConnectError" in str(away.content)
