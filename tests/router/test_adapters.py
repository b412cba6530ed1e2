"""Whatever an adapter returns, raises or leaves behind costs its own call: the ledger is right, the rest goes on."""

import asyncio
import random
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import msgspec
import pytest

from organism import Limits, Organism, Text, agent
from organism.agents.context import Context
from organism.amounts import Amounts, TokenUsage
from organism.errors import ConfigError, OrganismError, RejectedError, UncertainError, UnsupportedError
from organism.llm.answers import Completion
from organism.llm.embeddings import Embeddings
from organism.llm.provider import TextSink
from organism.llm.requests import CompletionRequest
from organism.messages import as_text
from organism.router.call import RouterSettings
from organism.router.limits.circuit import CircuitSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.planning.plan import ModelPlan, Route
from organism.testing import ScriptedProvider, VirtualClock, run
from organism.usage.events import UsageEvent

USAGE = TokenUsage(input=5, output=1)
DEADLINE_S = 60.0

Act = Callable[["Stranger", TextSink | None], Awaitable[Any]]


def ok(**fields: Any) -> Completion:
    """An answer, with some fields replaced by whatever a stranger puts there."""
    whole = {"text": "ok", "model": "m", "finish_reason": "stop", "usage": USAGE}
    return Completion(**(whole | fields))


class Stranger:
    """An adapter as somebody else has written it: good when it is asked for ``good``, else it does what it is told."""

    name = property(lambda self: 1 / 0)

    def __init__(self, act: Any, extra: Any = 0, close: Any = None) -> None:
        self.act = act
        self.extra = extra
        self.close = close

    def complete(self, request: Any, on_text: Any = None) -> Any:
        if request.messages[-1].text == "good":
            return self._good()
        return self.act(on_text)

    async def _good(self) -> Completion:
        return ok(text="fine")

    async def embed(self, _request: Any) -> Any:
        return self.act(None)

    def extra_tokens(self, request: CompletionRequest) -> Any:
        if request.messages[-1].text == "good":
            return 0
        return self.extra() if callable(self.extra) else self.extra

    async def aclose(self) -> Any:
        return self.close() if self.close is not None else None


class Seen(msgspec.Struct):
    """What came of two calls, a bad and a good one, and how long the bad one took."""

    error: str
    seconds: float
    events: list[UsageEvent]
    spent: Amounts
    held: Amounts
    ended_s: float


def made_with(stranger: Stranger, *, streamed: bool = False, seconds: float = DEADLINE_S) -> Seen:
    """Let an agent make a bad and then a good call, and end the organism."""
    seen: list[Any] = []

    @agent(timeout_s=9999)
    async def caller(message: Text, ctx: Context) -> Text:
        begun_s = anyio.current_time()
        error = ""
        try:
            await ctx.llm.complete("bad", max_output_tokens=20, on_text=(lambda _piece: None) if streamed else None)
        except OrganismError as failure:
            error = f"{type(failure).__name__}: {failure}"
        seen.extend((error, anyio.current_time() - begun_s))
        return Text((await ctx.llm.complete("good", max_output_tokens=20)).text)

    async def main() -> Seen:
        events: list[UsageEvent] = []
        settings = RouterSettings(deadline_s=seconds, timeout_s=seconds, drain_s=2, attempts=1)
        organism = Organism(
            [caller],
            models={"m": "p/m"},
            providers={"p": stranger},  # type: ignore[dict-item]
            limits=Limits(tokens=50_000),
            clock=VirtualClock(),
            router=settings,
        )
        organism.usage.subscribe(events.append, UsageEvent)  # type: ignore[arg-type]
        async with organism:
            result = await organism.run("go")
        assert as_text(result.outputs[-1]) == "fine", "the next call is none the worse"
        error, took = seen
        return Seen(error, took, events, result.budget.spent, result.budget.held, anyio.current_time())

    return run(main)


def hostile() -> Any:
    """An error whose text cannot be had."""

    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    return HostileError()


