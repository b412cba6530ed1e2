"""Texts are embedded under the rules of every other call: held, charged by usage, remembered, and never for nothing."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from organism import BudgetPlan, Context, Limits, Organism, Text, agent
from organism.amounts import Amounts, TokenUsage
from organism.budget.holds import Spender
from organism.errors import (
    BudgetExhaustedError,
    ProviderError,
    RejectedError,
    UnpricedError,
    UnsupportedError,
)
from organism.llm.embeddings import EmbeddingRequest, Embeddings, pack
from organism.pricing.rates import flat_rates
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider
from organism.providers.scripted import scripted_vector
from organism.router.call import Call, RouterSettings
from organism.router.planning.plan import ModelPlan, Route
from organism.stores.memory import MemoryJournal
from organism.testing import (
    CrashingJournal,
    HTTPStep,
    ScriptedAnswer,
    ScriptedHTTPProvider,
    ScriptedProvider,
    SequentialIds,
    run,
)
from organism.usage.events import LLMFailover, LLMRetry, UsageEvent

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""

TEXTS = ("the sea", "the sky above the sea")


def embedding(*inputs: str | tuple[int, ...], index: int = 0, message: str = "") -> Call:
    """Make a call that has inputs embedded."""
    request = EmbeddingRequest(model="", inputs=inputs)
    spender = Spender("t", "writer", "main")
    return Call(spender=spender, root_thread_id="t", request=request, message_id=message, index=index)


def test_texts_are_held_and_then_charged_at_their_usage(make_router: MakeRouter) -> None:
    """Before the call the input is held and no output; after it the provider's own count is all that is charged."""

    async def main() -> None:
        held: list[int] = []

        def script(_request: object) -> str:
            held.append(it.registry.budget("t").held.tokens)
            return "any"

        provider = ScriptedProvider(script, name="p")
        async with make_router(provider) as it:
            answer = await it.router.embed(embedding(*TEXTS))

            (event,) = it.of(UsageEvent)
            assert answer.packed == tuple(pack(scripted_vector(text)) for text in TEXTS)
            assert held[0] >= provider.billed.total
            assert (event.usage, event.operation) == (provider.billed, "embeddings")
            assert it.registry.budget("t").spent.tokens == provider.billed.total == 7
            assert it.registry.budget("t").held.tokens == 0

    run(main)


def test_tokens_are_held_as_counted(make_router: MakeRouter) -> None:
    """Where a program sends tokens of its own there is nothing to estimate."""

    async def main() -> None:
        provider = ScriptedProvider(name="p")
        async with make_router(provider, limits=Limits(tokens=140)) as it:
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await it.router.embed(embedding(tuple(range(200))))
            await it.router.embed(embedding(tuple(range(90))))

            assert it.registry.budget("t").spent.tokens == 90

    run(main)


def test_exhausted_budget_stops_texts_from_leaving(make_router: MakeRouter) -> None:
    """What does not fit is refused before anything is sent."""

    async def main() -> None:
        provider = ScriptedProvider(name="p")
        async with make_router(provider, limits=Limits(tokens=60)) as it:
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await it.router.embed(embedding("word " * 100))

            assert (provider.embedded, provider.bill) == ([], [])

    run(main)


def test_provider_without_embeddings_is_not_asked(make_router: MakeRouter) -> None:
    """Anthropic has none: the call is refused before anything is held, with what to do about it."""

    async def main() -> None:
        adapter = AnthropicProvider("p", "k", "http://127.0.0.1:1")
        async with make_router(adapter) as it:
            with pytest.raises(UnsupportedError, match="embeddings"):
                await it.router.embed(embedding(*TEXTS))

            assert it.of(UsageEvent) == []
            assert it.registry.budget("t").spent.calls == 0

    run(main)


def test_call_goes_to_a_provider_that_embeds(make_router: MakeRouter) -> None:
    """Of a model's routes those that serve no embeddings are passed over, and that is told."""

    async def main() -> None:
        able = ScriptedProvider(name="able")
        async with make_router(AnthropicProvider("unable", "k", "http://127.0.0.1:1"), able) as it:
            await it.router.embed(embedding(*TEXTS))

            (change,) = it.of(LLMFailover)
            assert (change.from_provider, change.to_provider) == ("unable", "able")
            assert "serves no embeddings" in change.reason

    run(main)


def test_price_of_input_alone_pays_for_texts_and_for_nothing_else(make_router: MakeRouter) -> None:
    """A model that has no price for output embeds under a limit in USD, but answers no prompt there."""

    async def main() -> None:
        rates = replace(flat_rates(input=20_000_000, output=0, source="test"), input_only=True)
        limits = Limits(cost_nanousd=1_000_000)
        async with make_router(ScriptedProvider(name="p"), limits=limits, prices={"p": rates}) as it:
            await it.router.embed(embedding("one two three"))
            with pytest.raises(UnpricedError, match="no price is known"):
                await it.ask()

            (event,) = it.of(UsageEvent)
            assert event.cost_nanousd == 60

    run(main)


