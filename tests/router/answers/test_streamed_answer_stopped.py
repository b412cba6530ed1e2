"""A provider that ignores its cap is stopped in mid-stream: what has come is kept, charged and marked, and no more."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from organism.amounts import Limits, TokenUsage
from organism.errors import UnsupportedError
from organism.ledger.entries import Settled
from organism.llm.answers import TRUNCATED, Completion
from organism.llm.deltas import (
    DeltaRecord,
    ProviderPiece,
    ProviderSink,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    ToolCallDelta,
    Unshown,
    UsageDelta,
)
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest
from organism.providers.scripted import ScriptedProvider
from organism.router.answers.streamed_answer import ON_ITS_WAY
from organism.router.call import RouterSettings
from organism.testing import run
from organism.usage.events import UsageEvent
from tests.router.conftest import MakeRouter

CAP = 40
TOKENS = 5_000
LIMITS = Limits(tokens=100_000)


class Talker:
    """Hands over a piece a token, thousands of them, whatever its cap; bills what it has written until it is closed.

    Args:
        piece: Makes the piece of a token.
        per_piece: How many tokens a piece has.
        ends: Whether it ends by itself where its cap is.
    """

    stops_when_closed = True

    def __init__(self, piece: Callable[[int], ProviderPiece], per_piece: int = 1, *, ends: bool = False) -> None:
        self.name = "talker"
        self.billed = 0
        self.ended_s = 0.0
        self._piece = piece
        self._per_piece = per_piece
        self._ends = ends

    def extra_tokens(self, _request: Request) -> int:
        return 0

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        self.billed = 1
        last = request.max_output_tokens * request.choices if self._ends else TOKENS
        try:
            for number in range(last // self._per_piece):
                await anyio.sleep(0.01)
                self.billed += self._per_piece
                if on_text is not None:
                    on_text(self._piece(number))
        finally:
            self.ended_s = anyio.current_time()
        usage = TokenUsage(input=1, output=self.billed - 1)
        return Completion(text="all of it", model=request.model, finish_reason="stop", usage=usage)

    async def embed(self, _request: Any) -> Any:
        raise UnsupportedError(self.name, "embeddings")

    async def aclose(self) -> None:
        return None


def call(number: int) -> ToolCallDelta:
    return ToolCallDelta("call_1", "write", '{"text": "' if number == 0 else "word ", 0)


TALKERS: dict[str, Callable[..., Talker]] = {
    "words": lambda **how: Talker(lambda number: f"w{number} ", **how),
    "words, the space before": lambda **how: Talker(lambda _: " word", **how),
    "thoughts": lambda **how: Talker(lambda _: ReasoningDelta("hm "), **how),
    "arguments of a call": lambda **how: Talker(call, **how),
    "a refusal": lambda **how: Talker(lambda _: RefusalDelta("no "), **how),
    "what does not show": lambda **how: Talker(lambda _: Unshown("hidden "), **how),
    "a call that does not show yet": lambda **how: Talker(lambda _: Unshown("patch ", 0), **how),
    "several words a piece": lambda **how: Talker(lambda _: "one two three four ", 4, **how),
    "counts alone": lambda **how: Talker(lambda n: UsageDelta(TokenUsage(input=1, output=n + 1)), **how),
}


@pytest.mark.parametrize("name", TALKERS)
def test_stream_is_closed_when_it_has_passed_its_cap(make_router: MakeRouter, name: str) -> None:
    """Of 5,000 tokens where 40 were allowed not many more than 40 are billed, and all that are billed are charged."""

    async def scenario() -> None:
        talker = TALKERS[name]()
        told: list[Any] = []
        async with make_router(talker, limits=LIMITS) as it:
            answer = await it.ask(cap=CAP, on_text=told.append)
            (event,) = it.of(UsageEvent)
            assert talker.billed <= 2 * CAP, "closed soon after the cap"
            assert talker.billed <= event.usage.total <= 2 * talker.billed + ON_ITS_WAY + 100
            assert answer.finish_reason == "length"
            assert (answer.truncated, answer.provider_reason, answer.is_complete) == (True, TRUNCATED, False)
            assert (event.truncated, event.outcome, event.abandoned) == (True, "estimated", False)
            assert "stopped at the budget" in str(event.error)
            assert it.registry.state("thread:t").held.tokens == 0
            record = DeltaRecord()
            for piece in told:
                record.add(piece)
            assert not record.rest_of(answer), "the answer is what its reader was told"

    run(scenario)


@pytest.mark.parametrize("name", TALKERS)
def test_stream_within_its_cap_is_never_closed(make_router: MakeRouter, name: str) -> None:
    """A provider that keeps to its cap to the last token ends by itself and is charged by its own count."""

    async def scenario() -> None:
        talker = TALKERS[name](ends=True)
        async with make_router(talker, limits=LIMITS) as it:
            answer = await it.ask(cap=CAP, on_text=lambda _: None)
            (event,) = it.of(UsageEvent)
            assert (answer.text, answer.truncated) == ("all of it", False)
            assert (event.outcome, event.usage, event.truncated) == ("settled", TokenUsage(1, output=CAP), False)

    run(scenario)


def endless(**how: Any) -> ScriptedProvider:
    return ScriptedProvider(
        [" ".join(["word"] * TOKENS)], ignores_cap=True, stops_when_closed=True, latency_s=TOKENS / 100, **how
    )


def test_call_that_nobody_streams_is_stopped_where_a_limit_is_near(make_router: MakeRouter) -> None:
    """A call of a budget that is nearly used up is streamed inside, so that it cannot go on at the limit's expense."""

    async def scenario() -> None:
        provider = endless()
        async with make_router(provider, limits=Limits(tokens=200)) as it:
            answer = await it.ask(cap=TOKENS, message="m1")
            again = await it.ask(cap=TOKENS, message="m1")
            (event,) = it.of(UsageEvent)
            spent = it.registry.state("thread:t").spent.tokens
            assert provider.billed.total <= 200 < spent == event.usage.total < 2 * 200
            assert answer.truncated
            assert answer.text.startswith("word word ")
            assert again == answer, "a partial answer is paid for, so it is not asked for again"
            assert event.overrun.tokens >= spent - 200
            assert anyio.current_time() < 3
            assert [entry.truncated for entry in it.entries if isinstance(entry, Settled)] == [True]

    run(scenario)


