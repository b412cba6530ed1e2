"""Whoever listens, and however wrongly: no call fails for it, nothing ends, and its failures are told by its name."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from organism import Limits, Organism, Text, UsageEvent, agent
from organism.agents.context import Context
from organism.messages import as_text
from organism.testing import ScriptedProvider, VirtualClock, run
from organism.usage.activity import ActivityFeed
from organism.usage.events import AnyEvent, ThreadClosed
from organism.usage.tracker import UsageTracker


@agent()
async def caller(message: Text, ctx: Context) -> Text:
    """Make one call."""
    return Text((await ctx.llm.complete(message.text, max_output_tokens=20)).text)


def organism() -> Organism:
    return Organism(
        [caller],
        models={"m": "p/m"},
        providers={"p": ScriptedProvider(["fine"], name="p")},
        limits=Limits(tokens=50_000),
        clock=VirtualClock(),
    )


async def later(_event: AnyEvent) -> None:
    """Never run by anybody."""


def yielding(_event: AnyEvent) -> Any:
    yield


class AsyncObject:
    """An object that is called like an async function."""

    async def __call__(self, _event: AnyEvent) -> None:
        """Never run by anybody."""


WRONG: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("UsageEvent",), {}),
    ((3,), {}),
    ((None,), {}),
    ((int,), {}),
    ((object(),), {}),
    (([UsageEvent],), {}),
    ((UsageEvent, print), {}),
    ((print, "UsageEvent"), {}),
    ((print, print), {}),
    ((later,), {}),
    ((partial(later),), {}),
    ((AsyncObject(),), {}),
    ((AsyncObject,), {}),
    ((yielding,), {}),
    ((), {"thread_id": 3}),
    ((print,), {"thread_id": b"t"}),
    ((), {"capacity": "5"}),
    ((), {"capacity": True}),
    ((), {"capacity": 1.5}),
]


@pytest.mark.parametrize(("args", "named"), WRONG)
def test_what_cannot_listen_is_refused_at_once(args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """A wrong argument is an error where it was written, and not one where an event comes."""
    tracker = UsageTracker()

    with pytest.raises(
        TypeError,
        match=r"is a function|async or a generator|no kind of event|thread_id is the id|is a number of events",
    ):
        tracker.subscribe(*args, **named)

    assert tracker.statistics().subscribers == tracker.statistics().callbacks == 0


@pytest.mark.parametrize("capacity", [0, -1])
def test_reader_may_be_behind_by_at_least_one(capacity: int) -> None:
    """A capacity that no event fits into is refused."""
    with pytest.raises(ValueError, match="at least 1"):
        UsageTracker().subscribe(capacity=capacity)


@pytest.mark.parametrize("wrong", [None, 3, print, "x"])
def test_only_what_subscribe_has_returned_can_be_ended(wrong: Any) -> None:
    """Ending something else is an error, and not silently nothing."""
    with pytest.raises(TypeError, match="subscribe"):
        UsageTracker().unsubscribe(wrong)


@pytest.mark.parametrize("observer", [3, None, later, yielding, AsyncObject()])
def test_what_cannot_observe_is_refused_at_once(observer: Any) -> None:
    """The same holds for those who observe activity."""
    with pytest.raises(TypeError, match=r"a listener is a function|async or a generator"):
        ActivityFeed().observe(observer)


@pytest.mark.parametrize("how", ["function", "kinds", "union", "method", "object", "thread"])
def test_function_is_called_with_each_event_it_wants(how: str) -> None:
    """A callback given to subscribe hears what it asks for until it is ended, twice if need be."""

    async def main() -> None:
        has_subscribers: list[Any] = []
        async with organism() as it:
            usage = it.usage
            match how:
                case "kinds":
                    stop = usage.subscribe(has_subscribers.append, UsageEvent, ThreadClosed)
                case "union":
                    stop = usage.subscribe(has_subscribers.append, UsageEvent | ThreadClosed)  # type: ignore[arg-type]
                case "object":
                    stop = usage.subscribe(
                        type("L", (), {"__call__": lambda _self, event: has_subscribers.append(event)})()
                    )
                case "thread":
                    stop = usage.subscribe(has_subscribers.append, thread_id="th-1")
                case _:
                    stop = usage.subscribe(has_subscribers.append)
            await it.wait(await it.open_thread("hello", thread_id="th-1"))
            await it.run("hello")
            usage.unsubscribe(stop)
            stop()
            count = len(has_subscribers)
            await it.run("hello")
        kinds = {type(event) for event in has_subscribers}
        assert {UsageEvent, ThreadClosed} <= kinds
        assert len(has_subscribers) == count
        if how in {"kinds", "union"}:
            assert kinds == {UsageEvent, ThreadClosed}
        if how == "thread":
            assert {event.root_thread_id for event in has_subscribers} == {"th-1"}

    run(main)


def raising(error: BaseException | type[BaseException]) -> Callable[[Any], None]:
    def listener(_event: Any) -> None:
        raise error

    return listener


class HostileError(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise SystemExit


class Hostile:
    """A listener whose name cannot be had."""

    def __getattr__(self, name: str) -> Any:
        raise SystemExit(name)

    def __call__(self, _event: Any) -> None:
        raise ValueError("no")


LISTENERS: dict[str, Any] = {
    "an error": raising(ValueError("no")),
    "SystemExit": raising(SystemExit(3)),
    "KeyboardInterrupt": raising(KeyboardInterrupt),
    "CancelledError": raising(asyncio.CancelledError),
    "GeneratorExit": raising(GeneratorExit),
    "a group": raising(BaseExceptionGroup("two", [SystemExit(1), ValueError("x")])),
    "no text": raising(HostileError()),
    "no name": Hostile(),
    "a coroutine": lambda event: [later(event)][0],
    "a future": lambda _event: asyncio.get_running_loop().create_future(),
    "endless recursion": lambda event: LISTENERS["endless recursion"](event) or None,
}


@pytest.mark.parametrize("what", LISTENERS)
@pytest.mark.parametrize("place", ["usage", "activity"])
def test_no_listener_fails_a_call(what: str, place: str) -> None:
    """Whatever a listener raises or returns: calls are answered, other listeners hear all, and the log has its name."""

    async def main() -> None:
        has_subscribers: list[Any] = []
        it = organism()
        if place == "usage":
            it.usage.subscribe(LISTENERS[what])
        else:
            it.activity.observe(LISTENERS[what])
        it.usage.subscribe(has_subscribers.append, UsageEvent)
        with capture_logs() as logs:
            async with it:
                for _ in range(8):
                    assert as_text((await it.run("hello")).outputs[-1]) == "fine"
        assert len(has_subscribers) == 8
        failed = [line for line in logs if line["event"] in {"callback_failed", "observer_failed"}]
        assert failed
        assert failed[0]["callback"]
        assert len(failed) <= 6, "a failure each time is no line each time"
        assert [line["errors"] for line in failed] == [2**power for power in range(len(failed))]

    run(main)


def test_listener_may_end_and_begin_listening_while_it_is_told() -> None:
    """Ending oneself, ending another and beginning anew within a callback all take effect with the next event."""

    async def main() -> None:
        has_subscribers: list[str] = []
        async with organism() as it:
            usage = it.usage

            def first(_event: AnyEvent) -> None:
                has_subscribers.append("first")
                stop_first()
                stop_second()
                usage.subscribe(lambda _event: has_subscribers.append("third"), ThreadClosed)

            def second(_event: AnyEvent) -> None:
                has_subscribers.append("second")

            stop_first = usage.subscribe(first, ThreadClosed)
            stop_second = usage.subscribe(second, ThreadClosed)
            await it.run("hello")
            assert has_subscribers == ["first"]
            await it.run("hello")
            assert has_subscribers == ["first", "third"]
            assert usage.statistics().callbacks == it.usage.statistics().callbacks

    run(main)


@pytest.mark.parametrize("callers", [1, 2, 3])
def test_listener_that_causes_events_is_not_told_of_them_without_end(callers: int) -> None:
    """Callbacks that cause an event within an event come to an end, and the others hear each of them."""

    async def main() -> None:
        has_subscribers: list[Any] = []
        async with organism() as it:
            for _ in range(callers):
                it.usage.subscribe(partial(it.usage.publish), UsageEvent)
            it.usage.subscribe(has_subscribers.append, UsageEvent)
            assert as_text((await it.run("hello")).outputs[-1]) == "fine"
        assert len(has_subscribers) > callers

    run(main)


def test_subscription_that_nobody_reads_holds_up_nothing() -> None:
    """A reader that never comes is cut off; calls go on."""

    async def main() -> None:
        async with organism() as it:
            slow = it.usage.subscribe(capacity=1)
            for _ in range(3):
                await it.run("hello")
            assert it.usage.statistics().cut_off == 1
            it.usage.unsubscribe(slow)

    run(main)
