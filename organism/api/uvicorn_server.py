"""uvicorn's server as a part of a program that has more than HTTP to begin and to end."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import uvicorn

_DATE_S = 1.0
"""How often the header ``date`` of answers is written anew."""

_LOOK_S = 0.005
"""How often connections that end are looked at: uvicorn calls nobody when the last of them is gone."""


class UvicornServer(uvicorn.Server):
    """A server that is woken when it has to end, and ends as soon as nothing is left to do.

    uvicorn looks ten times a second whether it should end, and then waits a tenth of a second or two, however idle it
    is: an idle daemon would never sleep, and each stop would take a fifth of a second.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = anyio.Event()

    def stop(self) -> None:
        """End: take no more connections, let answers under way end within ``timeout_graceful_shutdown`` seconds."""
        self.should_exit = True
        self._stopped.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program."""
        yield

    async def main_loop(self) -> None:
        """Serve until :meth:`stop`."""
        while not await self.on_tick(0):
            with anyio.move_on_after(_DATE_S):
                await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is idle, wait for what is not, and cancel what takes too long."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()
        with anyio.move_on_after(self.config.timeout_graceful_shutdown):
            while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn sets no event
                await anyio.sleep(_LOOK_S)
        for task in self.server_state.tasks:
            task.cancel()
