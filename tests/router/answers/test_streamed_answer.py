"""A streamed answer that its caller gives up: closed at once where that ends the bill, and charged what was billed."""

from typing import Any

import anyio
import pytest

from organism import Bounds, Context, Limits, Organism, Text, TokenUsage, agent
from organism.errors import UnsupportedError
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, ProviderSink, ReasoningDelta, StreamEnd, ToolCallDelta, UsageDelta
from organism.llm.provider import Request
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.router.answers.streamed_answer import HIDDEN_PER_S, ON_ITS_WAY, StreamedAnswer
from organism.testing import VirtualClock, run
from organism.usage.events import UsageEvent

CAP = 2_000
WORDS = 600


class Metered:
    """Bills a token for each word that it sends, and its input with the first; stops when nobody listens, if it does.

    Args:
        stops: Whether it does.
        counts: Whether it says at once what the input is.
    """

    def __init__(self, *, stops: object, counts: bool = True) -> None:
        self.name = "metered"
        self.stops_when_closed = stops
        self.counts = counts
        self.billed = 0
        self.ended_s = 0.0

    def extra_tokens(self, _request: Request) -> int:
        return 0

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        self.billed = 7
        try:
            for _ in range(WORDS):
                await anyio.sleep(0.1)
                self.billed += 1
                if on_text is not None:
                    if self.counts:
                        on_text(UsageDelta(TokenUsage(input=7, output=1)))
                    on_text("word ")
        finally:
            self.ended_s = anyio.current_time()
        usage = TokenUsage(input=7, output=WORDS)
        return Completion(text="word " * WORDS, model=request.model, finish_reason="stop", usage=usage)

    async def embed(self, _request: Any) -> Any:
        raise UnsupportedError(self.name, "embeddings")

    async def aclose(self) -> None:
        return None


@agent(timeout_s=3.05)
async def impatient(message: Text, ctx: Context) -> Text:
    """Ask for more than there is time for."""
    on_text = (lambda _piece: None) if message.text == "stream" else None
    return Text((await ctx.llm.complete("say words", max_output_tokens=CAP, on_text=on_text)).text)


async def given_up(provider: Metered, how: str) -> UsageEvent:
    events: list[UsageEvent] = []
    organism = Organism(
        [impatient],
        models={"main": "metered/m"},
        providers={"metered": provider},
        limits=Limits(tokens=1_000_000),
        bounds=Bounds(attempts=1),
        clock=VirtualClock(),
    )
    async with organism:
        organism.usage.subscribe(events.append, UsageEvent)  # type: ignore[arg-type]
        await organism.open_thread(how)
        await anyio.sleep(20)
    return events[0]


@pytest.mark.parametrize("counts", [True, False])
def test_closed_stream_is_charged_about_what_is_billed(counts: bool) -> None:
    """Who presses Ctrl-C pays for what has come, not for the cap, and the provider works no longer for nobody."""
    provider = Metered(stops=True, counts=counts)
    event = run(given_up, provider, "stream")
    assert 3.0 < provider.ended_s < 3.2
    assert event.outcome == "estimated"
    assert provider.billed <= event.usage.total <= provider.billed * 2 + ON_ITS_WAY + (0 if counts else 60)
    assert event.usage.input == 7 or not counts


@pytest.mark.parametrize(
    ("provider", "how"),
    [
        pytest.param(Metered(stops=False), "stream", id="goes on when closed"),
        pytest.param(Metered(stops="yes"), "stream", id="says something else"),
        pytest.param(Metered(stops=True), "whole", id="not streamed"),
    ],
)
def test_what_may_go_on_costing_is_drained_and_charged_whole(provider: Metered, how: str) -> None:
    """Where closing does not end the bill, or nothing was seen, the answer is awaited a while, then the hold stands."""
    event = run(given_up, provider, how)
    assert provider.ended_s > 12
    assert (event.outcome, event.usage.output) == ("worst_case", CAP)


PIECES: list[Delta | UsageDelta] = ["word " * 50]


@pytest.mark.parametrize(
    ("options", "pieces", "hidden"),
    [
        pytest.param({}, PIECES, 0, id="words"),
        pytest.param({}, [ToolCallDelta("c", "f", "{")], 0, id="a call"),
        pytest.param({}, [UsageDelta(TokenUsage(input=3))], 0, id="a count alone"),
        pytest.param({}, [], None, id="nothing yet"),
        pytest.param({"reasoning_effort": "none"}, PIECES, 0, id="no thinking"),
        pytest.param({"reasoning_effort": "high"}, PIECES, 1_000, id="thinking without a bound"),
        pytest.param({"reasoning_tokens": 100}, [ReasoningDelta("hm")], 100, id="thinking within a bound"),
        pytest.param({"reasoning_tokens": 9_000}, [ReasoningDelta("hm")], 1_000, id="a bound that was not reached"),
        pytest.param({"model": "gpt-5-mini"}, PIECES, 1_000, id="a model that thinks unasked"),
        pytest.param({"model": "deepseek-reasoner"}, PIECES, 1_000, id="another"),
        pytest.param({"model": "gpt-5-mini"}, [], None, id="a model that thinks and has said nothing"),
    ],
)
def test_hidden_thinking_is_bounded_by_the_time_there_was(
    options: dict[str, Any], pieces: list[Delta | UsageDelta], hidden: int | None
) -> None:
    """Thinking that nobody sees is billed: two seconds of it at the utmost speed, or its own bound, are charged."""
    plain: dict[str, Any] = {"model": "m", "messages": (ChatMessage("user", "x"),), "max_output_tokens": 50_000}
    cut, shown = (StreamedAnswer(CompletionRequest(**request)) for request in (plain | options, plain))
    for piece in pieces:
        cut.add(piece)
        shown.add(piece)
    assert cut.is_countable is (hidden is not None)
    extra = cut.usage(9, 50_000, 2.0).output - shown.usage(9, 50_000, 2.0).output
    assert hidden is None or extra == hidden <= 2 * HIDDEN_PER_S


def test_charge_stays_between_the_providers_own_count_and_the_hold() -> None:
    """What the provider has counted is never fallen below, a bound of thinking is counted, the hold is never passed."""
    request = CompletionRequest(
        model="m", messages=(ChatMessage("user", "x"),), max_output_tokens=CAP, reasoning_tokens=300
    )
    cut = StreamedAnswer(request)
    cut.add(UsageDelta(TokenUsage(input=5, cached_input=6, cache_write=7, output=1_000)))
    cut.add("word")
    assert cut.usage(50, CAP, 9.0) == TokenUsage(input=5, cached_input=6, cache_write=7, output=1_000)
    assert cut.usage(50, 990, 9.0).output == 990
    assert cut.usage(50, 900, 9.0).output == 1_000, "its own count says that the cap is passed"
    assert StreamedAnswer(request).usage(50, CAP, 9.0) == TokenUsage(input=50, output=ON_ITS_WAY + 300)


def test_an_answer_that_has_ended_is_not_stopped() -> None:
    """When the stream has said its end its usage is there: closing it then would trade a count for an estimate."""
    request = CompletionRequest(model="m", messages=(ChatMessage("user", "x"),), max_output_tokens=10)
    streamed = StreamedAnswer(request)
    streamed.add("word " * 200)
    assert streamed.passes(10)

    streamed.add(StreamEnd())

    assert not streamed.passes(10)
