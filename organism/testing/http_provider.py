"""A model provider behind real HTTP that follows a script, misbehaves on request, and keeps its own bill.

It speaks OpenAI's chat completions, responses and embeddings and Anthropic's messages, streamed and whole, over a plain
socket, so that it can do what no well-behaved server does: stop in the middle, reset the connection, or send usage that
is no number. The bill holds what it would charge for; a test compares it with what the ledger has recorded.
"""

import gzip
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import cycle
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

import anyio
import anyio.abc
import msgspec

from organism.amounts import TokenUsage
from organism.llm.requests import ToolCall
from organism.testing.http_formats import Said, format_of, inputs_of

HTTPFault = Literal["hang", "reset", "cut", "flood"]
"""``hang``: send no more, keep the connection. ``reset``: tear it down. ``cut``: end it as if the answer were over.
``flood``: send a line that never ends."""

_FLOOD = b"data: " + b"x" * (1024 * 1024)


class HTTPStep(msgspec.Struct, frozen=True, kw_only=True):
    """What the server does with one request.

    Attributes:
        text: The answer; one token a word on the bill, as for everything else that is said. What is embedded becomes
            vectors instead.
        tool_calls: The tools it wants run.
        reasoning: What it thinks first.
        status: The HTTP status; the answer is only sent with 200.
        body: Sent as it is instead of an answer; text as UTF-8.
        headers: Sent beside the usual ones.
        shape: Writes the answer in place of the format's reference: its body, and headers beside the usual ones.
        usage: The usage as JSON text, sent as it is; ``""`` sends none; ``None`` sends the true one.
        usage_first_only: Whether a stream has its usage at the beginning and never again.
        fault: What goes wrong.
        fault_after: Pieces of the answer that are sent before it does; a whole answer counts as one piece.
        delay_s: Seconds before anything is sent.
        pause_s: Seconds before each piece of a stream but the first.
        metered: Whether a stream whose client closes it is billed no further, for each piece that was sent a token.
        drip_s: Seconds before each single byte of what follows the head; all at once unless given.
        billed: Whether the call is on the bill; by default when the status is 200, 408, 502 or 504.
        compress: Send the body compressed, whatever was asked for.
        keep: Keep the connection for another request; what follows on it may then be cut before its first byte, as by
            a server that closed it as idle.
        raw: Sent as it is instead of everything, head and all.
    """

    text: str = "ok"
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    status: int = 200
    body: str | bytes | None = None
    headers: dict[str, str] = {}
    shape: Callable[[Said], tuple[bytes, dict[str, str]]] | None = None
    usage: str | None = None
    usage_first_only: bool = False
    fault: HTTPFault | None = None
    fault_after: int = 0
    delay_s: float = 0.0
    pause_s: float = 0.0
    metered: bool = False
    drip_s: float = 0.0
    billed: bool | None = None
    compress: Literal["gzip", "deflate"] | None = None
    keep: bool = False
    raw: bytes | None = None


class ReceivedRequest(msgspec.Struct, frozen=True):
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


_BILLED = frozenset({200, 408, 502, 504})
_COUNTS = ("/count_tokens", "/input_tokens")
"""End the paths at which input is only counted: no step of a list is for them, and nothing is billed."""

_INPUT = ("system", "messages", "input", "tools")
_NOT_INPUT = frozenset({"role", "type", "id", "tool_call_id", "tool_use_id", "call_id", "url", "data", "detail"})

HTTPScript = Iterable[str | HTTPStep] | Callable[[ReceivedRequest], str | HTTPStep]


