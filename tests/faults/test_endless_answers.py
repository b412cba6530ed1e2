"""Servers whose answers never end, on a real socket: given up early, with little memory."""

import time
import zlib
from collections.abc import Callable

import anyio
import anyio.abc
import pytest

from organism.errors import ProviderError
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.providers.openai import OpenAIProvider
from tests.faults.memory import peak_memory

pytestmark = pytest.mark.anyio

Record = Callable[[str, object], None]
REQUEST = CompletionRequest(model="m", messages=(ChatMessage("user", "hello"),), max_output_tokens=9)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: "
MANY = 64 * 1024


def squeezed() -> bytes:
    """Return gzip of a thousand times its bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([packer.compress(b" " * (1 << 20)) for _ in range(200)]) + packer.flush()


ENDLESS: dict[str, tuple[bytes, bytes, bool]] = {
    # what it begins with, what it goes on with without end, whether the answer is streamed
    "a body": (HEAD + b"application/json\r\n\r\n{", b" " * MANY, False),
    "a body in chunks": (
        HEAD + b"application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        b"10000\r\n" + b" " * MANY + b"\r\n",
        False,
    ),
    "a body that is ten gigabytes": (
        HEAD + b"application/json\r\ncontent-length: 10737418240\r\n\r\n{",
        b" " * MANY,
        False,
    ),
    "a line of a stream": (HEAD + b"text/event-stream\r\n\r\ndata: ", b"x" * MANY, True),
    "lines of a stream": (HEAD + b"text/event-stream\r\n\r\n", b"data: {}\n\n" * 6_000, True),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x-header: value\r\n" * 4_000, False),
    "a header": (b"HTTP/1.1 200 OK\r\nx-header: ", b"x" * MANY, False),
    "what is compressed": (
        HEAD + b"application/json\r\ncontent-encoding: gzip\r\n\r\n" + squeezed(),
        b"\0" * MANY,
        False,
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_answer_without_end_is_given_up(
    what: str, record_property: Record, fault_scale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes on for ever, the call is over in seconds, and little of it was kept."""
    first, more, streamed = ENDLESS[what]
    if fault_scale == 1:
        monkeypatch.setattr("organism.formats.answers.decoder.EVENTS_MAX", 10_000)

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            try:
                await stream.send(first)
                while True:
                    await stream.send(more)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - no database
    provider = OpenAIProvider("p", "k", f"http://127.0.0.1:{port}/v1")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        began = time.process_time()
        with (
            peak_memory() as peak,
            anyio.fail_after(120),
            pytest.raises(ProviderError, match=r"more than [0-9,]+ (bytes|events)"),
        ):
            await provider.complete(REQUEST, (lambda _piece: None) if streamed else None)
        took_s = time.process_time() - began
        await provider.aclose()
        tasks.cancel_scope.cancel()
    await listener.aclose()

    record_property("memory in MiB", peak.mib)
    record_property("refused in s", round(took_s, 2))
    assert peak.mib <= 64
