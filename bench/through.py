"""The gateway workloads: what a proxy between a client and its provider takes of the processor for a call, or a chunk.

Clients are sockets and bytes, so that they take little from the machine, but send what the official SDK sends. Measured
is the proxy's process alone, by the kernel's own count, so what else the machine does hardly shows.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

from bench.gateway import gateway
from bench.litellm import KEY, Proxy, proxy
from bench.stopwatch import Figures, Stopwatch, cpu_s_of, percentile
from bench.stub import stub

TOGETHER = 50
CHUNKS = 200
"""Pieces of a streamed answer; the stub sends one every ten milliseconds."""

_SDK_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
    "content-type": "application/json",
    "user-agent": "AsyncOpenAI/Python 3.57.0",
    "x-stainless-arch": "x64",
    "x-stainless-async": "async:asyncio",
    "x-stainless-lang": "python",
    "x-stainless-os": "Linux",
    "x-stainless-package-version": "3.57.0",
    "x-stainless-raw-response": "true",
    "x-stainless-read-timeout": "600",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "CPython",
    "x-stainless-runtime-version": "3.11.7",
}
_MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]


class _Connection:
    """A client's kept connection to a proxy, or to the stub itself.

    Args:
        url: Where it goes, without the path of the call.
        stream: Whether the answer is asked for in pieces.
    """

    def __init__(self, url: str, *, stream: bool) -> None:
        self._to = urlsplit(url)
        body = {"model": "stub", "messages": _MESSAGES, "max_completion_tokens": 16 if not stream else 4 * CHUNKS}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        content = json.dumps(body).encode()
        headers = _SDK_HEADERS | {
            "host": self._to.netloc,
            "authorization": f"Bearer {KEY}",
            "content-length": str(len(content)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._request = f"POST {self._to.path}/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + content

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._to.hostname, self._to.port)

    async def call(self) -> bytes:
        """Make a call and return its answer's body."""
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"a call failed: {head!r}")
        if b"\r\ncontent-length:" in head:
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            return await self._reader.readexactly(length)
        if b"\r\ntransfer-encoding: chunked" not in head:
            raise RuntimeError(f"an answer of no length: {head!r}, {await self._reader.read()!r}")
        parts = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            parts.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readexactly(2)
        return b"".join(parts)

    def close(self) -> None:
        """Close."""
        self._writer.close()


async def _load(url: str, count: int, at_once: int, *, stream: bool, pid: int | None) -> Figures:
    """Make calls and return what they took: of a process, or of this one."""
    connections = [_Connection(url, stream=stream) for _ in range(at_once)]
    took: list[float] = []
    pieces = 0

    async def some(connection: _Connection, calls: int) -> None:
        nonlocal pieces
        for _ in range(calls):
            began = time.perf_counter()
            body = await connection.call()
            took.append((time.perf_counter() - began) * 1e6)
            pieces += body.count(b'"content"') if stream else 1

    async def all_of(calls: int) -> None:
        await asyncio.gather(*(some(connection, calls) for connection in connections))

    for connection in connections:
        await connection.open()
    await all_of(max(1, (0 if stream else 100) // at_once))  # connections, imports, what is learnt
    took.clear()
    pieces = 0
    before = cpu_s_of(pid) if pid is not None else 0.0
    with Stopwatch() as watch:
        await all_of(max(1, count // at_once))
    cpu_s = cpu_s_of(pid) - before if pid is not None else watch.cpu_s
    for connection in connections:
        connection.close()
    figures = {"cpu_us": cpu_s / pieces * 1e6, "per_s": pieces / watch.wall_s}
    if stream:
        return figures | {"a_core_per_s": pieces / cpu_s}
    return figures | {"p50_us": percentile(took, 50), "p99_us": percentile(took, 99)}


def _measured(running: Proxy, count: int, at_once: int, *, stream: bool) -> Figures:
    return asyncio.run(_load(running.url, count, at_once, stream=stream, pid=running.pid))


def ours(count: int, at_once: int = 1, *, stream: bool = False) -> Figures:
    """Calls through a daemon's gateway."""
    with stub(CHUNKS) as address, gateway(address) as running:
        return _measured(running, count, at_once, stream=stream)


def litellm(count: int, at_once: int = 1, *, stream: bool = False) -> Figures:
    """Calls through LiteLLM's proxy."""
    with stub(CHUNKS) as address, proxy(address) as running:
        return _measured(running, count, at_once, stream=stream)


def bare(count: int, at_once: int = 1, *, stream: bool = False) -> Figures:
    """The same clients before the provider itself, and what they take."""
    with stub(CHUNKS) as address:
        return asyncio.run(_load(address, count, at_once, stream=stream, pid=None))


def sdk(count: int, at_once: int = 1, *, stream: bool = False) -> Figures:
    """The official SDK before the provider itself, and what it takes."""
    import openai

    async def main(address: str) -> Figures:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=address, max_retries=0) as client:
            asked = partial(client.chat.completions.create, model="stub", messages=_MESSAGES)

            async def whole() -> int:
                await asked(max_completion_tokens=16)
                return 1

            async def streamed() -> int:
                answer = await asked(max_completion_tokens=800, stream=True, stream_options={"include_usage": True})
                return sum([1 async for chunk in answer if chunk.choices and chunk.choices[0].delta.content])

            return await _called(streamed if stream else whole, count, at_once, stream=stream)

    with stub(CHUNKS) as address:
        return asyncio.run(main(address))


async def _called(call: Callable[[], Awaitable[int]], count: int, at_once: int, *, stream: bool) -> Figures:
    await asyncio.gather(*(call() for _ in range(at_once)))

    async def some() -> int:
        return sum([await call() for _ in range(max(1, count // at_once))])

    with Stopwatch() as watch:
        pieces = sum(await asyncio.gather(*(some() for _ in range(at_once))))
    return watch.per(pieces) | ({"a_core_per_s": pieces / watch.cpu_s} if stream else {})


# Under names of their own: a side of the catalog is named and given nothing but its size.
ours_together = partial(ours, at_once=TOGETHER)
litellm_together = partial(litellm, at_once=TOGETHER)
sdk_together = partial(sdk, at_once=TOGETHER)
bare_together = partial(bare, at_once=TOGETHER)
ours_streamed = partial(ours, at_once=TOGETHER, stream=True)
litellm_streamed = partial(litellm, at_once=TOGETHER, stream=True)
sdk_streamed = partial(sdk, at_once=TOGETHER, stream=True)
bare_streamed = partial(bare, at_once=TOGETHER, stream=True)
