"""What cannot be sent is refused before anything is held for it; what can is sent as it is."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import anyio
import pytest

from organism import Limits, Organism, Text, agent
from organism.agents.context import Context
from organism.budget.holds import Spender
from organism.errors import ConfigError
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.requests import ChatMessage, CompletionRequest, Reasoning, ResponseFormat, Tool, ToolCall, ToolResult
from organism.messages import as_text
from organism.pricing.rates import flat_rates
from organism.router.call import Call, RouterSettings
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.usage.events import UsageEvent

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""


def request(**fields: Any) -> Any:
    whole = {"model": "", "messages": (ChatMessage("user", "hello"),), "max_output_tokens": 20}
    return CompletionRequest(**(whole | fields))


def deep(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"x": value}
    return value


REFUSED: dict[str, Any] = {
    "output 2^31": request(max_output_tokens=2**31),
    "output 2^62": request(max_output_tokens=2**62),
    "output 2^63": request(max_output_tokens=2**63),
    "output 2^70": request(max_output_tokens=2**70),
    "output of thousands of digits": request(max_output_tokens=10**5000),
    "output negative": request(max_output_tokens=-1),
    "output zero": request(max_output_tokens=0),
    "output a float": request(max_output_tokens=20.0),
    "output a bool": request(max_output_tokens=True),
    "output NaN": request(max_output_tokens=float("nan")),
    "output a text": request(max_output_tokens="20"),
    "output None": request(max_output_tokens=None),
    "temperature NaN": request(temperature=float("nan")),
    "temperature infinite": request(temperature=float("inf")),
    "temperature a fraction": request(temperature=Fraction(1, 2)),
    "temperature a Decimal": request(temperature=Decimal("0.5")),
    "temperature beyond floats": request(temperature=10**400),
    "temperature a bool": request(temperature=True),
    "temperature a text": request(temperature="0.5"),
    "top_p NaN": request(top_p=float("nan")),
    "seed 2^64": request(seed=2**64),
    "seed -2^63 - 1": request(seed=-(2**63) - 1),
    "seed a float": request(seed=1.5),
    "seed a bool": request(seed=False),
    "stop with a number": request(stop=(1,)),
    "stop with bytes": request(stop=(b"x",)),
    "stop None": request(stop=None),
    "thinking negative": request(reasoning_tokens=-1),
    "thinking 2^63": request(reasoning_tokens=2**63),
    "effort unknown": request(reasoning_effort="much"),
    "messages None": request(messages=None),
    "messages of text": request(messages=("hello",)),
    "text of bytes": request(messages=(ChatMessage("user", b"hello"),)),  # type: ignore[arg-type]
    "text a date": request(messages=(ChatMessage("user", datetime(2026, 1, 1, tzinfo=UTC)),)),  # type: ignore[arg-type]
    "role unknown": request(messages=(ChatMessage("me", "hello"),)),  # type: ignore[arg-type]
    "parts of junk": request(messages=(ChatMessage("user", (object(),)),)),  # type: ignore[arg-type]
    "tools a set": request(tools={1, 2}),
    "unhashable tools": request(tools=[{}]),
    "schema with an object": request(tools=(Tool("t", "", {"x": object()}),)),
    "schema without end": request(tools=(Tool("t", "", deep(100_000)),)),
    "form with a function": request(response_format=ResponseFormat(schema={"x": print})),
    "a call of the user's": request(messages=(ChatMessage("user", (ToolCall("c", "f", "{}"),)),)),
    "a thought of the user's": request(messages=(ChatMessage("user", (Reasoning("hm", "s"),)),)),
    "an instruction with a call": request(messages=(ChatMessage("system", (ToolCall("c", "f", "{}"),)),)),
    "a result of the model's": request(messages=(ChatMessage("assistant", (ToolResult("c", "done"),)),)),
    "another kind": Text("hello"),
    "dimensions 2^63": EmbeddingRequest(model="", inputs=("x",), dimensions=2**63),
    "dimensions zero": EmbeddingRequest(model="", inputs=("x",), dimensions=0),
    "inputs of junk": EmbeddingRequest(model="", inputs=(object(),)),  # type: ignore[arg-type]
    "inputs of floats": EmbeddingRequest(model="", inputs=((1.5,),)),  # type: ignore[arg-type]
}


async def send(router: Any, asked: Any, **fields: Any) -> Any:
    spender = Spender("t", "writer", "main")
    call = Call(spender=spender, root_thread_id="t", request=asked, message_id="m", **fields)
    return await (router.embed(call) if isinstance(asked, EmbeddingRequest) else router.complete(call))


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("mode", ["enforce", "audit", "off"])
def test_request_that_cannot_be_sent_is_refused_and_costs_nothing(
    make_router: MakeRouter, what: str, mode: str
) -> None:
    """A field that no provider takes is an error that says so, in every mode: nothing leaves, is held or charged."""

    async def main() -> None:
        provider = ScriptedProvider(name="p")
        async with make_router(provider, mode=mode, limits=Limits(cost_nanousd=10**12)) as it:
            with pytest.raises(ConfigError, match=r"^request|takes a request of type"):
                await send(it.router, REFUSED[what])
            assert provider.requests == provider.embedded == []
            assert it.of(UsageEvent) == []
            assert it.registry.budget("t").held.tokens == it.registry.budget("t").spent.tokens == 0
            await it.ask()

    run(main)


@pytest.mark.parametrize(
    ("asked", "made"),
    [(EmbeddingRequest(model="", inputs=("x",)), "complete"), (request(), "embed"), (None, "complete")],
)
def test_request_of_the_other_kind_is_refused_and_costs_nothing(make_router: MakeRouter, asked: Any, made: str) -> None:
    """Texts to embed are no conversation: who mixes them up is told before anything is paid."""

    async def main() -> None:
        provider = ScriptedProvider(name="p")
        async with make_router(provider) as it:
            call = Call(spender=Spender("t", "writer", "main"), root_thread_id="t", request=asked)
            with pytest.raises(ConfigError, match="type"):
                await getattr(it.router, made)(call)
            assert it.of(UsageEvent) == []

    run(main)


LONE = "file \udcff"

REPLACED: dict[str, Any] = {
    "a turn": request(messages=(ChatMessage("user", LONE),)),
    "a part": request(
        messages=(
            ChatMessage("assistant", (ToolCall("c", LONE, LONE),)),
            ChatMessage("user", (ToolResult("c", LONE),)),
        )
    ),
    "a stop": request(stop=(LONE,)),
    "a tool": request(tools=(Tool("t", LONE, {LONE: [LONE]}),)),
    "a form": request(response_format=ResponseFormat(schema={"x": LONE}, name=LONE)),
    "a text to embed": EmbeddingRequest(model="", inputs=(LONE,)),
}


@pytest.mark.parametrize("what", REPLACED)
def test_text_that_no_encoding_takes_is_sent_with_a_question_mark(make_router: MakeRouter, what: str) -> None:
    """A lone surrogate, as names of files may have, reaches the provider as ``?``, and is charged as what was sent."""

    async def main() -> None:
        provider = ScriptedProvider(name="p")
        async with make_router(provider) as it:
            await send(it.router, REPLACED[what])
            sent = [*cast("Any", provider.requests), *provider.embedded][0]
            assert "\udcff" not in repr(sent)
            assert "file ?" in repr(sent)
            (event,) = it.of(UsageEvent)
            assert event.outcome == "settled"

    run(main)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_output_tokens": 2**31 - 1},
        {"seed": 2**64 - 1},
        {"seed": -(2**63)},
        {"temperature": 1},
        {"temperature": 1e308},
        {"top_p": 0},
    ],
)
def test_numbers_at_their_bounds_are_sent(make_router: MakeRouter, fields: dict[str, Any]) -> None:
    """What is merely large is the provider's to judge, and no sum of it leaves 64 bits."""

    async def main() -> None:
        provider = ScriptedProvider(name="p")
        async with make_router(provider, mode="audit") as it:
            await send(it.router, request(**fields))
            assert len(provider.requests) == 1

    run(main)


