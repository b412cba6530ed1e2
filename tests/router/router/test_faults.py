"""What providers do to us over HTTP, against a real server that keeps its own bill: recorded is at least billed.

The official SDKs and real sockets, in virtual time: a pause of thirty seconds takes none.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest

from organism.errors import ProviderError, RejectedError, UncertainError
from organism.llm.provider import Provider
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings, Timeouts
from organism.testing import HTTPStep, ScriptedHTTPProvider, run
from organism.usage.events import LLMRetry, UsageEvent

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""

Record = Callable[[str, object], None]
"""Of pytest: notes a figure, which ``python -m tests.faults`` compares with its pass line."""

KINDS = ["openai", "anthropic"]


@asynccontextmanager
async def served(make_router: MakeRouter, kind: str, script: Any, **settings: Any) -> AsyncIterator[tuple[Any, Any]]:
    """Open a router over one server that follows a script."""
    async with ScriptedHTTPProvider(script) as server:
        adapter: Provider = (
            OpenAIProvider("p", "k", f"{server.url}/v1")
            if kind == "openai"
            else AnthropicProvider("p", "k", server.url)
        )
        async with make_router(adapter, settings=RouterSettings(**settings)) as it:
            yield it, server
        await adapter.aclose()


def over_http(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Turn an async test into one that runs in virtual time, once for each adapter."""

    @pytest.mark.parametrize("kind", KINDS)
    def runner(make_router: MakeRouter, kind: str, record_property: Record) -> None:
        run(test, make_router, kind, record_property)

    runner.__doc__ = test.__doc__
    return runner


IN_AN_HOUR = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize("retry_after", [None, "0", "1e9", "-1", pytest.param(IN_AN_HOUR, id="in an hour"), "NaN"])
@pytest.mark.parametrize("kind", KINDS)
def test_too_many_requests_are_waited_for_within_bounds(
    make_router: MakeRouter, kind: str, retry_after: str | None, record_property: Record
) -> None:
    """Whatever Retry-After says: at most three attempts, no wait above 30 s and none in vain, nothing spent."""

    async def main() -> None:
        step = HTTPStep(status=429, headers={} if retry_after is None else {"retry-after": retry_after})
        async with served(make_router, kind, [step]) as (it, server):
            with pytest.raises(RejectedError, match="answered 429: as scripted"):
                await it.ask()

            record_property("attempts", len(server.requests))
            record_property("longest wait in s", max((e.delay_s for e in it.of(LLMRetry)), default=0))
            record_property("tokens spent", it.registry.budget("t").spent.tokens)
            assert len(server.requests) == (1 if retry_after in ("1e9", IN_AN_HOUR) else 3)
            assert all(event.delay_s <= 30 for event in it.of(LLMRetry))
            assert anyio.current_time() <= 61
            assert it.registry.budget("t").spent.tokens == 0
            assert it.registry.budget("t").held.tokens == 0

    run(main)


@over_http
async def test_mixture_of_server_errors_is_never_recorded_below_the_bill(
    make_router: MakeRouter, kind: str, record_property: Record
) -> None:
    """With a third of the calls failing, some of them billed, the ledger has at least what the provider charges."""
    chance = random.Random(9)

    def script(_request: object) -> HTTPStep:
        if chance.random() > 0.3:
            return HTTPStep(text="one two three")
        status = chance.choice([500, 502, 503, 504, 529])
        return HTTPStep(status=status, billed=status in {502, 504} and chance.random() < 0.7)

    async with served(make_router, kind, script) as (it, server):
        failed, least = 0, 10**9
        for _ in range(60):
            billed, spent = server.billed.total, it.registry.budget("t").spent.tokens
            try:
                await it.ask()
            except ProviderError:
                failed += 1
            recorded = it.registry.budget("t").spent.tokens - spent
            least = min(least, recorded - (server.billed.total - billed))
            assert recorded >= server.billed.total - billed, "call by call, not only in sum"
        record_property("least recorded above billed", least)
        most = max(event.usage.total for event in it.of(UsageEvent))
        assert it.registry.budget("t").spent.tokens - server.billed.total <= failed * most
        assert failed > 5


