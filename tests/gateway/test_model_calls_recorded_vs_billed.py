"""Through the gateway too: whatever the provider does to a call, its thread is charged at least what it bills."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import anthropic
import openai
import pytest

from organism.router.call import RouterSettings
from organism.router.limits.circuit import CircuitSettings
from organism.router.limits.provider_settings import ProviderSettings, Timeouts
from organism.testing import HTTPStep
from tests.gateway.conftest import anthropic_sdk
from tests.router.router.test_recorded_vs_billed import FAULTS

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
Ask = Callable[[Any, anthropic.AsyncAnthropic], Any]
HI: list[Any] = [{"role": "user", "content": "tell me of the sea"}]


async def message(_gateway: Any, client: anthropic.AsyncAnthropic) -> None:
    await client.messages.create(model="main", max_tokens=10, messages=HI)


async def streamed_message(_gateway: Any, client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(model="main", max_tokens=10, messages=HI) as stream:
        await stream.until_done()


async def vectors(gateway: Any, _client: anthropic.AsyncAnthropic) -> None:
    await gateway.client.with_options(max_retries=0).embeddings.create(model="main", input="tell me of the sea")


@pytest.mark.parametrize("ask", [message, streamed_message, vectors])
async def test_recorded_is_at_least_billed_call_by_call(served: Serve, ask: Ask) -> None:
    """Each of the faults in turn, by the official SDKs: no call is free that is billed, and nothing stays held."""
    steps = [*FAULTS, HTTPStep(text="and it goes on")]
    circuit = CircuitSettings(failures=1000)
    never_rests = {"double": ProviderSettings(circuit=circuit, timeouts=Timeouts(call_s=0.3))}
    settings = RouterSettings(timeout_s=0.3, attempts=1, providers=never_rests)
    async with served(steps, router=settings) as gateway:
        url = str(gateway.http.base_url).rstrip("/")
        async with anthropic_sdk(url, max_retries=0) as client:
            spent = billed = 0
            for step in steps:
                with suppress(anthropic.APIError, openai.APIError):
                    await ask(gateway, client)
                thread = gateway.organism.thread_budgets("key-ci")[0]
                assert thread.held.tokens == 0, step
                assert thread.spent.tokens - spent >= gateway.provider.billed.total - billed, step
                spent, billed = thread.spent.tokens, gateway.provider.billed.total

    assert len(gateway.provider.requests) == len(steps), "each was one call, and the last was served as the first"
