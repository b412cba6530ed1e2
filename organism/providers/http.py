"""One provider's server over HTTP: posts JSON, reads bounded answers, says what each failure means for money.

No vendor's SDK is used: they are told where to go and what to send by variables of the environment of their own
(``OPENAI_BASE_URL``, ``ANTHROPIC_CUSTOM_HEADERS``), take a second to import, and add retries, timeouts and types that
have to be switched off again. What is sent here is what the configuration says.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import msgspec

from organism.errors import ProviderError, RejectedError
from organism.formats.answers.decoder import AnswerDecoder
from organism.formats.errors.refusals import refused_or_uncertain
from organism.formats.json_reading import Json
from organism.llm.answers import Completion
from organism.providers.addresses import ServerAddress
from organism.providers.failures import unsent_or_uncertain
from organism.tracing import current_trace

if TYPE_CHECKING:
    import ssl

    import httpx2

BODY_MAX = 16 * 1024 * 1024
"""No answer of a model comes near this many bytes, decompressed; what goes beyond is cut off."""

VECTORS_MAX = 4 * BODY_MAX
"""Nor do embeddings near these: 2,048 vectors of 4,096 numbers are 45 million bytes in base 64."""

ERROR_MAX = 64 * 1024
"""No more is read of an answer that is an error."""

CONNECT_TIMEOUT_S = 10.0

_VECTORS = "/embeddings"
_RACE_S = 2.0
"""A kept connection that ends so soon, without a byte, was closed by the server before it looked at the request."""

_READABLE = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate", "br": "br", "zstd": "zstd"}
_OK = range(200, 300)


class AnswerTooLargeError(ValueError):
    """An answer is larger than any answer of a model, or compressed in a way that cannot be read here."""


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is reached.

    Attributes:
        connect_timeout_s: Seconds until the connection must stand.
        proxy: The address of a proxy; ``None`` to go there directly.
        ca_file: A file or folder of certificates to believe instead of the system's; ``None`` for the system's.
        headers: Sent with each request beside the usual ones, which they replace.
        stops_when_closed: Whether the user vouches that a stream that is closed is billed no further; what is known of
            the vendor unless given.
    """

    connect_timeout_s: float = CONNECT_TIMEOUT_S
    proxy: str | None = None
    ca_file: str | None = None
    headers: Mapping[str, str] = {}
    stops_when_closed: bool | None = None


_COUNTED_AFTER_S = 1.0
"""So long a server that has ended an answer without counting it may take to count."""

_END_AFTER_S = 0.05
"""So long one that has said and counted all may take to end the body."""


