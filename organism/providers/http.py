"""One provider's server over HTTP: posts JSON, reads bounded answers, and tells rejected from uncertain failures.

No vendor's SDK is used: their environment variables change where they go and what they send
(``OPENAI_BASE_URL``, ``ANTHROPIC_CUSTOM_HEADERS``), take a second to import, and add retries, timeouts and types that
have to be switched off again. What is sent here is what the configuration says.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.to_thread
import msgspec

from organism.clock import SystemClock, utc
from organism.errors import ProviderError, RejectedError
from organism.formats.answers.decoder import AnswerDecoder
from organism.formats.errors.refusals import refused_or_uncertain
from organism.formats.json_reading import JsonObject
from organism.llm.answers import Completion
from organism.providers.addresses import ServerAddress
from organism.providers.failures import unsent_or_uncertain
from organism.tracing import current_trace

if TYPE_CHECKING:
    import ssl

BODY_MAX = 16 * 1024 * 1024
"""The most decompressed bytes of an answer, far more than any model writes."""

VECTORS_MAX = 4 * BODY_MAX
"""The most bytes of embeddings: 2,048 vectors of 4,096 numbers are 45 million bytes in base64."""

ERROR_MAX = 64 * 1024
"""The most bytes that are read of an error."""

CONNECT_TIMEOUT_S = 10.0

_VECTORS = "/embeddings"
_READABLE = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate", "br": "br", "zstd": "zstd"}
_OK = range(200, 300)


class AnswerTooLargeError(ValueError):
    """An answer is larger than the allowed bytes."""


class CompressedAnswerError(ValueError):
    """An answer is compressed in a way that cannot be read."""


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is reached.

    Attributes:
        connect_timeout_s: Seconds within which a connection must be made.
        proxy: The address of a proxy; ``None`` to go there directly.
        ca_file: A file or folder of certificates to trust instead of the system's; ``None`` for the system's.
        headers: Headers of each request, which replace the usual ones of the same name.
        stops_when_closed: Whether a closed stream is billed no further, as configured; ``None`` goes by the vendor.
    """

    connect_timeout_s: float = CONNECT_TIMEOUT_S
    proxy: str | None = None
    ca_file: str | None = None
    headers: Mapping[str, str] = {}
    stops_when_closed: bool | None = None


_COUNTED_AFTER_S = 1.0
"""Seconds that a server may take to send usage after the end of an answer."""

_END_AFTER_S = 0.05
"""Seconds that a server may take to end the body after the answer and its usage."""


class Response(Protocol):
    """A server's response.

    Attributes:
        status: Its status.
        headers: Its headers, looked up by lower-case names.
    """

    status: int
    headers: Mapping[str, str]

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes."""

    async def aclose(self) -> None:
        """Stop reading it."""


class Transport(Protocol):
    """Sends requests."""

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> Response:
        """Send a request and return its response once its head has come."""

    async def aclose(self) -> None:
        """Close connections."""


class Received:
    """A successful response whose body is decompressed and bounded."""

    def __init__(self, response: Response, most: int) -> None:
        self._response = response
        self._most = most
        self.headers = response.headers

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes.

        Raises:
            AnswerTooLargeError: If it has more than the allowed bytes.
            CompressedAnswerError: If it cannot be decompressed.
        """
        encodings = _encodings(self.headers)
        received = 0
        pieces = self._response.pieces()
        async with aclosing(_decompressed(pieces, encodings) if encodings else pieces) as chunks:
            async for chunk in chunks:
                received += len(chunk)
                if received > self._most:
                    raise AnswerTooLargeError(f"an answer of more than {self._most:,} bytes")
                yield chunk

    async def answer(self, decoder: AnswerDecoder) -> Completion:
        """Decode the body to an answer; raises what the decoder and :meth:`chunks` raise.

        A complete answer counts, however the connection ends afterwards. After an end without usage the body is read
        for a moment longer: some servers send usage after the end.
        """
        chunks = self.chunks()
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    decoder.feed(chunk)
                    if decoder.is_ended:
                        break
                if decoder.is_ended:
                    # Read to the end of the body, usually a few bytes: a connection is reused only after all of it.
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
        """Return the whole body; raises what :meth:`chunks` raises."""
        return b"".join([chunk async for chunk in self.chunks()])