def test_call_that_nobody_streams_and_that_leaves_much_is_settled_by_its_usage(make_router: MakeRouter) -> None:
    """An answer that comes whole cannot be stopped; while a limit has room for it, what it cost beyond shows."""

    async def scenario() -> None:
        provider = endless()
        async with make_router(provider, limits=Limits(tokens=1_000_000)) as it:
            answer = await it.ask(cap=CAP)
            (event,) = it.of(UsageEvent)
            assert (answer.truncated, event.outcome, event.usage.output) == (False, "settled", TOKENS)
            assert event.overrun.tokens > TOKENS - 100

    run(scenario)


@pytest.mark.parametrize("mode", ["audit", "off"])
def test_nothing_is_stopped_where_nothing_is_refused(make_router: MakeRouter, mode: str) -> None:
    """Limits that are only watched cut no answer short."""

    async def scenario() -> None:
        async with make_router(endless(), limits=Limits(tokens=200), mode=mode) as it:
            answer = await it.ask(cap=CAP, on_text=lambda _: None)
            assert not answer.truncated
            assert it.of(UsageEvent)[0].usage.output == TOKENS

    run(scenario)


def test_one_piece_with_all_of_an_answer_is_kept_and_charged(make_router: MakeRouter) -> None:
    """What has come in one piece is billed, so it is kept and charged whole, though it is far more than was allowed."""

    async def scenario() -> None:
        talker = Talker(lambda _: "word " * 1_000, 1_000)
        async with make_router(talker, limits=LIMITS) as it:
            answer = await it.ask(cap=CAP, on_text=lambda _: None)
            (event,) = it.of(UsageEvent)
            assert answer.truncated
            assert answer.text == "word " * 1_000
            assert talker.billed == 1_001 <= event.usage.total <= 2 * 1_001

    run(scenario)


def test_abandoned_stream_is_closed_at_its_cap_too(make_router: MakeRouter) -> None:
    """While an answer is awaited that nobody wants any more, it may not go on past its hold."""

    async def scenario() -> None:
        talker = TALKERS["words"]()
        talker.stops_when_closed = False  # so it is read on when its caller goes
        async with make_router(talker, limits=LIMITS) as it:
            with anyio.move_on_after(0.1):
                await it.ask(cap=CAP, on_text=lambda _: None)
            await anyio.sleep(5)
            (event,) = it.of(UsageEvent)
            assert (event.truncated, event.abandoned) == (True, True)
            assert talker.billed <= event.usage.total
            assert talker.ended_s < 1

    run(scenario)


def test_stream_that_begins_after_its_caller_has_gone_is_closed_then(make_router: MakeRouter) -> None:
    """Before its first word nobody can say what an answer costs; with it, it is closed, and not read on for seconds."""

    async def scenario() -> None:
        provider = ScriptedProvider(["word " * 100], latency_s=300, stops_when_closed=True)  # a word each three seconds
        async with make_router(provider, limits=LIMITS) as it:
            with anyio.move_on_after(1):
                await it.ask(cap=200, on_text=lambda _: None)
            await it.router.wait_idle("t")
            assert anyio.current_time() < 3.5
            (event,) = it.of(UsageEvent)
            assert provider.billed.total <= event.usage.total < 100
            assert (event.outcome, event.abandoned, event.truncated) == ("estimated", True, False)

    run(scenario)


def test_loser_of_a_hedge_is_closed_at_once(make_router: MakeRouter) -> None:
    """Whichever of two attempts is let go in the middle of its stream is billed and charged for what it has said."""

    async def scenario() -> None:
        slow = ScriptedProvider(["word " * 100], name="slow", latency_s=200, stops_when_closed=True)
        quick = ScriptedProvider(["quick"], name="quick", latency_s=0.5)
        settings = RouterSettings(drain_s=50)
        async with make_router(slow, quick, limits=Limits(tokens=3_000), hedge_after_s=1.5, settings=settings) as it:
            assert (await it.ask(cap=200)).text == "quick"
            await it.router.wait_idle("t")
            assert anyio.current_time() < 3
            loser = next(event for event in it.of(UsageEvent) if event.provider == "slow")
            assert loser.outcome == "estimated"
            assert slow.billed.total <= loser.usage.total < 100

    run(scenario)


def test_answer_that_has_come_is_not_stopped_while_it_is_put_together(make_router: MakeRouter) -> None:
    """What a reader shows at the end alone, once more or for the first time, is no stream to be stopped."""

    class Late(Talker):
        async def complete(self, _request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
            assert on_text is not None
            on_text(StreamEnd())
            on_text("word " * 100)
            await anyio.sleep(1)  # as for the end of the connection
            return Completion(text="word " * 100, model="m", finish_reason="stop", usage=TokenUsage(1, output=100))

    async def scenario() -> None:
        async with make_router(Late(lambda _: ""), limits=LIMITS) as it:
            answer = await it.ask(cap=CAP, on_text=lambda _: None)
            (event,) = it.of(UsageEvent)
            assert (answer.truncated, event.outcome, event.usage.output) == (False, "settled", 100)

    run(scenario)