class RejectedElsewhereError(RejectedError):
    """A stranger's own error, made without what ours are made with."""

    def __init__(self) -> None:
        Exception.__init__(self, "no")


def returning(value: Any) -> Any:
    """An adapter that returns a value; a function is called for it."""

    async def act(on_text: Any) -> Any:
        return value() if callable(value) else value

    return act


def raising(error: Any) -> Any:
    """An adapter that raises."""

    async def act(on_text: Any) -> Any:
        raise error() if isinstance(error, type) else error

    return act


async def never(_self: Any = None) -> None:
    """Not awaited by anybody."""


NO_ANSWERS = {
    "None": None,
    "text": "hello",
    "dict": {"text": "hello"},
    "its class": lambda: Completion,
    "a coroutine": never,
    "vectors": Embeddings(packed=(), model="m", usage=USAGE),
    "bytes": b"\xff",
    "text None": ok(text=None),
    "text bytes": ok(text=b"x"),
    "model a number": ok(model=7),
    "finish None": ok(finish_reason=None),
    "calls of junk": ok(tool_calls=("x", 3)),
    "calls a set": ok(tool_calls={1, 2}),
    "unhashable calls": ok(tool_calls=[{}]),
    "reasoning of junk": ok(reasoning=(None,)),
    "an object in it": ok(reasoning=(object(),)),
    "usage_missing of junk": ok(usage_missing=("everything",)),
}

NO_USAGE = {
    "dict": ok(usage={"input": 5}),
    "text": ok(usage="5"),
    "negative": ok(usage=TokenUsage(input=-5, output=1)),
    "huge": ok(usage=TokenUsage(input=2**70, output=1)),
    "eleven million": ok(usage=TokenUsage(input=11_000_000, output=1)),
    "float": ok(usage=TokenUsage(input=5.0, output=1)),  # type: ignore[arg-type]
    "bool": ok(usage=TokenUsage(input=True, output=1)),
    "NaN": ok(usage=TokenUsage(input=float("nan"), output=1)),  # type: ignore[arg-type]
    "None in it": ok(usage=TokenUsage(input=None, output=1)),  # type: ignore[arg-type]
    "cost negative": ok(cost_nanousd=-5),
    "cost huge": ok(cost_nanousd=2**62),
    "cost beyond 64 bits": ok(cost_nanousd=2**90),
    "cost a float": ok(cost_nanousd=1.5),
    "cost a bool": ok(cost_nanousd=True),
    "cost a text": ok(cost_nanousd="5"),
    "its own fault a number": ok(usage=None, usage_error=3),
}

