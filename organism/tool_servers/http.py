"""MCP servers over HTTP: a failure of the server or the network fails only the request that it hits.

The SDK's transport ends the whole session when one request fails, and does not tell a lost session from a failed tool.
So a guard sits below it: whatever comes back is read, bounded, and passed to the SDK as a JSON-RPC answer, with a code
that says whether the request can have been carried out.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec

from organism.text.error_text import with_type
from organism.tool_servers.messages import (
    MESSAGE_BYTES_MAX,
    NOT_SENT,
    SESSION_LOST,
    UNCERTAIN,
    UNREADABLE,
    failure,
    is_answer,
    read_messages,
    too_large,
)
from organism.tool_servers.targets import WebAddress
from organism.tool_servers.web_answers import answer_to, answers_in, readable_events

_CONNECT_TIMEOUT_S = 10.0
_ASIDE_TIMEOUT_S = 5.0
"""Seconds for requests without an answer: notifications, and the end of a session."""

_SESSION = "mcp-session-id"
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_EVENTS = "text/event-stream"
_NO_SUCCESS, _ERROR = 300, 400
_SAID_CHARACTERS = 200


@asynccontextmanager
async def web_transport(target: WebAddress) -> AsyncIterator[tuple[Any, Any]]:
    """Connect to a server within the block, and yield the SDK's two streams."""
    from mcp.client.streamable_http import streamable_http_client

    headers = {} if target.token is None else {"authorization": f"Bearer {target.token}"}
    timeout = httpx2.Timeout(None, connect=_CONNECT_TIMEOUT_S)
    guarded = _Guarded(httpx2.AsyncHTTPTransport(trust_env=False))
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False, transport=guarded) as client,
        streamable_http_client(target.url, http_client=client, max_sse_event_size=MESSAGE_BYTES_MAX) as streams,
    ):
        yield streams


class _Guarded(httpx2.AsyncBaseTransport):
    """Turns failures, and answers that the SDK cannot take, into JSON-RPC answers."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send an HTTP request; every outcome of one with a JSON-RPC request is an answer."""
        number = _number(await request.aread()) if request.method == "POST" else None
        if number is None and request.method != "GET":
            waits = request.extensions.get("timeout", {})
            request.extensions = {**request.extensions, "timeout": {**waits, "read": _ASIDE_TIMEOUT_S}}
        try:
            response = await self._inner.handle_async_request(request)
            if _media_type(response) == _EVENTS and response.status_code < _NO_SUCCESS:
                return _as_events(response, number)
            if number is None:
                return response
            return await _answer(request, number, response)
        except httpx2.TransportError as error:
            if number is None and request.method != "POST":
                raise
            code = NOT_SENT if isinstance(error, _NOT_SENT) else UNCERTAIN
            if number is None:  # a notification, whose failure must not end the session
                return httpx2.Response(503)
            return _as_answer(failure(number, code, with_type(error)))

    async def aclose(self) -> None:
        """Close connections."""
        await self._inner.aclose()


async def _answer(request: httpx2.Request, number: int | str, response: httpx2.Response) -> httpx2.Response:
    """Read the answer to a request that is not a stream; one without a body is left to the SDK."""
    status, media_type = response.status_code, _media_type(response)
    if _NO_SUCCESS <= status < _ERROR or status == 202:  # noqa: PLR2004
        return response
    body = await _body(response)
    if body is None:
        return _as_answer(too_large(number))
    said = " ".join(body.decode("utf-8", "replace").split())[:_SAID_CHARACTERS]
    if _SESSION in request.headers and _tells_of_lost_session(status, body):
        lost = f"the server does not know the session any more (it answered {status}{': ' if said else ''}{said})"
        return _as_answer(failure(number, SESSION_LOST, lost))
    if (found := answer_to(number, answers_in(body))) is not None:
        return _as_answer(found, response.headers.get(_SESSION))
    what = f"answered {status}" if status >= _ERROR else f"answered what is no MCP message ({media_type or 'no type'})"
    return _as_answer(failure(number, UNREADABLE, f"{what}: {said}" if said else what))


def _media_type(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _as_events(response: httpx2.Response, number: int | str | None) -> httpx2.Response:
    """Return a stream of messages that the SDK can read; after any other, the call would wait for its timeout."""
    plain = {name: value for name, value in response.headers.items() if name not in _OF_THE_BODY}
    return httpx2.Response(response.status_code, headers=plain, stream=_ReadableEvents(response, number))


_OF_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class _ReadableEvents(httpx2.AsyncByteStream):
    """A stream's events, repaired for the SDK."""

    def __init__(self, response: httpx2.Response, number: int | str | None) -> None:
        self._response = response
        self._number = number

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for event in readable_events(self._response.aiter_bytes(), self._number):
            yield event

    async def aclose(self) -> None:
        await self._response.aclose()


def _tells_of_lost_session(status: int, body: bytes) -> bool:
    """Whether an answer says that the session is lost: 404 by the protocol, 400 or 410 with words from some servers."""
    return status == 404 or (status in (400, 410) and b"session" in body.lower())  # noqa: PLR2004


async def _body(response: httpx2.Response) -> bytes | None:
    """Read a whole body; ``None`` if it is too large."""
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MESSAGE_BYTES_MAX:
                return None
    except httpx2.DecodingError as error:
        raise httpx2.ReadError(f"the answer cannot be unpacked: {error}") from error
    finally:
        await response.aclose()
    return bytes(body)


def _as_answer(message: dict[str, Any], session: str | None = None) -> httpx2.Response:
    headers = {"content-type": "application/json"} | ({} if session is None else {_SESSION: session})
    return httpx2.Response(200, headers=headers, content=msgspec.json.encode(message))


def _number(body: bytes) -> int | str | None:
    """Return the id of a JSON-RPC request; ``None`` for a notification, or an answer to the server."""
    found = next((message for message in read_messages(body) if not is_answer(message)), None)
    return None if found is None else found.get("id")
