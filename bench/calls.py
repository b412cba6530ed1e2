"""W6: what a call costs on its way to a provider: the SDK, pydantic-ai, LiteLLM's proxy, organism and its gateway.

The provider is a stub in a process of its own that answers at once, so that all the time is on our side.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from bench.gateway import gateway
from bench.litellm import KEY, Proxy, proxy
from bench.stopwatch import Figures, Stopwatch, cpu_s_of, percentile
from organism import Context, Limits, Organism, Text, agent
from organism.amounts import TokenUsage
from organism.llm.answers import Completion
from organism.llm.provider import Provider

STUB = """
import asyncio, json, os
ANSWER = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "stub", "choices": [{"index": 0,
    "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}}).encode()
CHUNK = json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": [
    {"index": 0, "delta": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}}).encode()
def response(kind, body):
    return b"HTTP/1.1 200 OK\\r\\ncontent-type: " + kind + b"\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body
WHOLE = response(b"application/json", ANSWER)
STREAM = response(b"text/event-stream", b"data: " + CHUNK + b"\\n\\ndata: [DONE]\\n\\n")
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            lines = head.lower().split(b"\\r\\n")
            length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), 0)
            body = json.loads(await reader.readexactly(length) or b"{}")
            writer.write(STREAM if body.get("stream") else WHOLE)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextmanager
def stub() -> Iterator[str]:
    """Run the stub and give its address."""
    with subprocess.Popen([sys.executable, "-c", STUB], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.terminate()


async def _many(call: Callable[[], Awaitable[object]], count: int, at_once: int) -> Figures:
    took: list[float] = []

    async def some(of: int) -> None:
        for _ in range(of):
            began = time.perf_counter()
            await call()
            took.append((time.perf_counter() - began) * 1e6)

    await some(20)  # connections, imports
    took.clear()
    each = max(1, count // at_once)
    with Stopwatch() as watch:
        await asyncio.gather(*(some(each) for _ in range(at_once)))
    return watch.per(each * at_once) | {"p50_us": percentile(took, 50), "p99_us": percentile(took, 99)}


def bare_sdk(count: int, at_once: int = 1) -> Figures:
    """The official SDK and nothing else."""
    import openai

    async def main(address: str) -> Figures:
        async with openai.AsyncOpenAI(api_key="k", base_url=address, max_retries=0) as client:

            async def call() -> object:
                return await client.chat.completions.create(
                    model="stub", messages=[{"role": "user", "content": "hello"}], max_completion_tokens=16
                )

            return await _many(call, count, at_once)

    with stub() as address:
        return asyncio.run(main(address))


def raw_sdk(count: int, at_once: int = 1) -> Figures:
    """The official SDK without its types: what organism itself sends with, and nothing else."""
    import httpx2
    import openai

    async def main(address: str) -> Figures:
        async with openai.AsyncOpenAI(api_key="k", base_url=address, max_retries=0) as client:
            body = {"model": "stub", "messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 16}

            async def call() -> object:
                return json.loads((await client.post("/chat/completions", cast_to=httpx2.Response, body=body)).content)

            return await _many(call, count, at_once)

    with stub() as address:
        return asyncio.run(main(address))


def litellm_proxy(count: int, at_once: int = 1) -> Figures:
    """The official SDK through LiteLLM's proxy; its time of the processor is that of both processes."""
    with stub() as address, proxy(address) as running:
        return asyncio.run(_through(running, count, at_once))


def our_gateway(count: int, at_once: int = 1) -> Figures:
    """The official SDK through a daemon's gateway; its time of the processor is that of both processes."""
    with stub() as address, gateway(address) as running:
        return asyncio.run(_through(running, count, at_once))


async def _through(running: Proxy, count: int, at_once: int) -> Figures:
    import openai

    async with openai.AsyncOpenAI(api_key=KEY, base_url=running.url, max_retries=0) as client:

        async def call() -> object:
            return await client.chat.completions.create(
                model="stub", messages=[{"role": "user", "content": "hello"}], max_completion_tokens=16
            )

        await _many(call, 20 * at_once, at_once)
        before = cpu_s_of(running.pid)
        figures = await _many(call, count, at_once)
        calls = max(1, count // at_once) * at_once + 20  # with those that warm up, which cost the same here
        proxy_us = (cpu_s_of(running.pid) - before) / calls * 1e6
        return figures | {"cpu_us": figures["cpu_us"] + proxy_us, "proxy_us": proxy_us}


def pydantic_ai(count: int, at_once: int = 1) -> Figures:
    """An agent of pydantic-ai with usage limits."""
    from pydantic_ai import Agent, UsageLimits
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def main(address: str) -> Figures:
        model = OpenAIChatModel("stub", provider=OpenAIProvider(base_url=address, api_key="k"))
        asked, limits = Agent(model), UsageLimits(total_tokens_limit=1_000_000)
        return await _many(lambda: asked.run("hello", usage_limits=limits), count, at_once)

    with stub() as address:
        return asyncio.run(main(address))


class AtOnce:
    """A provider that answers without any network, so that nothing is measured but the way to it."""

    name = "stub"
    answer = Completion(text="ok", model="stub", finish_reason="stop", usage=TokenUsage(input=5, output=1))

    def extra_tokens(self, _request: object) -> int:
        """Return none."""
        return 0

    async def complete(self, _request: object, _on_text: object = None) -> Completion:
        """Answer."""
        return self.answer

    async def aclose(self) -> None:
        """Do nothing."""


def without_network(count: int) -> Figures:
    """What organism does for a call, and nothing else."""
    return asyncio.run(_held_and_settled(AtOnce(), count, 1))


def ours(count: int, at_once: int = 1) -> Figures:
    """A handler's call through the router: held on the thread's budget, sent, settled."""
    from organism.providers.openai import OpenAIProvider

    with stub() as address:
        return asyncio.run(_held_and_settled(OpenAIProvider("stub", "k", address), count, at_once))


async def _held_and_settled(provider: Provider, count: int, at_once: int) -> Figures:
    found: Figures = {}

    @agent()
    async def caller(_message: Text, ctx: Context) -> None:
        found.update(await _many(lambda: ctx.llm.complete("hello", max_output_tokens=16), count, at_once))

    async with Organism(
        [caller], models={"main": "stub/stub"}, providers={"stub": provider}, limits=Limits(tokens=10**9)
    ) as organism:
        await organism.run("go")
    return found


# The same, fifty at a time, under names of their own: a side of the catalog is named and given nothing but its size.
bare_sdk_together = partial(bare_sdk, at_once=50)
raw_sdk_together = partial(raw_sdk, at_once=50)
pydantic_ai_together = partial(pydantic_ai, at_once=50)
litellm_proxy_together = partial(litellm_proxy, at_once=50)
our_gateway_together = partial(our_gateway, at_once=50)
ours_together = partial(ours, at_once=50)