class HTTPServer:
    """A server that takes JSON by POST. The transport is made at the first request.

    Args:
        name: The provider's name in the configuration.
        address: Its address.
        headers: Headers of each request.
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
        self._transport: Transport | None = None

    @asynccontextmanager
    async def posted(
        self, path: str, body: JsonObject, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Received]:
        """Post a body and yield the response; any error within the block becomes a rejected or uncertain one.

        Args:
            path: The path below the server's base, such as ``/chat/completions``.
            body: The JSON to send.
            headers: Headers of this request, joined to configured ones of the same name.

        Raises:
            RejectedError: No work was done and nothing was billed.
            UncertainError: The work may have been done and billed.
        """
        url = self._address.url(path)
        try:
            response = await self._send(url, _json(body), self._joined(headers or {}))
            try:
                if response.status not in _OK:
                    raise await self._refusal(response)
                yield Received(response, VECTORS_MAX if path.endswith(_VECTORS) else BODY_MAX)
            finally:
                await response.aclose()
        except ProviderError as error:
            raise self._named(error, path) from None
        except Exception as error:  # noqa: BLE001 - whatever broke the exchange, it may have been billed
            raise unsent_or_uncertain(self.name, error) from None

    async def warm_up(self) -> None:
        """Load certificates, and the HTTP client if there is a proxy, on a thread: that takes up to a second."""
        if self._transport is None:
            self._transport = await anyio.to_thread.run_sync(self._made)

    async def aclose(self) -> None:
        """Close connections."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def _joined(self, headers: Mapping[str, str]) -> dict[str, str]:
        usual = self._headers
        return usual | {name: ", ".join(filter(None, (usual.get(name), value))) for name, value in headers.items()}

    async def _send(self, url: str, content: bytes, headers: dict[str, str]) -> Response:
        if self._transport is None:
            self._transport = self._made()
        if (trace := current_trace()) is not None:
            headers["traceparent"] = trace
        return await self._transport.post(url, headers, content)

    def _made(self) -> Transport:
        reached = self._connection
        if reached.proxy is not None:
            from organism.providers.http_proxied import ProxiedTransport

            return ProxiedTransport(reached.proxy, reached.connect_timeout_s, tls_context(reached.ca_file))
        from organism.providers.http_direct import DirectTransport

        tls = tls_context(reached.ca_file) if self._address.secure else None
        return DirectTransport(self._address.base, reached.connect_timeout_s, tls)

    async def _refusal(self, response: Response) -> ProviderError:
        """Return the error of a response, whose status counts even if its body breaks off."""
        body = b""
        try:
            async for chunk in Received(response, ERROR_MAX).chunks():
                body += chunk
        except Exception:  # noqa: BLE001 - the status has come, and what is there of the words is better than none
            body = body[:ERROR_MAX]
        return refused_or_uncertain(self.name, response.status, body, _dated(response.headers))

    def _named(self, error: ProviderError, path: str) -> ProviderError:
        """Add the URL to an error that says it is wrong."""
        if isinstance(error, RejectedError) and error.meaning == "address":
            error.say(f"POST {self._address.shown(path)}: {error.detail}; is 'base_url' right?")
        return error


def _dated(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers with a date, which is the present where they have none (RFC 9110, 6.6.1)."""
    return headers if headers.get("date") else {**headers, "date": utc(SystemClock()).isoformat()}


@lru_cache(maxsize=32)
def tls_context(ca_file: str | None) -> "ssl.SSLContext":
    """Return a TLS context that trusts the certificates of a file or folder, or the system's.

    Raises:
        OSError: If they cannot be read, or are not certificates.
    """
    import ssl
    from pathlib import Path

    if ca_file is None:
        import httpx2

        context = httpx2.create_ssl_context(trust_env=False)
    elif Path(ca_file).is_dir():
        context = ssl.create_default_context(capath=ca_file)
    else:
        context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _json(body: JsonObject) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # lone surrogates, which JSON can escape and UTF-8 cannot hold
        import json

        return json.dumps(body).encode()


def _encodings(headers: Mapping[str, str]) -> list[str]:
    """Return the encodings of a body, by their common names."""
    names = [each.strip().lower() for each in headers.get("content-encoding", "").split(",")]
    return [_READABLE.get(name, name) for name in names if name not in {"", "identity", "none", "utf-8"}]


async def _decompressed(pieces: AsyncGenerator[bytes, None], encodings: list[str]) -> AsyncGenerator[bytes, None]:
    """Yield a decompressed body; rare, as compression is never asked for.

    A body that is not compressed although its header says so is yielded unchanged: some relays decompress bodies and
    leave the header.
    """
    import httpx2

    async with aclosing(pieces):
        head = b""
        async for piece in pieces:
            head += piece
            if len(head.lstrip()) >= _TELLING or len(head) >= _BLANKS_MAX:
                break

        async def whole() -> AsyncGenerator[bytes, None]:
            yield head
            async for piece in pieces:
                yield piece

        if head.lstrip().startswith(_PLAIN):
            async for piece in whole():
                yield piece
            return
        if unreadable := [each for each in encodings if not _readable(each)]:
            raise CompressedAnswerError(f"an answer compressed with {unreadable[0][:20]!r}, which was not asked for")

        class _Stream(httpx2.AsyncByteStream):
            def __aiter__(self) -> AsyncIterator[bytes]:
                return whole()

        response = httpx2.Response(200, headers={"content-encoding": ", ".join(encodings)}, stream=_Stream())
        async for chunk in response.aiter_bytes():
            yield chunk


_TELLING = 8
"""Bytes that tell whether a body is compressed."""

_BLANKS_MAX = 4096

_PLAIN = (b'{"', b"{\n", b"{\r", b"{ ", b"[{", b"data:", b"event:", b"id:", b": ")
"""Beginnings of JSON and event streams, which no compressed body has."""


def _readable(encoding: str) -> bool:
    """Whether a module that decompresses it is installed."""
    return any(map(_is_installed, _DECOMPRESSORS.get(encoding, ())))


_DECOMPRESSORS: dict[str, tuple[str, ...]] = {
    "gzip": ("zlib",),
    "deflate": ("zlib",),
    "br": ("brotli", "brotlicffi"),
    "zstd": ("backports.zstd", "compression.zstd"),
}
"""The modules of which the HTTP client uses one, by encoding."""


def _is_installed(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that the module would be in
        return False
