"""A minimal HTTP/1.1 client for one server, with connections that are kept.

A general HTTP client costs several times as much as the rest of a call. An adapter needs little: one server, POST, a
complete body, a streamed response.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

import anyio

from organism.concurrency.loop_time import loop_time
from organism.providers.http_response import ResponseParser, UnreadableResponseError

KEPT_MAX = 100
KEPT_S = 30.0
"""Seconds for which an idle connection is kept. Servers keep theirs as long or longer; a crossing request is resent."""

RACE_S = 2.0
"""A kept connection that ends within these seconds, without a byte, was closed before the server saw the request."""

_NEXT_ADDRESS_S = 0.25
"""Seconds before the next address of a host is tried as well (RFC 8305, 5)."""

_AHEAD_MAX = 262_144
"""Unread bytes at which reading from the socket pauses."""

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_AS_IT_IS = "/?%:@!$&'()*+,;=~"
"""Characters of a path and a query that are not escaped (RFC 3986, 3.3), with the sign of escapes."""

_FRAMING = {"content-length", "transfer-encoding"}


class ConnectError(OSError):
    """No connection could be made; nothing was sent."""


class LocalProtocolError(ValueError):
    """A header is invalid; nothing was sent."""


class ConnectionLostError(ConnectionError):
    """A connection ended before its response did."""


class _Connection(asyncio.Protocol):
    """One connection, and the response being received on it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.parser: ResponseParser | None = None
        self.heard = False
        """Whether a byte of the response has come."""
        self.idle_since_s = 0.0
        self._error: Exception | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        """Bytes that they were in."""
        self._paused = False
        self._waiting: asyncio.Future[None] | None = None

    # -- called by the event loop -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a request."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take received bytes; unexpected ones end the connection."""
        if self.parser is None or self.parser.ended:
            self.transport.abort()
            return
        self.heard = True
        try:
            self._pieces += self.parser.feed(data)
        except UnreadableResponseError as error:
            self._error = error
            self.transport.abort()
        self._size += len(data)
        if self._size > _AHEAD_MAX and not self._paused and not self.transport.is_closing():
            self.transport.pause_reading()
            self._paused = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the response under way, which may be its proper end."""
        if self.parser is not None and not self.parser.end() and self._error is None:
            self._error = ConnectionLostError(str(exc) if exc else "the server closed the connection")
        self._wake()

    # -- a request and its response -------------------------------------------------------------------------------

    async def send(self, request: bytes) -> ResponseParser:
        """Send a request and return its response once its head has come.

        Raises:
            ConnectionLostError: The connection ended before that.
            UnreadableResponseError: What came is no HTTP.
        """
        parser = self.parser = ResponseParser()
        self.heard = False
        self.transport.write(request)
        while not parser.status:
            await self._more()
        return parser

    async def piece(self) -> bytes:
        """Return the received part of the body, waiting for some; empty at its end. Raises what :meth:`send` raises."""
        while not self._pieces:
            if self.parser is None or self.parser.ended:
                return b""
            await self._more()
        data, self._pieces, self._size = b"".join(self._pieces), [], 0
        if self._paused and not self.transport.is_closing():
            self.transport.resume_reading()
        self._paused = False
        return data

    def is_idle(self) -> bool:
        """Whether it can take another request: both messages are complete, and both sides keep the connection."""
        parser = self.parser
        whole = parser is None or (parser.ended and parser.keeps)
        return whole and not self.transport.is_closing() and not self.transport.get_write_buffer_size()

    def forget_response(self) -> None:
        """Drop unread parts of the last response, so that they are not read as the next one."""
        self.parser = None
        self._pieces, self._size = [], 0
        if self._paused and not self.transport.is_closing():
            self.transport.resume_reading()
        self._paused = False

    async def _more(self) -> None:
        """Wait for more bytes, or the end."""
        if self._error is not None:
            raise self._error
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class DirectResponse:
    """A response whose body is being received.

    Attributes:
        status: Its status.
        headers: Its headers, by lower-case names.
    """

    def __init__(self, connection: _Connection, pool: "DirectTransport", parser: ResponseParser) -> None:
        self.status = parser.status
        self.headers = parser.headers
        self._connection = connection
        self._pool = pool

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes, joining bytes that have come together.

        Raises:
            ConnectionLostError: It breaks off.
            UnreadableResponseError: It is no HTTP.
        """
        while piece := await self._connection.piece():
            yield piece

    async def aclose(self) -> None:
        """Return the connection to the pool after a complete response; otherwise end it."""
        self._pool.put_back(self._connection)


