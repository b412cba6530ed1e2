"""Handlers, providers, listeners and clients that do everything wrong: what chaos is made of.

Each is one row of a table and takes what it needs of the world; which row is taken, a seed decides.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import anyio
import anyio.from_thread

from organism import Context, Limits, Message, Organism, OrganismError, Text, To
from organism.amounts import TokenUsage
from organism.errors import RejectedError, UncertainError
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest

CAP = 8
"""Tokens of an answer at most."""


class Job(Message, frozen=True):
    """Names the mistake to make."""

    mistake: int
    nested: bool = False


class SpeechlessError(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Unknown(Message, frozen=True):
    """A type that nobody accepts."""

    anything: Any = None


# -- handlers ---------------------------------------------------------------------------------------------------------


async def _await_a_cancelled_task(_message: Job, _ctx: Context) -> None:
    task = asyncio.get_running_loop().create_task(asyncio.sleep(10))
    task.cancel()
    await task


async def _cancel_oneself(_message: Job, _ctx: Context) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await anyio.sleep(1)


async def _open_a_scope(_message: Job, _ctx: Context) -> None:
    anyio.CancelScope(deadline=anyio.current_time() + 1).__enter__()


async def _open_a_task_group(_message: Job, _ctx: Context) -> None:
    await anyio.create_task_group().__aenter__()


def _outlive(use: Callable[[Context], Awaitable[object]]) -> "Mistake":
    async def handle(_message: Job, ctx: Context) -> Text:
        async def later() -> None:
            await anyio.sleep(0.5)
            with suppress(OrganismError):  # a context of a run that has ended refuses; it must do no more than that
                await use(ctx)

        LEFT.add(task := asyncio.get_running_loop().create_task(later()))
        task.add_done_callback(LEFT.discard)
        return Text("gone")

    return handle


LEFT: set[asyncio.Task[None]] = set()
"""Tasks that outlive their handlers, held so that they are not collected on the way."""


async def _nothing() -> int:
    return 1


async def _send(ctx: Context) -> None:
    ctx.send("wild", Job(0, nested=True))


async def _state(ctx: Context) -> None:
    ctx.state["late"] = object()


def _raising(error: BaseException) -> "Mistake":
    async def handle(_message: Job, _ctx: Context) -> None:
        raise error

    return handle


def _returning(make: Callable[[], Any]) -> "Mistake":
    async def handle(_message: Job, _ctx: Context) -> Any:
        return make()

    return handle


def _sending(*args: Any, **more: Any) -> "Mistake":
    async def handle(_message: Job, ctx: Context) -> None:
        ctx.send(*args, **more)

    return handle


def _doing(work: Callable[[Context], Awaitable[Any]]) -> "Mistake":
    async def handle(_message: Job, ctx: Context) -> Any:
        return await work(ctx)

    return handle


async def _recurse(message: Job, ctx: Context) -> None:
    await _recurse(message, ctx)


async def _swallow_cancellation(_message: Job, _ctx: Context) -> None:
    for _ in range(3):
        with suppress(BaseException):
            await anyio.sleep(30)


async def _spoil_state(_message: Job, ctx: Context) -> Text:
    ctx.state["what"] = {1, 2, object()}
    return Text("spoilt")


def _endless() -> Iterator[Text]:
    while True:
        yield Text("more")


Mistake = Callable[[Job, Context], Awaitable[Any]]

MISTAKES: tuple[Mistake, ...] = (
    _await_a_cancelled_task,
    _cancel_oneself,
    _open_a_scope,
    _open_a_task_group,
    _recurse,
    _swallow_cancellation,
    _spoil_state,
    _raising(SystemExit(3)),
    _raising(KeyboardInterrupt()),
    _raising(GeneratorExit()),
    _raising(asyncio.CancelledError()),
    _raising(SpeechlessError()),
    _raising(ValueError("x" * 100_000)),
    _raising(BaseExceptionGroup("many", [SystemExit(1), ValueError("two")])),
    _raising(StopAsyncIteration()),
    _raising(MemoryError()),
    _raising(RejectedError("nobody", "a refusal that no provider gave")),
    _returning(lambda: "text"),
    _returning(lambda: 42),
    _returning(lambda: Text(42)),  # type: ignore[arg-type]
    _returning(lambda: Text("\ud800")),
    _returning(lambda: Text("x" * 2_000_000)),
    _returning(lambda: To("b", "text")),  # type: ignore[arg-type]
    _returning(lambda: To("nobody", Text("x"))),
    _returning(lambda: To("user", Unknown(object()))),
    _returning(lambda: [Text("many")] * 1_000),
    _returning(lambda: [[Text("nested")]]),
    _returning(_endless),
    _returning(lambda: Unknown({1: math.nan})),
    _sending("wild", "text"),
    _sending("wild", None),
    _sending(None, Text("x")),
    _sending("nobody", Text("x")),
    _sending("wild", Unknown()),
    _sending("wild", Text("x"), delay_s=None),
    _sending("wild", Text("x"), delay_s="5"),
    _sending("wild", Text("x"), delay_s=math.inf),
    _sending("wild", Text("x"), delay_s=math.nan),
    _sending("wild", Text("x"), delay_s=-1),
    _doing(lambda ctx: ctx.once(cast("Any", 5), _nothing, int)),
    _doing(lambda ctx: ctx.once("k", _nothing, str)),  # type: ignore[arg-type]
    _doing(lambda ctx: ctx.ask("nobody", Text("x"))),
    _doing(lambda ctx: ctx.ask("wild", "text")),  # type: ignore[arg-type]
    _doing(lambda ctx: ctx.ask("plain", Job(0), timeout_s=math.nan)),
    _doing(lambda ctx: ctx.ask("wild", Job(-1))),
    _doing(lambda ctx: ctx.gather([("plain", Job(-1)), ("nobody", Job(-1))])),
    _doing(lambda ctx: ctx.spawn("plain", Job(-1), limits=Limits(tokens=50), budget="carved")),
    _doing(lambda ctx: ctx.spawn("plain", Job(-1), limits=cast("Any", "none"))),
    _doing(lambda ctx: ctx.llm.complete("x", max_output_tokens=cast("Any", 50 / 3))),
    _doing(lambda ctx: ctx.llm.complete("x", max_output_tokens=1 << 63)),
    _doing(lambda ctx: ctx.llm.complete("\ud800", max_output_tokens=CAP)),
    _doing(lambda ctx: ctx.llm.complete(prompt(ctx), max_output_tokens=CAP, temperature=math.nan)),
    _doing(lambda ctx: ctx.llm.complete(prompt(ctx), model="nobody's", max_output_tokens=CAP)),
    _doing(lambda ctx: ctx.llm.embed([prompt(ctx)], model="wild")),
    _outlive(lambda ctx: ctx.once("late", _nothing, int)),
    _outlive(lambda ctx: ctx.ask("plain", Job(-1))),
    _outlive(lambda ctx: ctx.gather([("plain", Job(-1))])),
    _outlive(lambda ctx: ctx.spawn("plain", Job(-1))),
    _outlive(lambda ctx: ctx.llm.complete(prompt(ctx), max_output_tokens=CAP)),
    _outlive(lambda ctx: ctx.approval("late?")),
    _outlive(_send),
    _outlive(_state),
)
"""Everything a handler may do wrong; a job of -1 does nothing wrong."""

CALLS_EACH = 3
"""A third of all jobs only call the provider that cannot be relied on: most of the money is spent there."""


def prompt(ctx: Context) -> str:
    """Return a prompt by which the provider's bill can be matched with the message that asked."""
    return f"{ctx.thread_id} {ctx.envelope.id} say something"