@over_http
async def test_answer_after_our_deadline_is_charged_and_not_asked_for_again(
    make_router: MakeRouter, kind: str, record_property: Record
) -> None:
    """A timeout after sending is one attempt at its full hold: the provider answers and bills, only too late."""
    late = [HTTPStep(text="one two three", delay_s=60)]
    async with served(make_router, kind, late, timeout_s=5) as (it, server):
        with pytest.raises(UncertainError, match="no answer within 5 s"):
            await it.ask()

        record_property("attempts", len(server.requests))
        record_property("least recorded above billed", it.registry.budget("t").spent.tokens - server.billed.total)
        assert len(server.requests) == 1
        (event,) = it.of(UsageEvent)
        assert event.outcome == "worst_case"
        assert it.registry.budget("t").spent.tokens >= server.billed.total > 0


@pytest.mark.parametrize("fault", ["hang", "cut", "reset"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_half_open_stream_is_given_up_when_it_is_silent(
    make_router: MakeRouter, kind: str, after: int, fault: str, record_property: Record
) -> None:
    """Bytes and then silence, an end without the last event, a reset: given up in time, and charged."""

    async def main() -> None:
        treatment = {"p": ProviderSettings(timeouts=Timeouts(first_token_s=9, between_tokens_s=4))}
        step = HTTPStep(text="one two three four", fault=fault, fault_after=after)  # type: ignore[arg-type]
        async with served(make_router, kind, [step], providers=treatment) as (it, server):
            with pytest.raises(
                UncertainError,
                match=r"no sign of|ConnectionLost|without content|silent for 4 s|broke off",
            ):
                await it.ask(on_text=lambda piece: None)

            record_property("given up after s", anyio.current_time())
            record_property("least recorded above billed", it.registry.budget("t").spent.tokens - server.billed.total)
            assert anyio.current_time() <= 9 + 1
            assert len(server.requests) == 1
            assert it.registry.budget("t").spent.tokens >= server.billed.total > 0
            assert it.registry.budget("t").held.tokens == 0

    run(main)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
def test_dripping_provider_does_not_outlive_the_deadline(
    make_router: MakeRouter, kind: str, streamed: bool, record_property: Record
) -> None:
    """One byte every three seconds keeps a connection alive, but not a call: single bytes are no signs of life."""

    async def main() -> None:
        treatment = {"p": ProviderSettings(timeouts=Timeouts(first_token_s=20, between_tokens_s=4, call_s=60))}
        step = HTTPStep(text="one two three", drip_s=3)
        async with served(make_router, kind, [step], providers=treatment) as (it, server):
            with pytest.raises(UncertainError, match=r"no answer within 60 s|no sign of an answer within 20 s"):
                await it.ask(on_text=(lambda piece: None) if streamed else None)

            record_property("beyond its time in s", anyio.current_time() - (20 if streamed else 60))
            assert anyio.current_time() <= (20 if streamed else 60) + 1
            assert it.registry.budget("t").spent.tokens >= server.billed.total > 0

    run(main)


@over_http
async def test_refused_connection_is_tried_again_and_costs_nothing(
    make_router: MakeRouter, kind: str, record_property: Record
) -> None:
    """Where nobody listens nothing is sent: three attempts, nothing charged."""
    async with served(make_router, kind, ["ok"]) as (it, server):
        await it.ask()
        spent = it.registry.budget("t").spent.tokens
        await server.stop_listening()
        with pytest.raises(RejectedError, match="cannot connect"):
            await it.ask()

        record_property("attempts", 1 + len(it.of(LLMRetry)))
        assert len(it.of(LLMRetry)) == 2
        assert it.registry.budget("t").spent.tokens == spent
