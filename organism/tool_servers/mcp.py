"""MCP servers, through the official SDK: programs that are run here, and servers on the web.

What a server says is shown to a model, and nothing else is done with it: it gets no model calls, no files and no
questions to people from us, because none of the callbacks for these is given to the SDK.
"""

import importlib.util
import os
import tempfile
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import anyio
import msgspec
import structlog

from organism.agents.tools import ToolOutput, ToolServerError
from organism.error_text import describe, in_one_line
from organism.errors import MissingExtraError
from organism.llm.requests import ImagePart, TextPart, Tool

if TYPE_CHECKING:
    from mcp import Client

_log = structlog.get_logger("organism.tools")

_CONNECT_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0
_LOG_TAIL_BYTES = 2000
_PAGES_MAX = 100
_WORDS_MAX = 300
_EVENT_BYTES_MAX = 16 * 1024 * 1024


class Command(msgspec.Struct, frozen=True):
    """A server that is run here.

    Attributes:
        command: The program and its arguments.
        environment: What it is given besides ``HOME``, ``PATH`` and the like.
        folder: Where it runs.
    """

    command: tuple[str, ...]
    environment: dict[str, str] = {}
    folder: Path = Path()


class WebAddress(msgspec.Struct, frozen=True):
    """A server that is spoken to over streamable HTTP.

    Attributes:
        url: Its address.
        token: Sent as a bearer token.
    """

    url: str
    token: str | None = None


