"""MCP servers, through the official SDK: child processes and HTTP servers.

What a server sends is shown to a model, and nothing else is done with it: it gets no model calls, no files and no
questions to people, because the SDK is given none of the callbacks for these. A misbehaving server fails only the call
in which it misbehaves.
"""

import importlib.util
import math
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import msgspec

from organism.agents.tools.tool import OnProgress, ToolContent, ToolOutput, ToolServerError
from organism.concurrency.safe_log import safe_logger
from organism.errors import MissingExtraError
from organism.llm.requests import TextPart, Tool
from organism.text.error_text import describe
from organism.tool_servers.stdio import Program
from organism.tool_servers.targets import Command, WebAddress

if TYPE_CHECKING:
    from organism.tool_servers.connection import ToolServerConnection
    from organism.tool_servers.results import Result

_log = safe_logger("organism.tools")

_STOP_TIMEOUT_S = 10.0

_PING_S = 5.0
"""Seconds within which a server must answer a ping, after a call that it has not answered in time."""
_PROGRESS_S = 0.5
_LATE_MAX = 2
"""Late starts in a row after which callers fail at once for a while."""


def _unheard() -> None:
    """Ignore progress."""


class MCPServer:
    """One MCP server, connected on first use, and again after its connection was lost.

    Args:
        name: Its name in the configuration.
        target: The command or address of the server.
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
        self._connection: ToolServerConnection | None = None
        self._failure = "it was not ready in time"
        self._wanted = anyio.Event()
        self._opening: anyio.Event | None = None
        self._checking: anyio.Event | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._late = 0
        self._late_until_s = -math.inf

    async def run(self) -> None:
        """Keep the connection while it is wanted; see :class:`organism.agents.tools.tool.ToolServer`.

        One task opens and closes it, as the SDK demands; all others only use it.
        """
        async with anyio.create_task_group() as self._tasks:
            while True:
                await self._wanted.wait()
                self._wanted = anyio.Event()
                await self._keep()

    async def tools(self) -> tuple[Tool, ...]:
        """Return the tools it offers; asked once a connection, and again when it says that they have changed.

        Raises:
            ToolServerError: It cannot be reached.
        """
        from organism.tool_servers.connection import LostError

        lost: LostError | None = None
        for _ in range(2):  # a connection that turns out to be gone is opened anew, once
            connection = await self._connected()
            try:
                return await connection.tools(self._start_timeout_s)
            except LostError as error:
                self._lose(connection)
                lost = error
            except TimeoutError as error:
                self._check(connection)
                late = f"it has not listed its tools within {self._start_timeout_s:g} s"
                raise ToolServerError(self.name, late) from error
            except Exception as error:
                raise ToolServerError(self.name, describe(error)) from error
        raise ToolServerError(self.name, str(lost))

    async def call(self, tool: str, arguments: str, progress: OnProgress = _unheard) -> ToolOutput:
        """Run a tool; every failure becomes its output.

        A call is repeated, once and in a new session, only if it is known not to have been carried out.
        """
        from organism.tool_servers.connection import LostError

        try:
            given = msgspec.json.decode(arguments.strip() or "{}", type=dict[str, Any])
        except msgspec.MsgspecError as error:
            return ToolOutput(f"wrong arguments: {error}", is_error=True, ran=False)
        for last in (False, True):
            try:
                connection = await self._connected(progress)
            except ToolServerError as error:
                return ToolOutput(str(error), is_error=True, ran=False)
            try:
                result = await connection.call(tool, given, progress)
            except LostError as error:
                self._lose(connection)
                if not error.not_run or last:
                    return ToolOutput(
                        f"the server failed: {error}", is_error=True, ran=False if error.not_run else None
                    )
            except Exception as error:  # noqa: BLE001 - the SDK has its own errors, and the transports theirs
                return ToolOutput(f"the server failed: {describe(error)}", is_error=True, ran=None)
            except BaseException:  # cancelled: it has taken too long, or the caller has gone
                self._check(connection)
                raise
            else:
                return self._output(connection, tool, result)
        raise AssertionError("the second try returns")

    def _output(self, connection: "ToolServerConnection", tool: str, result: "Result") -> ToolOutput:
        """Return a result as output; one that misses the tool's output schema is marked."""
        parts = result.parts
        if (complaint := connection.complaint(tool, result)) is not None:
            _log.warning("tool_result_misses_schema", server=self.name, tool=tool, error=complaint)
            parts = (*parts, TextPart(f"[not as the tool's output schema says: {complaint}]"))
        if all(isinstance(part, TextPart) for part in parts):
            content: ToolContent = "\n".join(part.text for part in parts if isinstance(part, TextPart))
            return ToolOutput(content, result.is_error)
        return ToolOutput(parts, result.is_error)

    async def _connected(self, progress: OnProgress = _unheard) -> "ToolServerConnection":
        """Return the open connection; have the server's task open one if there is none.

        Args:
            progress: Called while a check of the server is awaited, which does not count as the call's own time.

        Raises:
            ToolServerError: It cannot be opened.
        """
        while (checking := self._checking) is not None:
            progress()
            with anyio.move_on_after(_PROGRESS_S):
                await checking.wait()
        if self._connection is not None and self._connection.lost.is_set():
            self._connection = None
        if self._connection is None:
            if anyio.current_time() < self._late_until_s:
                raise ToolServerError(self.name, f"{self._failure}, {self._late} times; it is tried again later")
            if self._opening is None:
                self._opening = anyio.Event()
                self._wanted.set()
            # Opening has its own deadline; this one is for an organism whose servers do not run.
            with anyio.move_on_after(2 * self._start_timeout_s + _STOP_TIMEOUT_S):
                await self._opening.wait()
        if self._connection is None:
            raise ToolServerError(self.name, self._failure)
        return self._connection

    def _check(self, connection: "ToolServerConnection") -> None:
        """Check a server that has not answered in time: a hanging one is given up, a slow one is not."""
        if self._checking is None and self._tasks is not None and not connection.lost.is_set():
            self._checking = anyio.Event()
            self._tasks.start_soon(self._end_if_silent, connection)

    async def _end_if_silent(self, connection: "ToolServerConnection") -> None:
        checking = self._checking
        try:
            if not await connection.answers(_PING_S):
                self._lose(connection)
        finally:
            self._checking = None
            if checking is not None:
                checking.set()

    def _lose(self, connection: "ToolServerConnection") -> None:
        """Drop a connection that has failed; the next use opens another."""
        connection.lost.set()
        if self._connection is connection:
            self._connection = None

    async def _keep(self) -> None:
        """Open a connection and keep it until it is lost."""
        from organism.tool_servers.connection import connect

        program = Program(self._target) if isinstance(self._target, Command) else None
        opened = False
        try:
            async with connect(program or self._target, self._start_timeout_s) as connection:  # type: ignore[arg-type]
                self._connection, opened, self._late = connection, True, 0
                self._opened()
                _log.info("tool_server_ready", server=self.name)
                await connection.lost.wait()
                _log.warning("tool_server_lost", server=self.name, error=connection.reason())
        except Exception as error:  # noqa: BLE001 - a foreign program may raise anything; those who need it get the error
            self._failure = _failure(error, program)
            self._late = self._late + 1 if isinstance(error, TimeoutError) else 0
            if self._late >= _LATE_MAX:
                self._late_until_s = anyio.current_time() + self._start_timeout_s
            _log.warning("tool_server_failed", server=self.name, error=self._failure)
        finally:
            self._connection = None
            if not opened:
                self._opened()

    def _opened(self) -> None:
        """Wake everybody who waits for the connection, whether it is open or has failed."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.set()


def _failure(error: Exception, program: Program | None) -> str:
    """Return why a server could not be opened; its own words tell more than the SDK's error."""
    if program is None:
        return describe(error)
    words = describe(error) if program.ended is None else program.ended
    return words + (f"; it said: {program.last_words}" if program.last_words else "")
