"""What a call holds beyond its text, and what it is charged when the provider names a price or hides its thinking."""

import msgspec
import pytest

from organism import Organism, Text, agent
from organism.agents.context import Context
from organism.amounts import ZERO, Limits, TokenUsage
from organism.budget.holds import Spender
from organism.errors import ConfigError, UnboundedError
from organism.formats.media.attachments import AttachmentBounds
from organism.llm.requests import ChatMessage, CompletionRequest, FilePart, ImagePart, Tool, ToolCall
from organism.providers.openai import OpenAIProvider
from organism.router.call import Call
from organism.router.planning.plan import ModelPlan, Route
from organism.testing import ScriptedAnswer, ScriptedProvider, run
from organism.usage.events import UsageEvent
from tests.router.conftest import MakeRouter

IMAGE = ImagePart("image/png", b"\x89PNG")
PDF = FilePart("application/pdf", b"%PDF-1.7")


def with_parts(*parts: ImagePart | FilePart, model: str = "gpt-5") -> CompletionRequest:
    return CompletionRequest(model=model, messages=(ChatMessage("user", parts),), max_output_tokens=10)


class Made(msgspec.Struct):
    """One call: what it held, what it was charged, and what the provider bills."""

    held: int
    event: UsageEvent
    billed: TokenUsage


def call(answer: ScriptedAnswer, request: CompletionRequest) -> Made:
    """Make one call."""

    @agent()
    async def caller(message: Text, ctx: Context) -> None:
        await ctx.llm.send(None, request)

    async def main() -> Made:
        held: list[int] = []
        events: list[UsageEvent] = []

        def script(_request: CompletionRequest) -> ScriptedAnswer:
            (thread,) = organism.threads()
            held.append(organism.thread_budgets(thread.thread_id)[0].held.tokens)
            return answer

        provider = ScriptedProvider(script)
        organism = Organism([caller], models={"m": "p/m"}, providers={"p": provider})
        organism.usage.subscribe(events.append, UsageEvent)  # type: ignore[arg-type]
        async with organism:
            await organism.run("go")
        return Made(held[0], events[0], provider.billed)

    return run(main)


def test_images_are_held_at_the_published_bound() -> None:
    """An image takes its bound from the budget before the call, and what it really was after it."""
    made = call(ScriptedAnswer(text="fine"), with_parts(IMAGE, IMAGE))

    assert made.held >= 100 + 10
    assert made.event.usage == made.billed == TokenUsage(input=100, output=1)


def test_images_without_a_bound_are_refused() -> None:
    """Where nothing is published no hold is large enough, so nothing is sent, and the error says what to set."""
    unknown = OpenAIProvider("p", "k", "http://127.0.0.1:1/v1")

    with pytest.raises(UnboundedError, match="image_tokens"):
        unknown.extra_tokens(with_parts(IMAGE))
    with pytest.raises(UnboundedError, match=r"application/pdf.*file_tokens"):
        unknown.extra_tokens(with_parts(PDF))


def test_users_bound_goes_before_the_published_one() -> None:
    """Who knows what an image costs may say so; text files need no bound, since every byte of them is counted."""
    bounds = AttachmentBounds(image_tokens=300, file_tokens=9000)
    vouched = OpenAIProvider("p", "k", bounds=bounds)
    published = OpenAIProvider("p", "k")

    assert vouched.extra_tokens(with_parts(IMAGE, PDF)) == 9300
    assert published.extra_tokens(with_parts(IMAGE)) == 3_779
    assert published.extra_tokens(with_parts(FilePart("text/plain", b"x" * 1000))) >= 1000


