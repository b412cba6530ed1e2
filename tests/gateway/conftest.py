"""A served gateway before a provider that keeps its own bill, and the official SDK, which knows nothing of either."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256
from typing import Any

import anthropic
import anyio
import httpx2
import msgspec
import openai
import pytest

from organism import Context, Limits, Organism, Text, agent
from organism.api.application import Options
from organism.api.server import ControlServer, bind, url_of
from organism.api.tokens.token_book import TokenBook
from organism.formats.media.attachments import AttachmentBounds
from organism.gateway.request_handler import Gateway
from organism.gateway.routes import gateway_group
from organism.gateway.settings import Key, Settings
from organism.llm.provider import Provider
from organism.providers.openai import API, OpenAIProvider
from organism.testing import ScriptedHTTPProvider
from organism.testing.http_provider import HTTPScript

KEY = "sk-of-the-build-servers"
OTHER_KEY = "sk-of-somebody-else"
UPSTREAM = "sk-upstream-of-the-organism"
BOUNDS = AttachmentBounds(image_tokens=100)
TOKEN = "the-first-token-of-the-tests-of-the-gateway"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of loopback's plain HTTP: a context that each would make for itself reads 50 ms of certificates."""


class Served(msgspec.Struct, frozen=True):
    """A gateway while it is served.

    Attributes:
        organism: The organism behind it.
        provider: What answers.
        client: The official SDK, which knows a base URL and a key and nothing else.
        http: A plain client with the same key.
        operator: A plain client with the first token.
    """

    organism: Organism
    provider: ScriptedHTTPProvider
    client: openai.AsyncOpenAI
    http: httpx2.AsyncClient
    operator: httpx2.AsyncClient


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Answer with one call; wait first if told to."""
    if message.text == "wait":
        await anyio.sleep_forever()
    answer = await ctx.llm.complete(message.text, max_output_tokens=16)
    return Text(answer.text)


def key(name: str, secret: str, **options: object) -> Key:
    return Key(name=name, sha256=sha256(secret.encode()).hexdigest(), **options)  # type: ignore[arg-type]


def openai_sdk(base_url: str, key: str = KEY, **options: Any) -> openai.AsyncOpenAI:
    """Return OpenAI's SDK, which knows a base URL and a key and nothing else."""
    http = openai.DefaultAsyncHttpxClient(verify=NO_TLS)
    return openai.AsyncOpenAI(api_key=key, base_url=base_url, timeout=60, http_client=http, **options)


def anthropic_sdk(base_url: str, **options: Any) -> anthropic.AsyncAnthropic:
    """Return Anthropic's SDK, likewise."""
    http = anthropic.DefaultAsyncHttpxClient(verify=NO_TLS)
    usual = {"api_key": KEY, "base_url": base_url, "timeout": 20, "http_client": http}
    return anthropic.AsyncAnthropic(**(usual | options))


def plain_client(url: str, key: str) -> httpx2.AsyncClient:
    """Return a client that sends what it is told to."""
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(base_url=url, headers=headers, timeout=60, verify=NO_TLS)


@asynccontextmanager
async def serve(
    script: HTTPScript = ("one two three",),
    *,
    gateway: dict[str, object] | None = None,
    api: API = "chat",
    upstream: Callable[[str], Provider] | None = None,
    **options: object,
) -> AsyncIterator[Served]:
    """Serve a gateway on a free port in front of a provider with a script."""
    async with ScriptedHTTPProvider(script) as provider:
        adapter = (
            OpenAIProvider("double", UPSTREAM, f"{provider.url}/v1", bounds=BOUNDS, api=api)
            if upstream is None
            else upstream(provider.url)
        )
        organism = Organism(
            [writer],
            providers={"double": adapter},
            **{
                "models": {"main": "double/m", "other": "double/o"},
                "provider_kinds": {"double": "local"},
                "limits": Limits(tokens=100_000),
                **options,
            },  # type: ignore[arg-type]
        )
        settings = Settings(
            **{
                "models": ("main", "other"),
                "keys": (key("ci", KEY), key("other", OTHER_KEY)),
                **(gateway or {}),
            }  # type: ignore[arg-type]
        )
        tokens = TokenBook(organism.clock.now_ns)
        tokens.know("owner", TOKEN, ("admin",))
        with bind("127.0.0.1", 0) as listener:
            group = gateway_group(Gateway(organism.control, settings), tokens)
            server = ControlServer(organism.control, tokens, listener, Options(groups=(group,)))
            async with anyio.create_task_group() as tasks:
                async with organism:
                    tasks.start_soon(server.serve)
                    url = url_of(listener)
                    async with (
                        openai_sdk(f"{url}/v1") as client,
                        plain_client(url, KEY) as http,
                        plain_client(url, TOKEN) as operator,
                    ):
                        yield Served(organism, provider, client, http, operator)
                server.stop()


@pytest.fixture
def served() -> Serve:
    return serve