class DirectTransport:
    """Sends requests to one server.

    Args:
        base: An address of the server.
        connect_timeout_s: Seconds within which a connection must be made.
        tls: The TLS context; ``None`` for plain HTTP.
    """

    def __init__(self, base: str, connect_timeout_s: float, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(base)
        self._host = _ascii(parts.hostname or "")
        self._port = parts.port or _PORTS[parts.scheme]
        self._authority = f"[{self._host}]" if ":" in self._host else self._host
        if parts.port not in {None, _PORTS[parts.scheme]}:
            self._authority += f":{parts.port}"
        self._connect_timeout_s = connect_timeout_s
        self._tls = tls
        self._idle: list[_Connection] = []

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> DirectResponse:
        """Send a request and return its response once its head has come.

        A server closes a connection that has been idle for too long. If that crosses with a request, the connection
        ends at once, without a byte of a response. The server has not seen the request, so it is resent, as RFC 9112
        (9.3.1) and the vendors' own clients do. Not so on a connection that was made for this request, or that ends
        later: there the server may have begun to work.

        Raises:
            ConnectError: There is no connection; nothing was sent.
            LocalProtocolError: A header cannot be sent; nothing was sent.
            ConnectionLostError: The connection ended first.
            UnreadableResponseError: What came is no HTTP.
        """
        request = self._written(url, headers, content)
        if (kept := self._take()) is not None:
            began_s = loop_time()
            try:
                return await self._sent(kept, request)
            except ConnectionLostError:
                if kept.heard or loop_time() - began_s > RACE_S:
                    raise
        return await self._sent(await self._connected(), request)

    def put_back(self, connection: _Connection) -> None:
        """Put a connection into the pool if it can take another request, and end those idle for too long."""
        now_s = connection.idle_since_s = loop_time()
        if connection.is_idle():
            connection.forget_response()
            self._idle.append(connection)
        else:
            connection.transport.abort()
        while self._idle and (len(self._idle) > KEPT_MAX or self._idle[0].idle_since_s < now_s - KEPT_S):
            self._idle.pop(0).transport.abort()

    async def aclose(self) -> None:
        """End all idle connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.transport.close()

    def _take(self) -> _Connection | None:
        """Return the most recently used connection that can still take a request."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_idle() and connection.idle_since_s >= loop_time() - KEPT_S:
                return connection
            connection.transport.abort()
        return None

    async def _sent(self, connection: _Connection, request: bytes) -> DirectResponse:
        try:
            return DirectResponse(connection, self, await connection.send(request))
        except BaseException:  # a cancellation, too: half of an exchange is on the connection
            connection.transport.abort()
            raise

    def _written(self, url: str, headers: Mapping[str, str], content: bytes) -> bytes:
        lines = [f"POST {_target(url)} HTTP/1.1"]
        if "host" not in headers:
            lines.append(f"host: {self._authority}")
        for name, value in headers.items():
            if not _NAME.fullmatch(name) or _NO_VALUE.search(value):
                raise LocalProtocolError(f"the header {name!r} cannot be sent: it has signs in it that none may have")
            if name not in _FRAMING:
                lines.append(f"{name}: {value}")
        lines.append(f"content-length: {len(content)}\r\n\r\n")
        return "\r\n".join(lines).encode() + content

    async def _connected(self) -> _Connection:
        """Make a connection.

        Raises:
            ConnectError: If it fails, or takes too long.
        """
        loop = asyncio.get_running_loop()
        try:
            with anyio.fail_after(self._connect_timeout_s):
                found = await _dialled(self._host, self._port)
                try:
                    name = self._host if self._tls is not None else None
                    made = loop.create_connection(_Connection, sock=found, ssl=self._tls, server_hostname=name)
                    return (await made)[1]
                except BaseException:
                    found.close()
                    raise
        except TimeoutError:
            raise ConnectError(f"no connection within {self._connect_timeout_s:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ConnectError(str(error)) from error


async def _dialled(host: str, port: int) -> socket.socket:
    """Return a socket connected to the first address of a host that answers; addresses are tried with a delay.

    Raises:
        OSError: If none answers.
    """
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    connected: list[socket.socket] = []
    errors: list[OSError] = []

    async def dial(address: tuple[Any, ...], over: anyio.Event) -> None:
        *kind, _, where = address
        attempt = socket.socket(*kind)
        attempt.setblocking(False)
        try:
            await loop.sock_connect(attempt, where)
        except OSError as error:
            attempt.close()
            errors.append(error)
        except BaseException:
            attempt.close()
            raise
        else:
            connected.append(attempt)
            tasks.cancel_scope.cancel()
        over.set()

    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                tasks.start_soon(dial, address, over := anyio.Event())
                with anyio.move_on_after(_NEXT_ADDRESS_S):
                    await over.wait()
        if not connected:
            raise errors[0] if errors else OSError(f"{host} has no address")
        return connected.pop()
    finally:
        for spare in connected:
            spare.close()


def _ascii(host: str) -> str:
    """Return a host name in ASCII, as it is looked up.

    Raises:
        ConnectError: If it is not a host name.
    """
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise ConnectError(f"{host!r} is no name of a host: {error}") from None


@lru_cache(maxsize=64)
def _target(url: str) -> str:
    """Return the request target of a URL; cached, as a provider has only a few."""
    parts = urlsplit(url)
    query = f"?{quote(parts.query, safe=_AS_IT_IS)}" if parts.query else ""
    return f"{quote(parts.path, safe=_AS_IT_IS) or '/'}{query}"
