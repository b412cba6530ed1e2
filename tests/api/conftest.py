"""A served organism for the tests of the API."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import httpx2
import pytest

from organism import Context, Organism, Text, agent
from organism.api.application import Options
from organism.api.mounts import Mount
from organism.api.routes.metrics import metrics_group
from organism.api.routes.pages import DASHBOARD
from organism.api.server import ControlServer, bind, url_of
from organism.api.tokens.token_book import TokenBook
from organism.gateway.request_handler import Gateway
from organism.gateway.routes import gateway_group
from organism.gateway.settings import Settings
from organism.telemetry.metrics.prometheus import PrometheusExporter
from organism.testing import ScriptedProvider

TOKEN = "the-first-token-of-the-tests-of-the-api"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of loopback's plain HTTP: a context that each would make for itself reads 50 ms of certificates."""

Served = Callable[..., AbstractAsyncContextManager[tuple[Organism, httpx2.AsyncClient]]]


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Answer with one call; wait or fail first if told to."""
    if message.text == "wait":
        await anyio.sleep_forever()
    if message.text == "fail":
        raise ValueError("no good")
    answer = await ctx.llm.complete(message.text, max_output_tokens=16)
    return Text(answer.text)


def make(**options: object) -> Organism:
    """Make an organism with one agent over a scripted model."""
    return Organism(
        [writer],
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["one two three"])},
        provider_kinds={"scripted": "local"},
        **options,  # type: ignore[arg-type]
    )


@asynccontextmanager
async def serve(
    organism: Organism | None = None, groups: tuple[Mount, ...] = (), **options: object
) -> AsyncIterator[tuple[Organism, httpx2.AsyncClient]]:
    """Serve an organism on a free port as the daemon does, and hand out a client with the first token."""
    organism = organism or make(**options)
    tokens = TokenBook(organism.clock.now_ns)
    tokens.know("owner", TOKEN, ("admin",))
    with bind("127.0.0.1", 0) as listener:
        gateway = gateway_group(Gateway(organism.control, Settings(models=("main",))), tokens)
        groups = (DASHBOARD, metrics_group(PrometheusExporter(organism).render), gateway, *groups)
        api = Options(hosts=("organism.example",), groups=groups, failures_per_minute=100_000)
        server = ControlServer(organism.control, tokens, listener, api)
        async with anyio.create_task_group() as tasks:
            async with organism:
                tasks.start_soon(server.serve)
                headers = {"authorization": f"Bearer {TOKEN}"}
                async with httpx2.AsyncClient(
                    base_url=url_of(listener), headers=headers, timeout=60, verify=NO_TLS
                ) as client:
                    yield organism, client
            server.stop()


@pytest.fixture
def organism() -> Organism:
    return make()


@pytest.fixture
def served() -> Served:
    return serve
