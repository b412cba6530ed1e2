"""Requests through an HTTP or SOCKS proxy, by a general HTTP client."""

import ssl
from collections.abc import AsyncGenerator, Mapping

import anyio
import httpx2

from organism.providers.http_direct import KEPT_MAX, RACE_S


class ProxiedResponse:
    """A response whose body is being received; see :class:`organism.providers.http_direct.DirectResponse`."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes."""
        async for piece in self._response.aiter_raw():
            yield piece

    async def aclose(self) -> None:
        """Keep the connection after a complete response; otherwise end it."""
        with anyio.CancelScope(shield=True):
            await self._response.aclose()


class ProxiedTransport:
    """Sends requests to servers behind a proxy.

    Args:
        proxy: Its address.
        connect_timeout_s: Seconds within which a connection must be made.
        tls: The TLS context.
    """

    def __init__(self, proxy: str, connect_timeout_s: float, tls: ssl.SSLContext) -> None:
        self._proxy = proxy
        self._connect_timeout_s = connect_timeout_s
        self._tls = tls
        self._kept = self._transport(httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT_MAX))
        self._single: httpx2.AsyncHTTPTransport | None = None

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> ProxiedResponse:
        """Send a request, again if a kept connection was closed already; see `DirectTransport.post`."""
        began_s = anyio.current_time()
        watch = _Watch()
        try:
            return await self._sent(self._kept, url, headers, content, watch)
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            if watch.connected or watch.answered or anyio.current_time() - began_s > RACE_S:
                raise
        if self._single is None:
            self._single = self._transport(httpx2.Limits(max_connections=None, max_keepalive_connections=0))
        return await self._sent(self._single, url, headers, content, _Watch())

    async def aclose(self) -> None:
        """Close connections."""
        for transport in (self._kept, self._single):
            if transport is not None:
                await transport.aclose()

    async def _sent(
        self, over: httpx2.AsyncHTTPTransport, url: str, headers: Mapping[str, str], content: bytes, watch: "_Watch"
    ) -> ProxiedResponse:
        # The router bounds the time of a whole attempt: only connecting has a timeout of its own.
        timeout = {"connect": self._connect_timeout_s, "read": None, "write": None, "pool": None}
        extensions = {"timeout": timeout, "trace": watch.note}
        request = httpx2.Request("POST", url, headers=headers, content=content, extensions=extensions)
        return ProxiedResponse(await over.handle_async_request(request))

    def _transport(self, limits: httpx2.Limits) -> httpx2.AsyncHTTPTransport:
        return httpx2.AsyncHTTPTransport(verify=self._tls, proxy=self._proxy, limits=limits, trust_env=False, retries=0)


class _Watch:
    """Tracks how far a request has come, by the trace events of the HTTP client."""

    def __init__(self) -> None:
        self.connected = False
        """Whether a connection was made for the request."""
        self.answered = False
        """Whether the head of a response has come."""

    async def note(self, event: str, _info: object) -> None:
        if event.startswith("connection.connect") or event == "socks.setup_socks5_connection.started":
            self.connected = True
        elif event == "http11.receive_response_headers.complete":
            self.answered = True
