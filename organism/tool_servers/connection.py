"""One connection to an MCP server, through the official SDK."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    CONNECTION_CLOSED,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    PaginatedRequestParams,
    ToolListChangedNotification,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from organism.concurrency.safe_log import safe_logger
from organism.llm.requests import Tool
from organism.text.error_text import in_one_line
from organism.tool_servers.http import web_transport
from organism.tool_servers.messages import NOT_SENT, SESSION_LOST, UNCERTAIN
from organism.tool_servers.results import Result, output_schemas, plain_tools, read_result
from organism.tool_servers.stdio import Program
from organism.tool_servers.targets import WebAddress

_log = safe_logger("organism.tools")

_RAW = "organism"
_PAGES_MAX = 100
_TOOLS_MAX = 1_000
_NOT_RUN = frozenset({NOT_SENT, SESSION_LOST})
_NO_HANDSHAKE = frozenset({NOT_SENT, UNCERTAIN})


class LostError(Exception):
    """The connection is lost.

    Attributes:
        not_run: Whether the request is known not to have been carried out, so that it may be repeated.
    """

    def __init__(self, reason: str, *, not_run: bool) -> None:
        self.not_run = not_run
        super().__init__(reason)


class _Watched:
    """The SDK's stream of messages; its end is reported before calls that wait for an answer fail."""

    def __init__(self, stream: Any, lost: anyio.Event) -> None:
        self._stream = stream
        self._lost = lost

    @property
    def last_context(self) -> Any:
        """The context that the last message was sent in, where the transport keeps it."""
        return getattr(self._stream, "last_context", None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except (StopAsyncIteration, anyio.ClosedResourceError):
            self._lost.set()
            raise

    async def receive(self) -> Any:
        """Return the next message."""
        return await self._stream.receive()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _Dispatcher(JSONRPCDispatcher[TransportContext]):
    """The SDK's dispatcher, with answers repaired before the SDK validates them.

    The SDK is strict: an answer that is wrong in a detail would be lost as a whole.
    """

    def __init__(self, read_stream: Any, write_stream: Any) -> None:
        self.lost = anyio.Event()
        super().__init__(_Watched(read_stream, self.lost), write_stream)
        self.schemas: dict[str, dict[str, Any]] = {}

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: Any = None, **more: Any
    ) -> Any:
        """Send a request and return its repaired answer."""
        raw = await super().send_raw_request(method, params, opts, **more)
        match method:
            case "initialize":
                return _plain_initialize(raw)
            case "tools/list":
                self.schemas |= output_schemas(raw)
                return plain_tools(raw)
            case "tools/call":
                return {"content": [], "resultType": "complete", "_meta": {_RAW: raw}}
            case _:
                return raw

    async def run(self, *args: Any, **options: Any) -> None:
        """Dispatch until the other side is gone."""
        try:
            await super().run(*args, **options)
        finally:
            self.lost.set()


