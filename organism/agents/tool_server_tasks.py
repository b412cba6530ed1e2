"""Runs the servers of tools while the organism is up."""

from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from organism.agents.tools.tool import ToolServer
from organism.concurrency.safe_log import safe_logger

_log = safe_logger("organism.tools")

_AGAIN_S = 1.0
"""Until the task of a server that has failed is begun anew."""


class ToolServers:
    """Owns one task for each server. Use it as an async context manager.

    Args:
        servers: The servers.
    """

    def __init__(self, servers: Iterable[ToolServer]) -> None:
        self._servers = tuple(servers)
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    @property
    def by_name(self) -> dict[str, ToolServer]:
        """The active servers."""
        return {server.name: server for server in self._servers}

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        for server in self._servers:
            self._start(self._tasks, server)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections; the body's own error is not handed over, it would come out wrapped in a group."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)

    def replace(self, servers: Iterable[ToolServer], unused: Callable[[], Awaitable[None]]) -> None:
        """Run these servers; one that is the same object as before simply goes on.

        Args:
            servers: All that are to run.
            unused: Returns when nobody can use one any more that is not among them; then it is closed.
        """
        if self._tasks is None:
            raise RuntimeError("the tool servers are not running; use them as an async context manager")
        before, self._servers = self._servers, tuple(servers)
        for server in self._servers:
            if not any(server is other for other in before):
                self._start(self._tasks, server)
        gone = [server for server in before if not any(server is other for other in self._servers)]
        if gone:
            self._tasks.start_soon(self._close, [self._scopes.pop(id(server)) for server in gone], unused)

    def _start(self, tasks: anyio.abc.TaskGroup, server: ToolServer) -> None:
        scope = self._scopes[id(server)] = anyio.CancelScope()
        tasks.start_soon(_run, server, scope)

    @staticmethod
    async def _close(scopes: Iterable[anyio.CancelScope], unused: Callable[[], Awaitable[None]]) -> None:
        await unused()
        for scope in scopes:
            scope.cancel()


async def _run(server: ToolServer, scope: anyio.CancelScope) -> None:
    """Keep a server's task going: one that fails must not take the others and the organism with it."""
    with scope:
        while True:
            try:
                return await server.run()
            except Exception as error:  # noqa: BLE001 - whatever a foreign server raises is its own
                _log.exception("tool_server_task_failed", server=server.name, error=type(error).__name__)
            await anyio.sleep(_AGAIN_S)
