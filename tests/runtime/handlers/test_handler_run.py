"""Whatever a handler raises, returns or leaves behind costs its own message and nothing else."""

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from organism import Bounds, Context, Limits, Message, Organism, Text, To, agent
from organism.agents.agent import Agent
from organism.testing import ScriptedProvider, SequentialIds, VirtualClock, run

FOREVER = 10.0**9


class Box(Message, frozen=True):
    """A message that can hold anything."""

    items: Any


class BadText(Exception):  # noqa: N818 - a stranger's
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")

    __repr__ = __str__


def organism_of(*agents: Agent, **options: Any) -> Organism:
    return Organism(
        agents,
        models={"m": "s/x"},
        providers={"s": ScriptedProvider(["hi"])},
        limits=Limits(tokens=50_000),
        clock=VirtualClock(),
        ids=SequentialIds(),
        provider_kinds={"s": "local"},
        **{"bounds": Bounds(attempts=2, restarts=100)} | options,
    )


async def cost_of(handler: Callable[[Text, Context], Awaitable[Any]]) -> tuple[int, str, str]:
    """Run a handler beside a good one; return how often it ran, and the reason and detail of its dead letter."""
    runs = 0

    @agent(name="bad", peers=["good"])
    async def bad(message: Text, ctx: Context) -> Any:
        nonlocal runs
        runs += 1
        return await handler(message, ctx)

    @agent(name="good")
    async def good(message: Text, ctx: Context) -> Text:
        await anyio.sleep(0.01)
        return Text("fine")

    async with organism_of(bad, good) as it:
        results = []

        async def run_bad() -> None:
            results.append(await it.run("x", to="bad"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_bad)
            for _ in range(5):
                assert (await it.run("x", to="good")).outputs == (Text("fine"),)
        assert results[0].outcome == "failed"
        (letter,) = it.dead_letters()
        assert letter.envelope.recipient == "bad"
        assert (await it.run("x", to="good")).outcome == "completed"
        assert it.statistics().threads == 0
        return runs, letter.reason, letter.detail


def raises(error: Callable[[], BaseException]) -> Callable[[Text, Context], Awaitable[Any]]:
    async def handler(message: Text, ctx: Context) -> None:
        raise error()

    return handler


async def awaits_a_cancelled_task(message: Text, ctx: Context) -> None:
    helper = asyncio.get_running_loop().create_task(asyncio.sleep(10))
    helper.cancel()
    await helper


async def awaits_a_cancelled_future(message: Text, ctx: Context) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def gathers_a_cancelled_task(message: Text, ctx: Context) -> None:
    helper = asyncio.get_running_loop().create_task(asyncio.sleep(10))
    helper.cancel()
    await asyncio.gather(asyncio.sleep(0), helper)


async def cancels_itself(message: Text, ctx: Context) -> None:
    asyncio.current_task().cancel()  # type: ignore[union-attr]
    await asyncio.sleep(0)


async def cancels_itself_twice(message: Text, ctx: Context) -> None:
    for _ in range(2):
        asyncio.current_task().cancel()  # type: ignore[union-attr]
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        raise RuntimeError("in its place") from None


async def calls_itself(message: Text, ctx: Context) -> None:
    await calls_itself(message, ctx)


async def exits_in_a_task_group(message: Text, ctx: Context) -> None:
    async def exits() -> None:
        sys.exit(3)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(exits)


async def exits_in_a_task(message: Text, ctx: Context) -> None:
    async def exits() -> None:
        raise KeyboardInterrupt

    await asyncio.get_running_loop().create_task(exits())


async def exits_in_an_asyncio_group(message: Text, ctx: Context) -> None:
    async def exits() -> None:
        await asyncio.sleep(0)
        raise SystemExit("bye")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(exits())


@pytest.mark.parametrize(
    "handler",
    [
        *(
            pytest.param(raises(error), id=name)
            for name, error in {
                "ValueError": lambda: ValueError("no"),
                "CancelledError": asyncio.CancelledError,
                "SystemExit": lambda: SystemExit(3),
                "KeyboardInterrupt": KeyboardInterrupt,
                "GeneratorExit": GeneratorExit,
                "StopIteration": StopIteration,
                "StopAsyncIteration": StopAsyncIteration,
                "BaseException": lambda: BaseException("bare"),
                "group": lambda: BaseExceptionGroup("g", [SystemExit(1), ValueError()]),
                "cancelled group": lambda: BaseExceptionGroup("g", [asyncio.CancelledError()]),
                "MemoryError": MemoryError,
                "no text": BadText,
                "much text": lambda: ValueError("x" * 10_000_000),
                "half a pair": lambda: ValueError("\ud800"),
            }.items()
        ),
        awaits_a_cancelled_task,
        awaits_a_cancelled_future,
        gathers_a_cancelled_task,
        cancels_itself,
        cancels_itself_twice,
        calls_itself,
        exits_in_a_task_group,
        exits_in_a_task,
        exits_in_an_asyncio_group,
    ],
)
def test_whatever_a_handler_raises_is_a_failed_run_of_its_message(handler: Callable[..., Awaitable[Any]]) -> None:
    """Every exception, also one that no ``except Exception`` sees, is tried again and then a dead letter."""
    for seed in range(2):
        runs, reason, detail = run(cost_of, handler, seed=seed)
        assert (runs, reason) == (2, "handler_failed")
        assert 0 < len(detail) < 3000
        detail.encode()


def returns(value: Callable[[Text, Context], Any]) -> Callable[[Text, Context], Awaitable[Any]]:
    async def handler(message: Text, ctx: Context) -> Any:
        return value(message, ctx)

    return handler


def loop_of_lists() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def generated() -> Iterator[Text]:
    yield Text("x")


async def generated_later() -> AsyncIterator[Text]:
    yield Text("x")


class Impostor(Message, frozen=True, tag=7):
    """A message whose type on the wire is a number."""

    text: str = ""


OUTPUTS: dict[str, Callable[[Text, Context], Any]] = {
    "text": lambda message, ctx: "text",
    "a number": lambda message, ctx: 42,
    "bytes": lambda message, ctx: b"text",
    "a dict": lambda message, ctx: {"text": "x"},
    "a set": lambda message, ctx: {Text("x")},
    "a generator": lambda message, ctx: generated(),
    "an async generator": lambda message, ctx: generated_later(),
    "a type": lambda message, ctx: Text,
    "the context": lambda message, ctx: ctx,
    "texts": lambda message, ctx: ["a", "b"],
    "lists in a list": lambda message, ctx: [[Text("a")]],
    "itself": lambda message, ctx: loop_of_lists(),
    "text to somebody": lambda message, ctx: To("good", "text"),  # type: ignore[arg-type]
    "nothing to somebody": lambda message, ctx: To("good", None),  # type: ignore[arg-type]
    "to nobody": lambda message, ctx: To(None, Text("x")),  # type: ignore[arg-type]
    "to a list": lambda message, ctx: To(["good"], Text("x")),  # type: ignore[arg-type]
    "to a stranger": lambda message, ctx: To("stranger", Text("x")),
    "no text in Text": lambda message, ctx: Text(None),  # type: ignore[arg-type]
    "a number in Text": lambda message, ctx: Text(42),  # type: ignore[arg-type]
    "a list in Text": lambda message, ctx: Text(["x"]),  # type: ignore[arg-type]
    "half a surrogate pair": lambda message, ctx: Text("\ud800"),
    "an object": lambda message, ctx: Box(object()),
    "a circle": lambda message, ctx: Box(loop_of_lists()),
    "deep lists": lambda message, ctx: Box(nested(5000)),
    "lists too deep to be read back": lambda message, ctx: Box(nested(300)),
    "a type without a name": lambda message, ctx: Impostor("x"),
    "too large": lambda message, ctx: Text("x" * 2_000_000),
    "too many": lambda message, ctx: [Text("x")] * 100,
    "very many": lambda message, ctx: [Text("x")] * 1_000_000,
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.filterwarnings("ignore:.*never awaited")
def test_what_cannot_be_sent_is_a_failed_run_that_sends_nothing(output: Callable[[Text, Context], Any]) -> None:
    """Whatever a handler returns that is no message, or cannot be written and read back, becomes its dead letter."""
    _, reason, detail = run(cost_of, returns(output))
    assert reason in {"handler_failed", "not_deliverable"}
    assert len(detail) < 1000


def keeps(change: Callable[[Context], Any]) -> Callable[[Text, Context], Awaitable[Any]]:
    async def handler(message: Text, ctx: Context) -> None:
        change(ctx)

    return handler


def in_state(value: Any) -> Callable[[Context], Any]:
    return lambda ctx: ctx.state.__setitem__("key", value)


KEPT: dict[str, Callable[[Context], Any]] = {
    "an object": in_state(object()),
    "half a surrogate pair": in_state("\ud800"),
    "a circle": in_state(loop_of_lists()),
    "deep lists": in_state(nested(400)),
    "too much": in_state("x" * 17_000_000),
    "text that is said to be JSON": in_state(msgspec.Raw(b"no JSON")),
    "a key of lists": lambda ctx: cast("dict[Any, Any]", ctx.state).__setitem__((1, (2,)), 1),
    "a report of numbers": lambda ctx: ctx.report(1, 2),  # type: ignore[arg-type]
    "a report of bytes": lambda ctx: ctx.report(b"a", b"b"),  # type: ignore[arg-type]
    "an empty report": lambda ctx: ctx.report("", "x"),
    "a report of half a pair": lambda ctx: ctx.report("\ud800", "x"),
    "too many reports": lambda ctx: [ctx.report("a", "b") for _ in range(1000)],
    "too many messages": lambda ctx: [ctx.send("good", Text("x")) for _ in range(1000)],
    "a log line of what cannot be shown": lambda ctx: str(BadText()),
}


@pytest.mark.parametrize("change", KEPT.values(), ids=KEPT)
def test_what_cannot_be_kept_is_a_failed_run(change: Callable[[Context], Any]) -> None:
    """State that JSON cannot say, reports that are no few words, messages beyond the bound: a dead letter each."""
    _, reason, _ = run(cost_of, keeps(change))
    assert reason in {"handler_failed", "not_deliverable"}


LEFT: dict[str, Callable[[], Any]] = {}


def leaves(function: Callable[[], Any]) -> Callable[[], Any]:
    LEFT[function.__name__] = function
    return function


@leaves
async def a_cancel_scope() -> None:
    anyio.CancelScope().__enter__()


@leaves
async def a_deadline() -> None:
    anyio.move_on_after(0.005).__enter__()


@leaves
async def a_task_group() -> None:
    tasks = await anyio.create_task_group().__aenter__()
    tasks.start_soon(anyio.sleep, FOREVER)


@leaves
async def scopes_in_scopes() -> None:
    for shield in (False, True, False):
        anyio.CancelScope(shield=shield).__enter__()


@leaves
async def a_generator_with_a_scope() -> None:
    async def numbers() -> AsyncIterator[int]:
        with anyio.CancelScope():
            yield 1

    found = numbers()
    await anext(found)
    LEFT_OPEN.append(found)


LEFT_OPEN: list[Any] = []


@pytest.mark.parametrize("leave", LEFT.values(), ids=LEFT)
def test_scopes_left_open_are_a_failed_run_and_hit_no_other(leave: Callable[[], Awaitable[None]]) -> None:
    """A cancel scope or task group that a handler does not leave costs its message, not whatever runs next."""

    async def handler(message: Text, ctx: Context) -> None:
        await leave()

    for seed in range(3):
        _, reason, detail = run(cost_of, handler, seed=seed)
        assert reason == "handler_failed"
        assert "left a cancel scope" in detail


STRAY: dict[str, Callable[[], Any]] = {
    "a timer on its task": lambda: asyncio.get_running_loop().call_later(0.003, asyncio.current_task().cancel),  # type: ignore[union-attr]
    "a cancellation it did not wait for": lambda: asyncio.current_task().cancel(),  # type: ignore[union-attr]
    "two of them": lambda: [asyncio.current_task().cancel() for _ in range(2)],  # type: ignore[union-attr]
    "many timers": lambda: [
        asyncio.get_running_loop().call_later(wait / 1000, asyncio.current_task().cancel)  # type: ignore[union-attr]
        for wait in range(10)
    ],
}


@pytest.mark.parametrize("leave", STRAY.values(), ids=STRAY)
def test_cancellations_a_handler_leaves_behind_end_nobody_else_s_work(leave: Callable[[], Any]) -> None:
    """A cancellation that is still to come when its handler has returned may cost a run, and never a message."""

    @agent(name="bad")
    async def bad(message: Text, ctx: Context) -> Text:
        leave()
        return Text("done")

    @agent(name="good")
    async def good(message: Text, ctx: Context) -> Text:
        await anyio.sleep(0.002)
        return Text("fine")

    async def main() -> None:
        async with organism_of(bad, good, bounds=Bounds(attempts=5)) as it:
            for _ in range(10):
                assert (await it.run("x", to="bad")).outputs == (Text("done"),)
                assert (await it.run("x", to="good")).outputs == (Text("fine"),)
            assert it.dead_letters() == ()

    for seed in range(3):
        run(main, seed=seed)


async def swallows_everything() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await anyio.sleep(FOREVER)


async def shields_itself() -> None:
    with anyio.CancelScope(shield=True):
        await anyio.sleep(FOREVER)


async def cleans_up_for_ever() -> None:
    try:
        await anyio.sleep(FOREVER)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(FOREVER)


async def waits_on_a_shielded_future() -> None:
    while True:
        try:
            await asyncio.shield(asyncio.get_running_loop().create_future())
        except asyncio.CancelledError:
            continue


async def turns_it_into_another_error() -> None:
    try:
        await anyio.sleep(FOREVER)
    except asyncio.CancelledError:
        raise ValueError("not now") from None


STUBBORN = [
    swallows_everything,
    shields_itself,
    cleans_up_for_ever,
    waits_on_a_shielded_future,
    turns_it_into_another_error,
]


@pytest.mark.parametrize("refuse", STUBBORN, ids=[each.__name__ for each in STUBBORN])
def test_a_handler_that_does_not_end_when_cancelled_is_left_behind(refuse: Callable[[], Awaitable[None]]) -> None:
    """It costs its message its attempts, and the agent goes on with the next one."""

    @agent(name="bad", timeout_s=1)
    async def bad(message: Text, ctx: Context) -> Text:
        if message.text == "bad":
            await refuse()
        return Text("fine")

    async def main() -> None:
        async with organism_of(bad) as it:
            with anyio.fail_after(60):
                result = await it.run("bad")
                assert result.outcome == "failed"
                assert "took longer than 1 s" in it.dead_letters()[0].detail
                assert (await it.run("x")).outputs == (Text("fine"),)

    run(main)


@pytest.mark.parametrize("refuse", STUBBORN, ids=[each.__name__ for each in STUBBORN])
def test_a_handler_that_does_not_end_holds_up_no_stop(refuse: Callable[[], Awaitable[None]]) -> None:
    """The organism stops, and a thread is terminated, although a handler of it refuses to end."""

    @agent(name="bad")
    async def bad(message: Text, ctx: Context) -> None:
        await refuse()

    async def main() -> None:
        with anyio.fail_after(60):
            async with organism_of(bad) as it:
                first = await it.open_thread("x")
                await it.open_thread("x")
                await anyio.sleep(0.1)
                assert (await it.terminate(first)).outcome == "terminated"

    run(main)


def test_where_a_message_failed_is_said() -> None:
    """A dead letter names the line of the handler's code that raised, or that called what refused it."""

    @agent(name="bad", peers=[])
    async def bad(message: Text, ctx: Context) -> None:
        ctx.send("nobody", Text("x"))

    line = bad.handler.__code__.co_firstlineno + 2  # type: ignore[attr-defined]

    async def main() -> None:
        async with organism_of(bad) as it:
            await it.run("x")
            assert it.dead_letters()[0].where == f"{__file__}:{line}"

    run(main)


def test_a_message_is_a_copy_of_its_sender_s() -> None:
    """What a sender still does to a list that it has sent, its recipient does not see, nor does the journal."""

    @agent(name="a", next="b")
    async def a(message: Text, ctx: Context) -> Box:
        items: list[Any] = ["as sent"]
        asyncio.get_running_loop().call_later(0, items.append, object())
        return Box(items)

    @agent(name="b")
    async def b(message: Box, ctx: Context) -> Text:
        await anyio.sleep(1)
        return Text(str(message.items))

    async def main() -> None:
        async with organism_of(a, b) as it:
            assert (await it.run("x")).outputs == (Text("['as sent']"),)

    run(main)


def test_what_a_handler_does_to_its_message_is_seen_by_nobody_else() -> None:
    """Each recipient, each run and the dead letter have the message as it was sent, whatever a handler puts into it."""
    seen: list[Any] = []

    @agent(name="a", next=("b", "c"))
    async def a(message: Text, ctx: Context) -> Box:
        return Box(["as sent"])

    def spoiling(name: str) -> Agent:
        async def handler(message: Box, ctx: Context) -> None:
            seen.append(list(message.items))
            ctx.envelope.payload.items.append(object())  # type: ignore[attr-defined]
            message.items.append(object())
            raise ValueError("again")

        return Agent(name=name, handler=handler, accepts=(Box,))

    async def main() -> None:
        async with organism_of(a, spoiling("b"), spoiling("c")) as it:
            await it.run("x", to="a")
            assert {letter.envelope.payload for letter in map(shown_letter, it.dead_letters())} == {"['as sent']"}

    run(main)
    assert seen == [["as sent"]] * 4


def shown_letter(letter: Any) -> Any:
    return replace(letter, envelope=replace(letter.envelope, payload=str(letter.envelope.payload.items)))


def test_an_object_with_an_async_call_is_an_async_handler() -> None:
    """A callable object, a partial and a bound method of async code run in the event loop, plain ones on threads."""

    class Handler:
        async def __call__(self, message: Text, ctx: Context) -> Text:  # noqa: ARG002
            return Text("object")

        async def method(self, message: Text, ctx: Context) -> Text:  # noqa: ARG002
            return Text("method")

    async def partial(more: str, message: Text, ctx: Context) -> Text:
        return Text(more)

    made = [
        Agent(name="object", handler=Handler()),
        Agent(name="method", handler=Handler().method),
        Agent(name="partial", handler=functools.partial(partial, "partial")),
    ]

    async def main() -> None:
        async with organism_of(*made) as it:
            for each in made:
                assert (await it.run("x", to=each.name)).outputs == (Text(each.name),)

    run(main)


class BrokenIds(SequentialIds):
    """A part of organism that fails when it is asked for one message's id, as a defect would."""

    broken = False

    def next(self, prefix: str) -> str:
        if self.broken:
            self.broken = False
            raise ZeroDivisionError("a defect")
        return super().next(prefix)


@pytest.mark.parametrize("delay_s", [0.0, 1.0])
def test_a_defect_of_the_pump_costs_the_message_it_shows_on(delay_s: float) -> None:
    """When code of organism's own fails after a run, that message is a dead letter, and all else goes on."""
    ids = BrokenIds()

    @agent(name="a", next="b")
    async def a(message: Text, ctx: Context) -> None:
        ids.broken = message.text == "bad"
        ctx.send("b", Text("on"), delay_s=delay_s)

    @agent(name="b")
    async def b(message: Text, ctx: Context) -> Text:
        return Text("fine")

    async def main() -> None:
        it = Organism([a, b], clock=VirtualClock(), ids=ids)
        async with it:
            assert (await it.run("bad", to="a")).outcome == "failed"
            (letter,) = it.dead_letters()
            assert "a defect of organism: ZeroDivisionError" in letter.detail
            assert (await it.run("good", to="b")).outputs == (Text("fine"),)
            assert it.statistics().threads == 0

    run(main)