class ToolServerConnection:
    """An open connection.

    Attributes:
        lost: Set when the other side is gone or has been given up.
    """

    def __init__(self, dispatcher: _Dispatcher, program: Program | None) -> None:
        self.lost = dispatcher.lost
        self._dispatcher = dispatcher
        self._program = program
        self._offered: tuple[Tool, ...] | None = None
        self._is_silent = False
        self._session = ClientSession(
            dispatcher=dispatcher,
            message_handler=self._on_message,
            client_info=Implementation(name="organism", version="1"),
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Initialize the session, and keep it open within the block.

        Servers know the handshake, older ones nothing else; who is too new for it is asked in the newer way.
        """
        async with self._session as session:
            try:
                await session.initialize()
            except MCPError as error:
                if error.code in _NO_HANDSHAKE or self.lost.is_set():
                    raise
                try:
                    await session.discover()
                except Exception:  # noqa: BLE001 - what it said first is what is wrong with it
                    raise error from None
            yield

    async def tools(self, timeout_s: float) -> tuple[Tool, ...]:
        """Ask what it offers, page by page, and once until it says that this has changed.

        Raises:
            LostError: If it is gone.
            TimeoutError: If a page takes too long.
            MCPError: If it refuses.
        """
        if self._offered is not None:
            return self._offered
        tools: dict[str, Tool] = {}
        cursors: set[str | None] = set()
        cursor: str | None = None
        self._offered = ()  # a change that is announced while we ask removes this, and what we then hear is not kept
        try:
            while cursor not in cursors and len(cursors) < _PAGES_MAX and len(tools) < _TOOLS_MAX:
                cursors.add(cursor)
                with anyio.fail_after(timeout_s), self._lost_or_refused():
                    page = await self._session.list_tools(params=PaginatedRequestParams(cursor=cursor))
                for tool in page.tools[:_TOOLS_MAX]:
                    tools.setdefault(tool.name, Tool(tool.name, tool.description or "", dict(tool.input_schema)))
                cursor = page.next_cursor
                if cursor is None:
                    break
        except BaseException:
            self._offered = None
            raise
        found = tuple(tools.values())
        self._offered = None if self._offered is None else found
        return found

    async def call(self, tool: str, arguments: dict[str, Any], heard: Callable[[], None]) -> Result:
        """Run a tool.

        Args:
            tool: Its name, as the server has it.
            arguments: What it is given.
            heard: Called each time the server tells of progress.

        Raises:
            LostError: If it is gone.
            MCPError: If it refuses.
        """

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001
            heard()

        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        with self._lost_or_refused():
            answer = await self._session.send_request(request, CallToolResult, progress_callback=on_progress)
        raw = (answer.meta or {}).get(_RAW, {})
        if raw.get("resultType") == "input_required":
            return read_result({"content": "the tool asks for input, which it is not given here", "isError": True})
        return read_result(raw)

    async def answers(self, within_s: float) -> bool:
        """Whether the server answers a ping in time, if only with an error."""
        with anyio.move_on_after(within_s) as scope:
            try:
                await self._session.send_ping()
            except Exception as error:  # noqa: BLE001 - whatever it says, it says something
                _log.debug("tool_server_ping", error=type(error).__name__)
        self._is_silent = scope.cancelled_caught
        return not self._is_silent

    def complaint(self, tool: str, result: Result) -> str | None:
        """Return how a result violates the tool's output schema; ``None`` if it does not.

        A schema that is itself invalid is ignored.
        """
        schema = self._dispatcher.schemas.get(tool)
        if schema is None or result.is_error:
            return None
        if result.structured is None:
            return "there is no structured content"
        from jsonschema.exceptions import best_match
        from jsonschema.validators import validator_for
        from referencing import Registry

        try:
            kind = validator_for(schema)
            # An empty registry: a schema of a stranger must not have us fetch another from anywhere.
            error = best_match(kind(schema, registry=Registry()).iter_errors(result.structured))
        except Exception as error:  # noqa: BLE001 - whatever a stranger's schema makes of the checker
            _log.debug("tool_schema_unusable", tool=tool, error=type(error).__name__)
            return None
        return None if error is None else in_one_line(error.message, 200)

    def reason(self, error: BaseException | None = None) -> str:
        """Return why the connection is lost, in words."""
        if self._is_silent:
            return "it hangs: a call was not answered in time, and neither was a ping"
        if self._program is not None and self._program.ended is not None:
            said = self._program.last_words
            return self._program.ended + (f"; it said: {said}" if said else "")
        return "the connection was closed" if error is None else str(error)

    @contextmanager
    def _lost_or_refused(self) -> Iterator[None]:
        """Raise :class:`LostError` for errors that mean a lost connection, and others as they are."""
        gone = self.lost.is_set()
        try:
            yield
        except MCPError as error:
            if error.code in _NOT_RUN or (error.code == CONNECTION_CLOSED and self.lost.is_set()):
                raise LostError(self.reason(error), not_run=gone or error.code in _NOT_RUN) from error
            raise

    async def _on_message(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._offered = None


def _plain_initialize(raw: dict[str, Any]) -> dict[str, Any]:
    """Replace an unknown protocol version by the newest known one before it: tools are the same in all versions."""
    version = raw.get("protocolVersion")
    if version not in HANDSHAKE_PROTOCOL_VERSIONS:
        older = [known for known in HANDSHAKE_PROTOCOL_VERSIONS if known <= str(version)]
        taken = older[-1] if older else HANDSHAKE_PROTOCOL_VERSIONS[0]
        _log.warning("tool_server_version_unknown", version=str(version)[:40], taken_for=taken)
        raw = raw | {"protocolVersion": taken}
    info = raw.get("serverInfo")
    named = info if isinstance(info, dict) and isinstance(info.get("name"), str) else {"name": "unnamed"}
    return {
        "protocolVersion": raw["protocolVersion"],
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": named["name"], "version": str(named.get("version", ""))},
    }


@asynccontextmanager
async def connect(target: WebAddress | Program, timeout_s: float) -> AsyncIterator[ToolServerConnection]:
    """Open a connection, and keep it open within the block.

    Raises:
        TimeoutError: If the server is not ready in time.
        Exception: Whatever the SDK, the transport or the system raises.
    """
    transport = target.running() if isinstance(target, Program) else web_transport(target)
    program = target if isinstance(target, Program) else None
    with anyio.CancelScope(deadline=anyio.current_time() + timeout_s) as scope:
        async with transport as (read_stream, write_stream):
            connection = ToolServerConnection(_Dispatcher(read_stream, write_stream), program)
            async with connection.open():
                scope.deadline = float("inf")
                yield connection
    if scope.cancelled_caught:
        raise TimeoutError(f"not ready within {timeout_s:g} s")
