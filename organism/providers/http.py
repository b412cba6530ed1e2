"""One provider's server over HTTP: posts JSON, reads bounded answers, says what each failure means for money.

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
"""No answer of a model comes near this many bytes, decompressed; what goes beyond is cut off."""

VECTORS_MAX = 4 * BODY_MAX
"""Nor do embeddings near these: 2,048 vectors of 4,096 numbers are 45 million bytes in base 64."""

ERROR_MAX = 64 * 1024
"""No more is read of an answer that is an error."""

CONNECT_TIMEOUT_S = 10.0

_VECTORS = "/embeddings"
_READABLE = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate", "br": "br", "zstd": "zstd"}
_OK = range(200, 300)


class AnswerTooLargeError(ValueError):
    """An answer is larger than any answer of a model."""


class CompressedAnswerError(ValueError):
    """An answer is compressed in a way that cannot be read here."""


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


class Response(Protocol):
    """What a server has answered, as it came.

    Attributes:
        status: Its status.
        headers: Its headers; asked for by lower-case names.
    """

    status: int
    headers: Mapping[str, str]

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes."""

    async def aclose(self) -> None:
        """Read no more of it."""


class Transport(Protocol):
    """Sends requests."""

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> Response:
        """Send one and return its response when the head of it is there."""

    async def aclose(self) -> None:
        """Close connections."""


class Received:
    """An answer with a status of success, whose body comes in; decompressed and bounded."""

    def __init__(self, response: Response, most: int) -> None:
        self._response = response
        self._most = most
        self.headers = response.headers

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes.

        Raises:
            AnswerTooLargeError: If there is more of it than of any answer.
            CompressedAnswerError: If it cannot be decompressed here.
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
        """Return the answer that the body is; raises as its decoder does, and as :meth:`chunks` does.

        An answer that has said all is taken as it is, however the connection ends afterwards. One that has ended
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
        self._transport: Transport | None = None

    @asynccontextmanager
    async def posted(
        self, path: str, body: JsonObject, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Received]:
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
        """Load the certificates, and the HTTP client where there is a proxy: up to most of a second, on a thread."""
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
        """Read an error, as far as it goes: its status alone says something even when its body breaks off."""
        body = b""
        try:
            async for chunk in Received(response, ERROR_MAX).chunks():
                body += chunk
        except Exception:  # noqa: BLE001 - the status has come, and what is there of the words is better than none
            body = body[:ERROR_MAX]
        return refused_or_uncertain(self.name, response.status, body, _dated(response.headers))

    def _named(self, error: ProviderError, path: str) -> ProviderError:
        """Name the address where that is what is wrong."""
        if isinstance(error, RejectedError) and error.meaning == "address":
            error.say(f"POST {self._address.shown(path)}: {error.detail}; is 'base_url' right?")
        return error


def _dated(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers with a date, the one on which they came where they have none (RFC 9110, 6.6.1)."""
    return headers if headers.get("date") else {**headers, "date": utc(SystemClock()).isoformat()}


@lru_cache(maxsize=32)
def tls_context(ca_file: str | None) -> "ssl.SSLContext":
    """Return whom to believe: the certificates of a file or folder, or the system's.

    Raises:
        OSError: If they cannot be read, or are none.
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
    """Return how a body is compressed, each way by its common name."""
    names = [each.strip().lower() for each in headers.get("content-encoding", "").split(",")]
    return [_READABLE.get(name, name) for name in names if name not in {"", "identity", "none", "utf-8"}]


async def _decompressed(pieces: AsyncGenerator[bytes, None], encodings: list[str]) -> AsyncGenerator[bytes, None]:
    """Yield a body as it was before it was compressed; nobody asked for it to be, so it is rare.

    One that is said to be and is not is yielded as it is: some relays decompress what they pass on, and leave the
    header that says how it was compressed.
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
"""So many bytes of a body tell how it is compressed."""

_BLANKS_MAX = 4096

_PLAIN = (b'{"', b"{\n", b"{\r", b"{ ", b"[{", b"data:", b"event:", b"id:", b": ")
"""How JSON and streams of events begin, and nothing that is compressed."""


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
