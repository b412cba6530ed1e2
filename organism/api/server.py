"""Serve the control API on a socket that is bound before anything else is started."""

import socket

from organism.api.application import Options, build_api
from organism.api.tokens.token_book import TokenBook
from organism.control.control import Control
from organism.errors import ConfigError
from organism.providers.addresses import LOOPBACK, not_loopback


def bind(host: str, port: int) -> socket.socket:
    """Bind the daemon's socket.

    Raises:
        ConfigError: If the address is not of this machine alone, or the port is taken.
    """
    if host not in LOOPBACK:
        raise ConfigError(not_loopback(host))
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio sets no TCP_NODELAY
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # before, the port would be given to a second daemon too
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what uses the port, or choose another with --port"
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL a bound socket is reached at."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class ControlServer:
    """The control API while it is served.

    Args:
        control: The organism.
        tokens: Who may do what.
        listener: A bound socket; closed with the server.
        options: How it is served.

    Attributes:
        api: The gate, and what is behind it.
    """

    def __init__(
        self, control: Control, tokens: TokenBook, listener: socket.socket, options: Options | None = None
    ) -> None:
        import uvicorn

        from organism.api.protocol import PatientProtocol
        from organism.api.uvicorn_server import UvicornServer

        self._listener = listener
        self.api = build_api(control, tokens, options)
        self._server = UvicornServer(
            uvicorn.Config(
                self.api,
                http=PatientProtocol,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=2,
                timeout_keep_alive=30,
                ws="none",
                proxy_headers=False,
            )
        )

    async def serve(self) -> None:
        """Serve until :meth:`stop`."""
        await self._server.serve(sockets=[self._listener])

    def stop(self) -> None:
        """End serving; open streams are cut after a moment."""
        self._server.stop()