async def wild(message: Job | Text, ctx: Context) -> Any:
    """Do what the job says, then call the provider that cannot be relied on."""
    if isinstance(message, Text) or message.mistake < 0:
        return Text("done")
    if message.mistake % CALLS_EACH == 0:
        await ctx.llm.complete(prompt(ctx), model="wild", max_output_tokens=CAP, on_text=lambda _piece: None)
    return await MISTAKES[message.mistake % len(MISTAKES)](message, ctx)


PLAIN_MISTAKES: tuple[Callable[[Context], Any], ...] = (
    lambda _ctx: Text("fine"),
    lambda _ctx: 42,
    lambda _ctx: [Text("fine"), "text"],
    lambda _ctx: _raise(SystemExit(4)),
    lambda _ctx: _raise(KeyboardInterrupt()),
    lambda _ctx: _raise(SpeechlessError()),
    lambda _ctx: _nothing(),
    lambda ctx: ctx.send("plain", cast("Any", 5)),
    lambda ctx: anyio.from_thread.run(lambda: ctx.llm.complete("x", model="instant", max_output_tokens=CAP)).text,
)


def _raise(error: BaseException) -> None:
    raise error


def plain(message: Job | Text, ctx: Context) -> Any:
    """Do what the job says, on a worker thread."""
    if isinstance(message, Text) or message.mistake < 0:
        return Text("done")
    return PLAIN_MISTAKES[message.mistake % len(PLAIN_MISTAKES)](ctx)


# -- a provider -------------------------------------------------------------------------------------------------------