class Received:
    """An answer with a status of success, whose body comes in; decompressed and bounded."""

    def __init__(self, response: "httpx2.Response", most: int) -> None:
        self._response = response
        self._most = most
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes.

        Raises:
            OversizeError: If there is more of it than of any answer.
        """
        encodings = _encodings(self._response)
        if unreadable := [each for each in encodings if not _readable(each)]:
            raise AnswerTooLargeError(f"an answer compressed with {unreadable[0][:20]!r}, which was not asked for")
        received = 0
        async for chunk in self._response.aiter_bytes():
            received += len(chunk)
            if received > self._most:
                raise AnswerTooLargeError(f"an answer of more than {self._most:,} bytes")
            yield chunk

    async def answer(self, decoder: AnswerDecoder) -> Completion:
        """Return the answer that the body is; raises as its decoder does, and as :meth:`chunks` does.

        An answer that has said all is taken as it is, whatever becomes of the connection afterwards. One that has ended
        without being counted is listened to for a moment more: some servers count after the end.
        """
        chunks = self.chunks()
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    decoder.feed(chunk)
                    if decoder.is_ended:
                        break
                if decoder.is_ended:
                    # To the end of the body, as a rule a few bytes: a connection is kept only behind a whole answer.
                    with anyio.move_on_after(_END_AFTER_S if decoder.is_counted else _COUNTED_AFTER_S):
                        async for chunk in chunks:
                            if not decoder.is_counted:
                                decoder.feed(chunk)
            except ProviderError:
                raise
            except Exception:
                if not decoder.has_all:
                    raise
        return decoder.finish()

    async def read(self) -> bytes:
        """Return the whole body; raises as :meth:`chunks` does."""
        return b"".join([chunk async for chunk in self.chunks()])


class HTTPServer:
    """A server that takes JSON by POST. Connections are made at the first request.

    Args:
        name: The provider's name in the configuration.
        address: Where it is.
        headers: Sent with each request.
        connection: How it is reached.
    """

    def __init__(
        self,
        name: str,
        address: ServerAddress,
        headers: Mapping[str, str],
        connection: ConnectionSettings | None = None,
    ) -> None:
        self.name = name
        self._address = address
        self._connection = connection or ConnectionSettings()
        usual = {"accept-encoding": "identity", "content-type": "application/json", "user-agent": "organism"}
        own = {name.lower(): value for name, value in self._connection.headers.items()}
        self._headers = usual | dict(headers) | own
        self._kept: httpx2.AsyncHTTPTransport | None = None
        self._single: httpx2.AsyncHTTPTransport | None = None

    @asynccontextmanager
    async def posted(self, path: str, body: Json, headers: Mapping[str, str] | None = None) -> AsyncIterator[Received]:
        """Post a body and yield the answer; whatever breaks within the block turns into what it means for money.

        Args:
            path: Below the server's address, such as ``/chat/completions``.
            body: What to send, as it is.
            headers: Sent with this request beside the usual ones; what the configuration sends too is joined to it.

        Raises:
            RejectedError: No work was done and nothing was billed.
            UncertainError: The work may have been done and billed.
        """
        url = self._address.url(path)
        try:
            response = await self._send(url, _json(body), self._joined(headers or {}))
            try:
                if response.status_code not in _OK:
                    raise await self._refusal(response)
                yield Received(response, VECTORS_MAX if path.endswith(_VECTORS) else BODY_MAX)
            finally:
                # Also when the caller gives up: an open answer keeps a place in the pool.
                with anyio.CancelScope(shield=True):
                    await response.aclose()
        except ProviderError as error:
            raise self._named(error, path) from None
        except Exception as error:  # noqa: BLE001 - whatever broke the exchange, it may have been billed
            raise unsent_or_uncertain(self.name, error) from None

    async def warm_up(self) -> None:
        """Load the HTTP client and the certificates, which takes most of a second, on a worker thread."""
        if self._kept is None:
            self._kept = await anyio.to_thread.run_sync(self._pool)

    async def aclose(self) -> None:
        """Close connections."""
        kept, self._kept = self._kept, None
        single, self._single = self._single, None
        for transport in (kept, single):
            if transport is not None:
                await transport.aclose()

    def _joined(self, headers: Mapping[str, str]) -> dict[str, str]:
        usual = self._headers
        return usual | {name: ", ".join(filter(None, (usual.get(name), value))) for name, value in headers.items()}

    async def _send(self, url: str, content: bytes, headers: Mapping[str, str]) -> "httpx2.Response":
        """Send a request, once more on a connection of its own if a kept one had already been closed by the server.

        A server closes a connection that is idle for too long. When that crosses with a request, the request meets a
        closed door: the connection ends at once, without a byte of an answer. It was new to nobody but the sender, so
        it is sent again, as RFC 9112 (9.3.1) and the vendors' own clients do. A connection that was made for this
        request, or that ends later, is another matter: there the server may have been at work.
        """
        import httpx2

        began_s = anyio.current_time()
        watch = _Watch()
        if self._kept is None:
            self._kept = self._pool()
        try:
            return await self._kept.handle_async_request(self._request(url, content, headers, watch))
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            if watch.connected or watch.answered or anyio.current_time() - began_s > _RACE_S:
                raise
        if self._single is None:
            self._single = self._transport(httpx2.Limits(max_connections=None, max_keepalive_connections=0))
        return await self._single.handle_async_request(self._request(url, content, headers, _Watch()))

    def _request(self, url: str, content: bytes, usual: Mapping[str, str], watch: "_Watch") -> "httpx2.Request":
        import httpx2

        trace = current_trace()
        headers = dict(usual) if trace is None else {**usual, "traceparent": trace}
        # The router bounds the time of a whole attempt: only connecting has a timeout of its own.
        timeout = {"connect": self._connection.connect_timeout_s, "read": None, "write": None, "pool": None}
        extensions = {"timeout": timeout, "trace": watch.note}
        return httpx2.Request("POST", url, headers=headers, content=content, extensions=extensions)

    def _pool(self) -> "httpx2.AsyncHTTPTransport":
        import httpx2

        return self._transport(httpx2.Limits(max_connections=None, max_keepalive_connections=100))

    def _transport(self, limits: "httpx2.Limits") -> "httpx2.AsyncHTTPTransport":
        import httpx2

        return httpx2.AsyncHTTPTransport(
            verify=tls_context(self._connection.ca_file),
            proxy=self._connection.proxy,
            limits=limits,
            trust_env=False,
            retries=0,
        )

    async def _refusal(self, response: "httpx2.Response") -> ProviderError:
        """Read an error, as far as it goes: its status alone says something even when its body breaks off."""
        body = b""
        try:
            async for chunk in Received(response, ERROR_MAX).chunks():
                body += chunk
        except Exception:  # noqa: BLE001 - the status has come, and what is there of the words is better than none
            body = body[:ERROR_MAX]
        return refused_or_uncertain(self.name, response.status_code, body, response.headers)

    def _named(self, error: ProviderError, path: str) -> ProviderError:
        """Name the address where that is what is wrong."""
        if isinstance(error, RejectedError) and error.meaning == "address":
            error.say(f"POST {self._address.shown(path)}: {error.detail}; is 'base_url' right?")
        return error


class _Watch:
    """Sees how far a request has come, by the events that the HTTP client tells of."""

    def __init__(self) -> None:
        self.connected = False
        """Whether a connection was made for it."""
        self.answered = False
        """Whether the head of an answer came."""

    async def note(self, event: str, _info: object) -> None:
        if event.startswith("connection.connect") or event == "socks.setup_socks5_connection.started":
            self.connected = True
        elif event == "http11.receive_response_headers.complete":
            self.answered = True


@lru_cache(maxsize=32)
def tls_context(ca_file: str | None) -> "ssl.SSLContext | bool":
    """Return whom to believe: the certificates of a file or folder, or ``True`` for the system's.

    Raises:
        OSError: If they cannot be read, or are none.
    """
    import ssl
    from pathlib import Path

    if ca_file is None:
        return True
    if Path(ca_file).is_dir():
        return ssl.create_default_context(capath=ca_file)
    return ssl.create_default_context(cafile=ca_file)


def _json(body: Json) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # lone surrogates, which JSON can escape and UTF-8 cannot hold
        import json

        return json.dumps(body).encode()


def _encodings(response: "httpx2.Response") -> list[str]:
    """Return how a body is compressed; the response is told the common name of each way."""
    names = [each.strip().lower() for each in response.headers.get("content-encoding", "").split(",")]
    found = [_READABLE.get(name, name) for name in names if name not in {"", "identity", "none", "utf-8"}]
    if found:
        response.headers["content-encoding"] = ", ".join(found)
    elif "content-encoding" in response.headers:
        del response.headers["content-encoding"]
    return found


def _readable(encoding: str) -> bool:
    from importlib.util import find_spec

    match encoding:
        case "gzip" | "deflate":
            return True
        case "br":
            return find_spec("brotli") is not None or find_spec("brotlicffi") is not None
        case "zstd":
            return any(find_spec(name) is not None for name in ("backports.zstd", "compression.zstd") if _parent(name))
        case _:
            return False


def _parent(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name.partition(".")[0]) is not None
