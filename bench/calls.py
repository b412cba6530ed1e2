"""W6: what a call costs on its way to a provider: the SDK, pydantic-ai, organism; of what is between, see "gateway"."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from bench.stopwatch import Figures, Stopwatch, percentile
from bench.stub import stub
from organism import Context, Limits, Organism, Text, agent
from organism.amounts import TokenUsage
from organism.llm.answers import Completion
from organism.llm.provider import Provider


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


def through_gateway(count: int) -> Figures:
    """What the gateway does for a call beside HTTP's own work: the gate, the format, who pays, the call, the answer."""
    return asyncio.run(_asked_of_gateway(count))


async def _asked_of_gateway(count: int) -> Figures:
    from organism.api.application import Options, build_api
    from organism.api.tokens.token_book import TokenBook
    from organism.gateway.request_handler import Gateway
    from organism.gateway.routes import gateway_group
    from organism.gateway.settings import Key, Settings

    @agent()
    async def nobody(_message: Text, _ctx: Context) -> None:
        """Wait for nothing."""

    organism = Organism(
        [nobody], models={"main": "stub/stub"}, providers={"stub": AtOnce()}, limits=Limits(tokens=10**9)
    )
    key = Key(name="bench", sha256=sha256(b"k").hexdigest())
    tokens = TokenBook(organism.clock.now_ns)
    group = gateway_group(Gateway(organism.control, Settings(keys=(key,))), tokens)
    application: Any = build_api(organism.control, tokens, Options(groups=(group,)))
    body = b'{"model": "main", "max_tokens": 16, "messages": [{"role": "user", "content": "hello"}]}'
    headers = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer k"), (b"content-type", b"application/json")]

    async def call() -> None:
        sent: list[Any] = []
        waiting = asyncio.get_running_loop().create_future()
        came = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            return next(came, None) or await waiting

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "root_path": "",
            "headers": [*headers, (b"content-length", str(len(body)).encode())],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        await application(scope, receive, send)
        if sent[0]["status"] != HTTPStatus.OK:
            raise RuntimeError(sent)

    async with organism:
        return await _many(call, count, 1)


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
ours_together = partial(ours, at_once=50)
