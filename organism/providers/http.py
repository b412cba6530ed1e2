"""An HTTP client for providers that cannot be made to eat the machine's memory."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from organism.tracing import current_trace

if TYPE_CHECKING:
    import httpx2

BODY_MAX = 16 * 1024 * 1024
"""No answer of a model comes near this many bytes; what goes beyond is cut off."""

VECTORS_MAX = 4 * BODY_MAX
"""Nor do embeddings near these: 2,048 vectors of 4,096 numbers are 45 million bytes in base 64."""

_VECTORS = "/embeddings"

CONNECT_TIMEOUT_S = 10.0


class OversizeError(ValueError):
    """An answer is larger than any answer of a model, or compressed although that was not asked for."""


def patient(connect_timeout_s: float = CONNECT_TIMEOUT_S) -> "httpx2.Timeout":
    """Return the timeouts of a client that is told when to give up: only connecting has one of its own.

    Given to the SDKs too, which otherwise guess at one from the output cap, or refuse the request over it.
    """
    import httpx2

    return httpx2.Timeout(None, connect=connect_timeout_s)


def bounded_client(connect_timeout_s: float = CONNECT_TIMEOUT_S, **options: object) -> "httpx2.AsyncClient":
    """Make a client that follows no redirects, asks for no compression and cuts off endless answers.

    The router bounds the time of a whole attempt.
    """
    import httpx2

    class _Bounded(httpx2.AsyncByteStream):
        def __init__(self, stream: httpx2.AsyncByteStream, most: int) -> None:
            self._stream = stream
            self._most = most

        async def __aiter__(self) -> AsyncIterator[bytes]:
            received = 0
            async for chunk in self._stream:
                received += len(chunk)
                if received > self._most:
                    raise OversizeError(f"an answer of more than {self._most:,} bytes")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    class _Transport(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            request.headers["accept-encoding"] = "identity"
            if (trace := current_trace()) is not None:
                request.headers["traceparent"] = trace
            response = await super().handle_async_request(request)
            if response.headers.get("content-encoding", "identity") != "identity":
                await response.aclose()
                raise OversizeError("a compressed answer, which was not asked for")
            if isinstance(response.stream, httpx2.AsyncByteStream):
                most = VECTORS_MAX if request.url.path.endswith(_VECTORS) else BODY_MAX
                response.stream = _Bounded(response.stream, most)
            return response

    return httpx2.AsyncClient(
        transport=_Transport(retries=0),
        timeout=patient(connect_timeout_s),
        follow_redirects=False,
        trust_env=False,
        **options,  # type: ignore[arg-type]
    )