class MCPServer:
    """One MCP server, started or connected to when it is first needed, and again after it was lost.

    Args:
        name: Its name in the configuration.
        target: Where it is.
        start_timeout_s: Seconds until it must be ready.

    Raises:
        MissingExtraError: If the SDK is not installed.
    """

    def __init__(self, name: str, target: Command | WebAddress, *, start_timeout_s: float = 30.0) -> None:
        if importlib.util.find_spec("mcp") is None:
            raise MissingExtraError(f"the MCP server {name!r}", "mcp")
        self.name = name
        self._target = target
        self._start_timeout_s = start_timeout_s
        self._client: Client | None = None
        self._offered: tuple[Tool, ...] | None = None
        self._failure = "it was not ready in time"
        self._wanted = anyio.Event()
        self._opening: anyio.Event | None = None
        self._lost = anyio.Event()

    async def run(self) -> None:
        """Keep the connection while it is wanted; see :class:`organism.agents.tools.ToolServer`.

        One task opens and closes it, as the SDK demands; all others only use it.
        """
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            await self._keep()

    async def tools(self) -> tuple[Tool, ...]:
        """Ask what it offers, page by page and once a connection: a second run of a handler must see the same.

        Raises:
            ToolServerError: It cannot be reached.
        """
        client = await self._connected()
        if self._offered is not None:
            return self._offered
        tools: list[Tool] = []
        cursor: str | None = None
        try:
            for _ in range(_PAGES_MAX):
                with anyio.fail_after(self._start_timeout_s):
                    page = await client.list_tools(cursor=cursor)
                tools += [Tool(tool.name, tool.description or "", dict(tool.input_schema)) for tool in page.tools]
                cursor = page.next_cursor
                if cursor is None:
                    break
        except Exception as error:
            self._lose(client)
            raise ToolServerError(self.name, _words(error)) from error
        self._offered = tuple(tools)
        return self._offered

    async def call(self, tool: str, arguments: str) -> ToolOutput:
        """Run a tool; whatever goes wrong with it is said in its output."""
        try:
            given = msgspec.json.decode(arguments, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            return ToolOutput(f"wrong arguments: {error}", is_error=True)
        client = await self._connected()
        try:
            result = await client.call_tool(tool, given)
        except Exception as error:  # noqa: BLE001 - the SDK has its own errors, and the transports theirs
            if not _said_by_server(error):
                self._lose(client)
            return ToolOutput(f"the server failed: {_words(error)}", is_error=True)
        parts = tuple(_part(block) for block in result.content)
        if not parts and result.structured_content is not None:
            return ToolOutput(msgspec.json.encode(result.structured_content).decode(), result.is_error)
        if all(isinstance(part, TextPart) for part in parts):
            return ToolOutput("\n".join(part.text for part in parts if isinstance(part, TextPart)), result.is_error)
        return ToolOutput(parts, result.is_error)

    async def _connected(self) -> "Client":
        """Return the open connection; ask the running task for one if there is none.

        Raises:
            ToolServerError: It cannot be opened.
        """
        if self._client is None:
            if self._opening is None:
                self._opening = anyio.Event()
                self._wanted.set()
            # The opening has its own deadline; this one is for an organism that does not run its servers.
            with anyio.move_on_after(2 * self._start_timeout_s + _STOP_TIMEOUT_S):
                await self._opening.wait()
        if self._client is None:
            raise ToolServerError(self.name, self._failure)
        return self._client

    def _lose(self, client: "Client") -> None:
        """Give up a connection that has failed; the next use opens another."""
        if self._client is client:
            self._client = None
            self._lost.set()

    async def _keep(self) -> None:
        """Open a connection and hold it until it is lost."""
        self._lost = anyio.Event()
        opened = False
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            try:
                async with _open(self._target, self._start_timeout_s, log) as client:
                    self._client, self._offered, opened = client, None, True
                    self._opened()
                    _log.info("tool_server_ready", server=self.name)
                    await self._lost.wait()
            except Exception as error:  # noqa: BLE001 - what a foreign program may do to us is told to whoever needs it
                self._failure = _words(error) + _last_words(log)
                _log.warning("tool_server_failed", server=self.name, failure=self._failure)
                if not opened:
                    self._opened()
            finally:
                self._client = None

    def _opened(self) -> None:
        """Wake whoever waits for the connection, whether it is there or has failed."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.set()


@asynccontextmanager
async def _open(target: Command | WebAddress, start_timeout_s: float, log: TextIO) -> "AsyncIterator[Client]":
    """Open a connection and say hello."""
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    with anyio.CancelScope() as scope:
        scope.deadline = anyio.current_time() + start_timeout_s
        if isinstance(target, Command):
            program, *arguments = target.command
            parameters = StdioServerParameters(
                command=program, args=arguments, env=target.environment, cwd=target.folder
            )
            async with Client(stdio_client(parameters, errlog=log)) as client:
                scope.deadline = float("inf")
                yield client
        else:
            async with _web_client(target) as client:
                scope.deadline = float("inf")
                yield client
    if scope.cancelled_caught:
        raise TimeoutError(f"not ready within {start_timeout_s:g} s")


@asynccontextmanager
async def _web_client(target: WebAddress) -> "AsyncIterator[Client]":
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    headers = {} if target.token is None else {"authorization": f"Bearer {target.token}"}
    timeout = httpx2.Timeout(None, connect=_CONNECT_TIMEOUT_S)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as http_client:
        transport = streamable_http_client(target.url, http_client=http_client, max_sse_event_size=_EVENT_BYTES_MAX)
        async with Client(transport) as client:
            yield client


def _part(block: Any) -> TextPart | ImagePart:
    """Take what a model can be shown; name what it cannot."""
    match block.type:
        case "text":
            return TextPart(block.text)
        case "image":
            return ImagePart(block.mime_type, b64decode(block.data))
        case "resource" if getattr(block.resource, "text", None) is not None:
            return TextPart(block.resource.text)
        case "resource_link":
            return TextPart(f"[link: {block.uri}]")
        case kind:
            return TextPart(f"[{kind} left out]")


def _said_by_server(error: Exception) -> bool:
    """Whether the server itself refused the call, so that its connection is as good as before."""
    from mcp import MCPError
    from mcp.types import CONNECTION_CLOSED

    return isinstance(error, MCPError) and error.code != CONNECTION_CLOSED


def _words(error: BaseException) -> str:
    """Say an error in one line: of a group the first, since the SDK runs in task groups of its own."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return describe(error)[:_WORDS_MAX]


def _last_words(log: TextIO) -> str:
    """Return what a program said last before it failed."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - _LOG_TAIL_BYTES))
    lines = log.read().strip().splitlines()
    return f"; it said: {in_one_line(lines[-1], 200)}" if lines else ""