def test_paid_vectors_are_remembered(make_router: MakeRouter) -> None:
    """The same texts at the same place of a handler are paid once; other texts there are paid anew."""

    async def main() -> None:
        provider = ScriptedProvider(name="p")
        async with make_router(provider) as it:
            first = await it.router.embed(embedding("a", message="m"))
            again = await it.router.embed(embedding("a", message="m"))
            await it.router.embed(embedding("b", message="m"))

            assert again == first
            assert len(provider.bill) == 2

    run(main)


def test_rejection_is_tried_again_and_costs_nothing(make_router: MakeRouter) -> None:
    """Retries, back-off and their events are those of every call."""

    async def main() -> None:
        busy = ScriptedAnswer(error=RejectedError("p", "busy", status=429, again=True))
        provider = ScriptedProvider([busy, "ok"], name="p")
        async with make_router(provider) as it:
            await it.router.embed(embedding("a b"))

            assert len(it.of(LLMRetry)) == 1
            assert it.registry.budget("t").spent == Amounts(2, 2, 1)

    run(main)


FAULTS = [
    HTTPStep(),
    HTTPStep(status=400),
    HTTPStep(status=500, billed=False),
    HTTPStep(status=502, body=""),
    HTTPStep(fault="reset"),
    HTTPStep(fault="cut"),
    HTTPStep(fault="hang"),
    HTTPStep(body="<html>what</html>"),
    HTTPStep(body='{"data": []}'),
    HTTPStep(body='{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1]}]}'),
    HTTPStep(body='{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}'),
    HTTPStep(body='{"data": [{"index": 0, "embedding": "AAA="}, {"index": 1, "embedding": "AAAAAA=="}]}'),
    HTTPStep(usage=""),
    HTTPStep(usage="null"),
    HTTPStep(usage='{"prompt_tokens": 0, "total_tokens": 0}'),
    HTTPStep(usage='{"prompt_tokens": -1, "total_tokens": 7}'),
    HTTPStep(usage='{"prompt_tokens": 1e400}'),
    HTTPStep(usage='{"prompt_tokens": "7"}'),
]


@pytest.mark.parametrize("step", FAULTS, ids=lambda s: f"{s.status}-{s.fault}-{s.usage}-{s.body}"[:40])
def test_recorded_is_at_least_billed(make_router: MakeRouter, step: HTTPStep) -> None:
    """No failure of a provider makes vectors free that it charges for; over real HTTP with the official SDK."""

    async def main() -> None:
        async with ScriptedHTTPProvider([step]) as server:
            adapter = OpenAIProvider("p", "k", f"{server.url}/v1")
            async with make_router(adapter, settings=RouterSettings(timeout_s=3, attempts=1)) as it:
                with suppress(ProviderError):
                    await it.router.embed(embedding(*TEXTS))
                spent = it.registry.budget("t").spent
                (event,) = it.of(UsageEvent)
            await adapter.aclose()
        assert spent.tokens >= server.billed.total
        assert (event.outcome == "released") is (not server.bill)
        assert it.registry.budget("t").held.tokens == 0

    run(main)


@agent()
async def reader(message: Text, ctx: Context) -> Text:
    """Embed, and then fail for want of budget."""
    first = await ctx.llm.embed(TEXTS, model="vectors", dimensions=3)
    answer = await ctx.llm.complete("go on " * 50, model="words", max_output_tokens=16)
    return Text(f"{len(first.vectors)} of {len(first.vectors[0])}: {answer.text}")


def test_handler_that_waits_for_budget_does_not_embed_again() -> None:
    """Vectors that are paid for outlive the wait for a higher limit and the end of the process."""

    async def main() -> None:
        kept, ids, provider = MemoryJournal(), SequentialIds(), ScriptedProvider(["fine"], name="p")

        def made() -> Organism:
            return Organism(
                [reader],
                models={
                    "vectors": ModelPlan(name="vectors", routes=(Route("p", "v"),)),
                    "words": ModelPlan(name="words", routes=(Route("p", "w"),)),
                },
                providers={"p": provider},
                provider_kinds={"p": "local"},
                limits=BudgetPlan(thread=Limits(tokens=100)),
                journal=CrashingJournal(kept),
                ids=ids,
            )

        async with made() as organism:
            thread = await organism.open_thread("go")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await organism.wait(thread)
        async with made() as organism:
            await organism.set_limits(thread, Limits(tokens=10_000))
            result = await organism.wait(thread)

        assert result.outputs == (Text("2 of 3: fine"),)
        assert [line.usage for line in provider.bill if line.model == "v"] == [TokenUsage(input=7)]

    run(main)


def test_vectors_are_numbers() -> None:
    """What is kept packed is read as numbers."""
    answer = Embeddings(packed=(pack([0.5, -1.0]), pack([2.0])), model="m", usage=None)

    assert answer.vectors == ((0.5, -1.0), (2.0,))
    with pytest.raises(ValueError, match="too large"):
        pack([1e39])