def test_hold_dearer_than_any_call_is_refused_before_it_leaves(make_router: MakeRouter) -> None:
    """Where price times tokens would not fit the ledger nothing is sent, and the organism goes on."""

    async def main() -> None:
        provider = ScriptedProvider(name="p")
        dear = flat_rates(input=2**62, output=2**62, source="test")
        async with make_router(provider, mode="audit", prices={"p": dear}) as it:
            with pytest.raises(ConfigError, match="could cost more"):
                await send(it.router, request(max_output_tokens=2**31 - 1))
            assert provider.requests == []
            assert it.registry.budget("t").held.tokens == 0
            it.prices.by_model["m"] = flat_rates(input=1, output=1, source="test")
            await it.ask()

    run(main)


def listeners() -> dict[str, tuple[Any, type[BaseException]]]:
    async def later(_piece: str) -> None:
        """Never run."""

    def failing(error: BaseException) -> Any:
        def listener(_piece: str) -> None:
            raise error

        return listener

    return {
        "raises": (failing(ValueError("stop")), ValueError),
        "SystemExit": (failing(SystemExit(1)), RuntimeError),
        "cancels": (failing(anyio.get_cancelled_exc_class()()), RuntimeError),
        "async": (later, TypeError),
        "a number": (3, ConfigError),
        "a text": ("print", ConfigError),
    }


@pytest.mark.parametrize("what", ["raises", "SystemExit", "cancels", "async", "a number", "a text"])
def test_failure_of_on_text_is_its_callers_and_not_the_providers(what: str) -> None:
    """What ``on_text`` raises comes out of the call; the attempt is charged what it really cost, and calls go on."""

    async def main() -> None:
        listener, error = listeners()[what]

        @agent()
        async def caller(message: Text, ctx: Context) -> Text:
            with pytest.raises(error, match=r"stop|on_text failed|nobody awaits it|must be a function"):
                await ctx.llm.complete("hello", max_output_tokens=20, on_text=listener)
            return Text((await ctx.llm.complete("hello", max_output_tokens=20)).text)

        provider = ScriptedProvider([ScriptedAnswer(text="one two three", latency_s=3)], name="p")
        organism = Organism([caller], models={"m": "p/m"}, providers={"p": provider}, clock=VirtualClock())
        events: list[Any] = []
        organism.usage.subscribe(events.append, UsageEvent)
        async with organism:
            result = await organism.run("go")
            await anyio.sleep(10)
        assert as_text(result.outputs[-1]) == "one two three"
        assert [event.outcome for event in events] == ["settled"] * len(provider.bill)
        assert result.budget.spent.tokens == provider.billed.total

    run(main)


def test_call_that_was_asked_for_earlier_has_less_time_left(make_router: MakeRouter) -> None:
    """A deadline counts from when a call is asked for, as the gateway's second try of one call needs."""

    async def main() -> None:
        provider = ScriptedProvider(name="p", latency_s=500)
        async with make_router(provider, settings=RouterSettings(deadline_s=60, timeout_s=600)) as it:
            await anyio.sleep(100)
            with pytest.raises(Exception, match="no answer"):
                await send(it.router, request(), asked_s=80.0)
            assert anyio.current_time() == pytest.approx(140)

    run(main)
