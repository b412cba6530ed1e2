"""Runs the servers of tools while the organism is up."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from organism.agents.tools import ToolServer


class ToolServers:
    """Owns one task for each server. Use it as an async context manager.

    Args:
        servers: The servers.
    """

    def __init__(self, servers: Iterable[ToolServer]) -> None:
        self._servers = tuple(servers)
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        for server in self._servers:
            self._tasks.start_soon(server.run)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections; the body's own error is not handed over, it would come out wrapped in a group."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)
