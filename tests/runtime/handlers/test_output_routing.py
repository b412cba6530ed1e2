"""To whom an agent may write: what was allowed once is remembered, and stands for nothing else."""

import tracemalloc
from collections.abc import Iterator
from itertools import repeat

import pytest

from organism import Bounds, Context, Limits, Organism, Text, agent
from organism.errors import PeerError, UnknownRecipientError
from organism.testing import VirtualClock, run


def test_what_may_be_sent_is_not_what_may_be_asked() -> None:
    """Every agent may write to users and answer, with no permission; that lets it ask neither, however often it did."""
    refused: list[str] = []

    @agent(peers=("told",))
    async def asks(message: Text, ctx: Context) -> Text:
        for _ in range(2):
            assert await ctx.ask("told", Text("a question")) == Text("an answer")
        return Text("done")

    @agent
    async def told(message: Text, ctx: Context) -> Text:
        if message.text != "a question":
            with pytest.raises(PeerError, match="may not write to 'asks'"):
                await ctx.ask("asks", Text("back"))
            with pytest.raises(UnknownRecipientError, match="'user'"):
                await ctx.ask("user", Text("back"))
            refused.append(message.text)
        return Text("an answer")

    async def main() -> None:
        async with Organism([asks, told], limits=Limits(tokens=1000), clock=VirtualClock()) as running:
            assert (await running.run("go", to="asks")).text == "done"
            for _ in range(2):
                assert (await running.run("again", to="told")).text == "an answer"
        assert refused == ["again", "again"]

    run(main)


def test_what_is_published_to_nobody_is_not_kept() -> None:
    """No bound counts it, so nothing of it may stay: a handler that goes round would fill the memory."""
    kept: list[int] = []

    @agent()
    async def publisher(message: Text, ctx: Context) -> Text:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1_000):
            ctx.publish(Text(f"{number} {'x' * 100}"))
        kept.append(tracemalloc.get_traced_memory()[0] - before)
        return message

    async def main() -> None:
        async with Organism([publisher], limits=Limits(tokens=1000), bounds=Bounds(fan_out=2)) as running:
            assert (await running.run("go")).text == "go"
            assert (await running.run("go")).text == "go"

    tracemalloc.start()
    try:
        run(main)
    finally:
        tracemalloc.stop()
    assert kept[1] < 20_000


def test_a_message_to_several_is_several_for_the_bound() -> None:
    """The bound counts the messages that go out, and a handler that exceeds it has sent nothing."""
    got: list[str] = []

    @agent(next=("one", "two"), peers=("one",))
    async def publisher(message: Text, ctx: Context) -> Text:
        if message.text == "too many":
            ctx.send("one", message)
        return message

    @agent
    async def one(message: Text, ctx: Context) -> None:
        got.append(message.text)

    @agent
    async def two(message: Text, ctx: Context) -> None:
        got.append(message.text)

    async def main() -> None:
        bounds = Bounds(fan_out=2)
        async with Organism([publisher, one, two], limits=Limits(tokens=1000), bounds=bounds) as running:
            await running.run("fits", to="publisher")
            assert got == ["fits", "fits"]
            result = await running.run("too many", to="publisher")
            assert result.outcome == "failed"
            assert "'fan_out' is 2" in (result.reason or "")
        assert got == ["fits", "fits"]

    run(main)


def test_a_list_that_never_ends_costs_its_own_message() -> None:
    """A list of the handler's own kind may say one length and go on for ever: it is read no further than the bound."""

    class Endless(list[Text]):
        def __iter__(self) -> Iterator[Text]:
            return repeat(Text("again"))

    @agent
    async def repeater(message: Text, ctx: Context) -> list[Text]:
        return Endless([Text("once")])

    @run
    async def _() -> None:
        async with Organism([repeater], clock=VirtualClock(), bounds=Bounds(attempts=1)) as running:
            assert "'fan_out' is 64" in ((await running.run("go")).reason or "")