class WildProvider:
    """Answers with everything but an answer, and keeps its own bill: a sane call is billed, a refusal is not.

    Args:
        chance: Decides.
    """

    def __init__(self, chance: random.Random) -> None:
        self.name = "wild"
        self.bill: Counter[tuple[str, str]] = Counter()
        self._chance = chance

    def extra_tokens(self, request: Request) -> int:
        """Bound what there is beside the texts: nothing, or nonsense."""
        if self._chance.random() < 0.05:
            return self._chance.choice(["many", None, -5, 1.5])  # type: ignore[return-value]
        return request.tokens if isinstance(request, EmbeddingRequest) else 0

    async def complete(self, request: CompletionRequest, on_text: DeltaSink | None = None) -> Completion:
        """Work, bill, and answer somehow; some of what is handed over on the way is no piece of an answer."""
        if on_text is not None:
            on_text(self._chance.choice(["word", "", "\ud800", None]))  # type: ignore[arg-type]
        thread_id, message_id, *_ = request.messages[-1].text.split()
        usage = TokenUsage(input=4, output=self._chance.randint(1, request.max_output_tokens))
        await anyio.sleep(self._chance.choice([0, 0, 0.01, 0.5, 90]))
        if self._chance.random() < 0.15:
            raise RejectedError(self.name, "not now", again=self._chance.random() < 0.5)
        self.bill[thread_id, message_id] += usage.total
        sane = Completion(text="word " * usage.output, model=request.model, finish_reason="stop", usage=usage)
        if self._chance.random() < 0.4:
            return sane
        answers: tuple[Callable[[], Any], ...] = (
            lambda: None,
            lambda: "text",
            lambda: {"text": "text"},
            lambda: Completion(text=None, model=1, finish_reason=None, usage=None),  # type: ignore[arg-type]
            lambda: Completion(text="w", model="m", finish_reason="stop", usage={"input": 1}),  # type: ignore[arg-type]
            lambda: Completion(text="w", model="m", finish_reason="stop", usage=TokenUsage(input=-5)),
            lambda: Completion(text="w", model="m", finish_reason="stop", usage=TokenUsage(output=1 << 70)),
            lambda: Completion(text="w", model="m", finish_reason="stop", usage=usage, cost_nanousd=-1),
            lambda: Completion(text="w", model="m", finish_reason="stop", usage=usage, cost_nanousd=1 << 80),
            lambda: Completion(text="\ud800", model="m", finish_reason="stop", usage=usage),
            lambda: Completion(text="w", model="m", finish_reason="stop", usage=usage, tool_calls=(1, None)),  # type: ignore[arg-type]
            lambda: _raise(UncertainError(self.name, "broken off")),
            lambda: _raise(asyncio.CancelledError()),
            lambda: _raise(SystemExit(5)),
            lambda: _raise(GeneratorExit()),
            lambda: _raise(SpeechlessError()),
            lambda: _raise(BaseExceptionGroup("many", [KeyboardInterrupt()])),
        )
        answer: Completion = self._chance.choice(answers)()
        return answer

    async def embed(self, _request: EmbeddingRequest) -> Embeddings:
        """Answer with no vectors."""
        return None  # type: ignore[return-value]

    async def aclose(self) -> None:
        """Fail to close."""
        raise RuntimeError("this provider does not close")


# -- listeners and clients --------------------------------------------------------------------------------------------


def listen_badly(organism: Organism) -> None:
    """Hang every kind of bad listener on the organism's events."""

    def raises(_event: object) -> None:
        raise ValueError("a listener's own mistake")

    def exits(_event: object) -> None:
        raise SystemExit(6)

    async def later() -> None:
        raise ValueError("another")

    def is_awaitable(_event: object) -> object:
        return later()

    def unsubscribes(_event: object) -> None:
        remove()

    for listener in (raises, exits, is_awaitable):
        organism.usage.subscribe(listener)  # type: ignore[arg-type]
    remove = organism.usage.subscribe(unsubscribes)


async def meddle(organism: Organism, thread_id: str, chance: random.Random) -> None:
    """Do one thing to a thread that a client may do, or may not."""
    orders: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: organism.send(thread_id, Job(-1), to="wild"),
        lambda: organism.send(thread_id, Text("x"), to="nobody"),
        lambda: organism.send(thread_id, 5, to="wild"),  # type: ignore[arg-type]
        lambda: organism.send("never-opened", Text("x")),
        lambda: organism.open_thread(Text("x"), thread_id=thread_id),
        lambda: organism.open_thread("x", to="user"),
        lambda: organism.open_thread(Unknown(object()), to="wild"),
        lambda: organism.set_limits(thread_id, Limits(tokens=5)),
        lambda: organism.set_limits(thread_id, Limits(tokens=5_000)),
        lambda: organism.terminate(thread_id),
        lambda: organism.wait("never-opened"),
    )
    with suppress(OrganismError, TypeError):  # refused where the client can see it is all that may come of it
        await chance.choice(orders)()