class ScriptedHTTPProvider:
    """Serves a script on a loopback port. Use it as an async context manager.

    Args:
        script: A step for each request, again and again, or a function of the request.

    Attributes:
        requests: All that came in, in order.
        bill: What each billed one would be charged.
        billed_for: The request of each line of the bill.
        url: Where it listens.
        connections: How many were made to it.
    """

    def __init__(self, script: HTTPScript = ("ok",)) -> None:
        self._function = script if callable(script) else None
        self._steps: Iterator[str | HTTPStep] = iter(()) if callable(script) else cycle(tuple(script))
        self._tasks: anyio.abc.TaskGroup | None = None
        self._listener: anyio.abc.Listener[anyio.abc.SocketStream] | None = None
        self._listening = anyio.CancelScope()
        self._deaf = anyio.Event()
        self.requests: list[ReceivedRequest] = []
        self.bill: list[TokenUsage] = []
        self.billed_for: list[ReceivedRequest] = []
        self.url = ""
        self.connections = 0

    @property
    def billed(self) -> TokenUsage:
        """All tokens on the bill."""
        total = TokenUsage()
        for usage in self.bill:
            total += usage
        return total

    async def __aenter__(self) -> Self:
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._listener.extra(anyio.abc.SocketAttribute.local_port)}"  # noqa: S610
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._listen, self._listener)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
        if self._listener is not None:
            await self._listener.aclose()

    async def stop_listening(self) -> None:
        """Refuse connections from here on, as a server that is down does."""
        self._listening.cancel()
        await self._deaf.wait()
        if self._listener is not None:
            await self._listener.aclose()

    async def _listen(self, listener: anyio.abc.Listener[anyio.abc.SocketStream]) -> None:
        with self._listening:
            await listener.serve(self._serve)
        self._deaf.set()

    async def _serve(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        async with stream:
            try:
                kept = True
                while kept:
                    request = await _read_request(stream)
                    self.requests.append(request)
                    kept = await self._answer(stream, request)
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                return  # the client has gone, which is what some tests are about

    async def _answer(self, stream: anyio.abc.SocketStream, request: ReceivedRequest) -> bool:
        """Answer a request by the script; returns whether the connection is kept for another."""
        counts = request.path.partition("?")[0].endswith(_COUNTS)
        found = self._function(request) if self._function is not None else HTTPStep() if counts else next(self._steps)
        step = HTTPStep(text=found) if isinstance(found, str) else found
        usage = _usage(step, request)
        if counts and step.status == 200 and step.body is None:  # noqa: PLR2004
            step = msgspec.structs.replace(step, body=json.dumps({"input_tokens": usage.input}))
        line: int | None = None
        if step.billed if step.billed is not None else step.status in _BILLED and not counts:
            line = len(self.bill)
            self.bill.append(usage)
            self.billed_for.append(request)
        await anyio.sleep(step.delay_s)
        pieces = _packed(step, list(_pieces(step, request, usage)))
        for sent, piece in enumerate(pieces):
            if step.fault is not None and sent == step.fault_after:
                break
            await anyio.sleep(step.pause_s if sent else 0.0)
            await _send(stream, piece, step.drip_s if sent else 0.0)
            if line is not None and step.metered:
                self.bill[line] = TokenUsage(input=usage.input, output=min(usage.output_total, sent))
        if line is not None:
            self.bill[line] = usage
        if step.fault == "hang":
            await anyio.sleep_forever()
        elif step.fault == "reset":
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - not Django
            # Closing with a linger time of zero sends RST instead of FIN.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while step.fault == "flood":
            await stream.send(_FLOOD)
        return step.keep and step.fault is None


def _usage(step: HTTPStep, request: ReceivedRequest) -> TokenUsage:
    """Count what goes on the bill: a token a word, and a token each where tokens are sent to be embedded."""
    read = sum(_words(request.body.get(field)) for field in _INPUT)
    if request.path.endswith("/embeddings"):
        return TokenUsage(input=read + sum(len(each) for each in inputs_of(request.body) if isinstance(each, list)))
    calls = sum(_words(f"{call.name} {call.arguments}") for call in step.tool_calls)
    return TokenUsage(input=read, output=_words(step.text) + calls, reasoning=_words(step.reasoning))


async def _send(stream: anyio.abc.SocketStream, piece: bytes, drip_s: float) -> None:
    for part in (piece[place : place + 1] for place in range(len(piece))) if drip_s else (piece,):
        await anyio.sleep(drip_s)
        await stream.send(part)


async def _read_request(stream: anyio.abc.SocketStream) -> ReceivedRequest:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += await stream.receive()
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += await stream.receive()
    return ReceivedRequest(first.split(" ")[1], headers, json.loads(body or b"{}"))


def _packed(step: HTTPStep, pieces: list[bytes]) -> list[bytes]:
    """Compress a body, and say how long it is where the connection is kept: both make one piece of it."""
    if step.compress is None and not step.keep:
        return pieces
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    more = b""
    if step.compress is not None:
        body = gzip.compress(body) if step.compress == "gzip" else zlib.compress(body)
        more += f"\r\ncontent-encoding: {step.compress}".encode()
    if step.keep:
        head = head.replace(b"connection: close", b"connection: keep-alive")
        more += f"\r\ncontent-length: {len(body)}".encode()
    return [head + more + b"\r\n\r\n" + body]


def _pieces(step: HTTPStep, request: ReceivedRequest, usage: TokenUsage) -> Iterator[bytes]:
    """Yield the bytes of a response: its head with the first piece, then piece by piece."""
    if step.raw is not None:
        yield step.raw
        return
    if step.body is not None or step.status != 200:  # noqa: PLR2004
        error = json.dumps({"type": "error", "error": {"type": "scripted", "message": "as scripted"}})
        body = error if step.body is None else step.body
        yield _head(step, "application/json") + (body.encode() if isinstance(body, str) else body)
        return
    said = Said(
        words=tuple(word if place == 0 else f" {word}" for place, word in enumerate(step.text.split())),
        reasoning=step.reasoning,
        calls=step.tool_calls,
        usage=usage,
        usage_text=step.usage,
        first_only=step.usage_first_only,
    )
    if step.shape is not None:
        body, headers = step.shape(said)
        yield _head(step, "application/json", headers) + body
        return
    wanted = format_of(request.path, request.body)
    if not request.body.get("stream"):
        head, whole = _head(step, "application/json"), wanted.whole(said).encode()
        yield from (head, whole) if step.drip_s else (head + whole,)
    else:
        yield _head(step, "text/event-stream")
        for event in wanted.events(said):
            yield event.encode()


def _head(step: HTTPStep, content_type: str, more: Mapping[str, str] = MappingProxyType({})) -> bytes:
    headers = {"content-type": content_type, "connection": "close", **more, **step.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {step.status} Scripted\r\n{lines}\r\n".encode()


def _words(value: object) -> int:
    """Count the words of all text in a request's input."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, dict):
        return sum(_words(each) for key, each in value.items() if key not in _NOT_INPUT)
    return sum(map(_words, value)) if isinstance(value, list) else 0