FAILURES = {
    "an error": ValueError("no"),
    "CancelledError": asyncio.CancelledError,
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "a group": ExceptionGroup("two", [ValueError("a"), TypeError("b")]),
    "a worse group": BaseExceptionGroup("two", [SystemExit(1), ValueError("b")]),
    "no text": hostile,
    "surrogates": ValueError("\udcff"),
    "ours with junk": UncertainError("p", "no", status="502"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_what_is_no_answer_fails_its_call_and_is_charged_whole(what: str) -> None:
    """An adapter that returns no sound answer may have been billed: its hold is charged, and the next call is made."""
    seen = made_with(Stranger(returning(NO_ANSWERS[what])))

    assert seen.error.startswith("UncertainError: ")
    assert [event.outcome for event in seen.events] == ["worst_case", "settled"]
    assert seen.events[0].usage.output == 20
    assert seen.held == Amounts()


@pytest.mark.parametrize("what", NO_USAGE)
def test_count_that_is_none_is_disputed(what: str) -> None:
    """A number that cannot be one reaches no arithmetic: the answer is handed on, and the whole hold is charged."""
    seen = made_with(Stranger(returning(NO_USAGE[what])))

    assert seen.error == ""
    assert [event.outcome for event in seen.events] == ["disputed", "settled"]
    assert seen.spent.tokens == sum(event.usage.total for event in seen.events)
    assert seen.held == Amounts()


@pytest.mark.parametrize("what", [name for name in FAILURES if name != "no text"] + ["no text"])
def test_whatever_an_adapter_raises_is_its_calls_failure(what: str) -> None:
    """Also an order to end, a cancellation and an error without a text: charged whole, and nothing else ends."""
    error = FAILURES[what]
    seen = made_with(Stranger(raising(error() if error is hostile else error)))

    assert seen.error.startswith("UncertainError: ")
    assert [event.outcome for event in seen.events] == ["worst_case", "settled"]
    assert seen.held == Amounts()


@pytest.mark.parametrize(
    "error",
    [
        RejectedElsewhereError(),
        RejectedError("p", "no", retry_after_s=float("nan"), again=True),
        RejectedError("p", "no", retry_after_s="5", again=True),  # type: ignore[arg-type]
        RejectedError("p", "no", status=[]),  # type: ignore[arg-type]
        RejectedError("p", "no \udcff"),
        RejectedError("p", "no", again="yes"),  # type: ignore[arg-type]
        UnsupportedError("p", "this"),
    ],
)
def test_refusal_costs_nothing_whatever_comes_with_it(error: RejectedError) -> None:
    """An adapter's word that nothing was billed is taken; what else its error carries is checked before it is used."""
    seen = made_with(Stranger(raising(error)))

    assert "Error: " in seen.error
    assert [event.outcome for event in seen.events] == ["released", "settled"]


def swallowing() -> Any:
    """An adapter that takes no cancellation."""

    async def act(on_text: Any) -> Any:
        while True:
            with suppress(asyncio.CancelledError):
                await anyio.sleep(1000)

    return act


async def asleep(on_text: Any) -> Any:
    await anyio.sleep_forever()


async def raising_late(on_text: Any) -> Any:
    try:
        await anyio.sleep_forever()
    finally:
        raise SystemExit(1)


async def cancelling_itself(on_text: Any) -> Any:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await anyio.sleep(1)


async def answering_late(on_text: Any) -> Any:
    try:
        await anyio.sleep_forever()
    except asyncio.CancelledError:
        return ok()


@pytest.mark.parametrize("act", [swallowing(), asleep, raising_late, cancelling_itself, answering_late])
def test_no_adapter_keeps_a_call_beyond_its_deadline_or_an_organism_from_ending(act: Any) -> None:
    """One that never returns and takes no cancellation is given up in time, and left behind at the end."""
    seen = made_with(Stranger(act))

    assert seen.seconds <= DEADLINE_S
    assert [event.outcome for event in seen.events][1:] == ["settled"]
    assert seen.events[0].outcome in {"worst_case", "settled"}
    assert seen.held == Amounts()
    assert seen.ended_s <= DEADLINE_S + 10


@pytest.mark.parametrize(
    "extra",
    [
        None,
        "5",
        -1,
        2**62,
        1.5,
        True,
        float("nan"),
        lambda: 1 / 0,
        never,
        sys.exit,
    ],
)
def test_bound_that_is_none_keeps_a_call_from_leaving(extra: Any) -> None:
    """Without a number that bounds a request nothing is held and nothing sent, so nothing is charged."""
    seen = made_with(Stranger(returning(ok()), extra=extra))

    assert seen.error.startswith("UnboundedError: ")
    assert [event.outcome for event in seen.events] == ["settled"]


def hanging_end() -> Any:
    async def close() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await anyio.sleep(1000)

    return close()


class Closing(Stranger):
    """An adapter whose end is a stranger's, too."""

    async def aclose(self) -> Any:
        made = self.close()
        if asyncio.iscoroutine(made):
            await made


@pytest.mark.parametrize(
    "close",
    [lambda: 1 / 0, sys.exit, raising(asyncio.CancelledError), hanging_end, None],
)
def test_end_of_an_adapter_holds_up_nobody(close: Any) -> None:
    """An adapter that fails, hangs or has no end at all does not keep an organism from ending."""
    stranger = Closing(returning(ok()), close=(lambda: close(None)) if asyncio.iscoroutinefunction(close) else close)

    assert made_with(stranger).ended_s <= 10


async def handing_over_none(on_text: Any) -> Any:
    on_text(None)
    return ok()


async def from_a_thread(on_text: Any) -> Any:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            on_text("x")
        except RuntimeError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    raise failed[0]


@pytest.mark.parametrize("act", [handing_over_none, from_a_thread])
def test_wrong_use_of_on_text_is_the_adapters_failure(act: Any) -> None:
    """What is no text, or comes from another thread, is refused to the adapter before it touches anything."""
    seen = made_with(Stranger(act), streamed=True)

    assert [event.outcome for event in seen.events] == ["worst_case", "settled"]


def test_pieces_after_the_end_are_not_heard() -> None:
    """An adapter that goes on handing over text when its call is over reaches nobody."""
    kept: list[TextSink] = []

    async def act(on_text: Any) -> Any:
        kept.append(on_text)
        on_text("a")
        return ok()

    seen = made_with(Stranger(act), streamed=True)
    kept[0]("b")

    assert [event.outcome for event in seen.events] == ["settled", "settled"]


def junk(chance: random.Random) -> Any:
    """Something an adapter might return, or do."""
    values: list[Any] = [None, "x", -1, 2**70, 1.5, True, float("nan"), b"\xff", "\udcff", [], {}, object(), USAGE]
    fields = ["text", "model", "finish_reason", "usage", "usage_missing", "usage_error", "tool_calls", "cost_nanousd"]
    chosen = {name: chance.choice(values) for name in chance.sample(fields, chance.randint(0, 3))}
    acts = [
        returning(ok(**chosen)),
        returning(chance.choice(values)),
        raising(chance.choice(list(FAILURES.values()))),
        chance.choice([swallowing(), asleep, raising_late, cancelling_itself, answering_late]),
        returning(ok(usage=TokenUsage(input=chance.choice(values), output=chance.choice(values)))),
    ]
    return chance.choice(acts)


@pytest.mark.parametrize("seed", range(40))
def test_random_junk_leaves_books_right(seed: int) -> None:
    """Whatever comes: a call ends by its deadline, is recorded once, nothing stays held, and the organism ends."""
    seen = made_with(Stranger(junk(random.Random(seed))), streamed=seed % 2 == 0)

    assert seen.seconds <= DEADLINE_S
    assert seen.ended_s <= DEADLINE_S + 10
    assert len(seen.events) == 2
    assert seen.held == Amounts()
    assert seen.spent.tokens == sum(event.usage.total for event in seen.events if event.outcome != "released")


VECTORS = {
    "None": None,
    "a completion": ok(),
    "no vectors": Embeddings(packed=(), model="m", usage=USAGE),
    "one too many": Embeddings(packed=(b"0123", b"0123"), model="m", usage=USAGE),
    "numbers": Embeddings(packed=([1.0, 2.0],), model="m", usage=USAGE),  # type: ignore[arg-type]
    "half a number": Embeddings(packed=(b"012",), model="m", usage=USAGE),
    "an empty vector": Embeddings(packed=(b"",), model="m", usage=USAGE),
    "a set": Embeddings(packed={b"0123"}, model="m", usage=USAGE),  # type: ignore[arg-type]
    "model None": Embeddings(packed=(b"0123",), model=None, usage=USAGE),  # type: ignore[arg-type]
}


class Embedding(Stranger):
    """An adapter whose embeddings are what it is told."""

    def extra_tokens(self, _request: Any) -> int:
        return 0


@pytest.mark.parametrize("what", VECTORS)
def test_vectors_that_are_none_are_charged_whole(what: str) -> None:
    """The same holds for embeddings: what is not one vector for each text is no answer."""

    async def main() -> None:
        events: list[Any] = []

        @agent()
        async def caller(message: Text, ctx: Context) -> None:
            with pytest.raises(UncertainError, match="its adapter returned <coroutine"):
                await ctx.llm.embed(["a text"])

        organism = Organism(
            [caller],
            models={"m": "p/m"},
            providers={"p": Embedding(returning(VECTORS[what]))},  # type: ignore[dict-item]
            limits=Limits(tokens=50_000),
            clock=VirtualClock(),
        )
        organism.usage.subscribe(events.append, UsageEvent)
        async with organism:
            await organism.run("go")
        assert [event.outcome for event in events] == ["worst_case"]

    run(main)


@pytest.mark.parametrize("first", [returning(None), raising(SystemExit), swallowing(), handing_over_none])
def test_hedge_answers_where_the_first_adapter_does_not(first: Any) -> None:
    """A second provider that is asked beside a bad one answers; both are charged, and nothing stays held."""

    async def slow(on_text: Any) -> Any:
        await anyio.sleep(10)
        return await first(on_text)

    async def main() -> None:
        events: list[Any] = []

        @agent(timeout_s=999)
        async def caller(message: Text, ctx: Context) -> Text:
            return Text((await ctx.llm.complete("bad", max_output_tokens=20)).text)

        routes = (Route("p", "m"), Route("q", "m"))
        organism = Organism(
            [caller],
            models={"m": ModelPlan(name="m", routes=routes, hedge_after_s=1)},
            providers={"p": Stranger(slow), "q": ScriptedProvider(["fine"], name="q", latency_s=30)},  # type: ignore[dict-item]
            limits=Limits(tokens=50_000),
            clock=VirtualClock(),
            router=RouterSettings(deadline_s=60, drain_s=2),
        )
        organism.usage.subscribe(events.append, UsageEvent)
        async with organism:
            result = await organism.run("go")
        assert as_text(result.outputs[-1]) == "fine"
        assert sorted(event.outcome for event in events) == ["settled", "worst_case"]

    run(main)


@pytest.mark.parametrize("name", ["model", "finish_reason"])
def test_names_in_an_answer_are_no_longer_than_names(name: str) -> None:
    """A megabyte where a name belongs does not go into every event."""
    seen = made_with(Stranger(returning(ok(**{name: "x" * 1_000_000}))))

    assert seen.error == ""
    assert len(seen.events[0].response_model or "") <= 256


def test_circuit_and_places_survive_a_provider_that_only_fails() -> None:
    """One place, and a circuit that opens: after a rest the provider answers again, for no place was lost."""
    acts = iter([raising(SystemExit), returning(None), swallowing(), raising(asyncio.CancelledError)])

    def act(on_text: Any) -> Any:
        return next(acts)(on_text)

    @agent(timeout_s=9999)
    async def caller(message: Text, ctx: Context) -> Text:
        for _ in range(4):
            with pytest.raises(
                UncertainError,
                match=r"unexpected (SystemExit|CancelledError)|its adapter returned None|no answer within 20 s",
            ):
                await ctx.llm.complete("bad", max_output_tokens=20)
        return Text((await ctx.llm.complete("good", max_output_tokens=20)).text)

    async def main() -> None:
        treatment = ProviderSettings(concurrency=1, circuit=CircuitSettings(failures=2, within_s=200, open_s=5))
        organism = Organism(
            [caller],
            models={"m": "p/m"},
            providers={"p": Stranger(act)},  # type: ignore[dict-item]
            limits=Limits(tokens=50_000),
            clock=VirtualClock(),
            router=RouterSettings(deadline_s=60, timeout_s=20, providers={"p": treatment}),
        )
        async with organism:
            assert as_text((await organism.run("go")).outputs[-1]) == "fine"
            assert organism.router.statistics().providers["p"].in_flight == 0

    run(main)


@pytest.mark.parametrize("value", [None, 5, "sk-secret", {}, object(), ScriptedProvider, lambda request: "hi"])
def test_what_is_no_provider_is_refused_before_anything_runs(value: Any) -> None:
    """A mistake in a program's list of providers is told where it is made, and not by its first call."""

    @agent(name="a")
    async def handler(message: Text, ctx: Context) -> None:
        """Do nothing."""

    with pytest.raises(ConfigError, match=r"providers\.s") as raised:
        Organism([handler], models={"m": "s/x"}, providers={"s": value}, provider_kinds={"s": "local"})
    assert "sk-secret" not in str(raised.value)