def test_input_is_bounded_without_a_call() -> None:
    """How large a request is taken to be can be asked beforehand: on the route where it is most, at no cost."""

    @agent()
    async def nobody(message: Text, ctx: Context) -> None:
        pass

    async def main() -> None:
        knows, does_not = ScriptedProvider(name="knows"), OpenAIProvider("does not", "k", "http://127.0.0.1:1/v1")
        organism = Organism(
            [nobody],
            models={
                "m": ModelPlan(name="m", routes=(Route("does not", "m"), Route("knows", "m"))),
                "unbounded": ModelPlan(name="unbounded", routes=(Route("does not", "m"),)),
            },
            providers={"knows": knows, "does not": does_not},
        )
        async with organism:
            plain, pictured = with_parts(), with_parts(IMAGE)
            bound = organism.router.input_count
            assert await bound("m", pictured) - await bound("m", plain) >= 50
            with pytest.raises(UnboundedError, match="nothing is published that bounds"):
                await bound("unbounded", pictured)
            with pytest.raises(ConfigError, match=r"nobody's.; there are: m, unbounded"):
                await bound("nobody's", plain)
        assert (knows.requests, organism.usage.total.calls) == ([], 0)

    run(main)


def test_tools_and_calls_are_counted() -> None:
    """What tools and earlier calls add to the input is held like any text."""
    plain = CompletionRequest(model="m", messages=(ChatMessage("user", "hello"),), max_output_tokens=10)
    long = "a description that goes on and on " * 20
    tool = Tool("t", long, {"type": "object", "properties": {}})
    laden = CompletionRequest(
        model="m",
        messages=(ChatMessage("user", "hello"), ChatMessage("assistant", (ToolCall("c", "t", long),))),
        max_output_tokens=10,
        tools=(tool,),
    )

    ok = ScriptedAnswer(text="ok")

    made = call(ok, laden)

    assert made.held - call(ok, plain).held > 2 * len(long) // 4
    assert made.held >= made.event.usage.total


def test_cost_reported_by_the_provider_is_what_is_charged() -> None:
    """A provider that says what a call has cost knows it better than a price list, and the entry says who said it."""
    event = call(ScriptedAnswer(text="ok", cost_nanousd=123), with_parts()).event

    assert (event.cost_nanousd, event.price_source) == (123, "provider")


@pytest.mark.parametrize(
    ("model", "effort", "reasoning", "whole"),
    [
        ("m", "high", "", True),
        ("m", "none", "a b c d e f", True),
        ("m", None, "a b c d e f", True),
        ("vendor/o3-mini", None, "", True),
        ("gpt-5", None, "", True),
        ("deepseek-reasoner", None, "", True),
        ("gemini-2.5-flash", None, "", True),
        ("qwen3:8b", None, "", True),
        ("gpt-4o", None, "", False),
        ("m", "none", "", False),
    ],
)
def test_hidden_thinking_without_usage_costs_the_whole_hold(
    model: str, effort: str | None, reasoning: str, *, whole: bool
) -> None:
    """Where a model has thought, asked to or not, and nobody counts it, its visible words do not measure the cost."""
    hidden = ScriptedAnswer(text="yes", reasoning=reasoning, report_usage=False, model=model)
    request = CompletionRequest(
        model="m", messages=(ChatMessage("user", "think"),), max_output_tokens=200, reasoning_effort=effort
    )  # type: ignore[arg-type]

    made = call(hidden, request)

    assert made.event.outcome == "estimated"
    assert made.event.usage.total >= made.billed.total
    assert (made.event.usage.total == made.held) is whole


@pytest.mark.anyio
async def test_a_dearer_tier_is_held_at_the_price_of_the_model_that_serves_it(make_router: MakeRouter) -> None:
    """Priority costs more with some models: by the provider's name for them, whatever the configuration calls them."""
    provider = ScriptedProvider([" ".join(["w"] * 1000)], name="p")
    dear = (ModelPlan(name="main", routes=(Route("p", "gpt-5.5"),)),)
    request = CompletionRequest(
        model="", messages=(ChatMessage("user", "go"),), max_output_tokens=1000, service_tier="priority"
    )
    async with make_router(provider, models=dear, limits=Limits(cost_nanousd=10**9)) as made:
        await made.router.complete(Call(spender=Spender("t", "writer", "main"), root_thread_id="t", request=request))
        (charged,) = made.of(UsageEvent)

    assert charged.usage.output == 1000
    assert charged.overrun == ZERO
