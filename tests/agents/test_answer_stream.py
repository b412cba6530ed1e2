"""Answers read while they are written."""

from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, Context, Limits, Organism, Text, agent
from organism.testing import ScriptedProvider, VirtualClock, run


def spend(read: Any, **options: Any) -> tuple[Any, Organism, ScriptedProvider]:
    """Run a handler that reads a stream, and return what it answers, the organism and the bill."""

    @agent(timeout_s=30)
    async def reader(message: Text, ctx: Context) -> Text:
        return Text(str(await read(ctx)))

    provider = ScriptedProvider(["one two three"])

    async def main() -> tuple[str, Organism]:
        organism = Organism(
            [reader],
            models={"main": "s/any"},
            providers={"s": provider},
            provider_kinds={"s": "local"},
            clock=VirtualClock(),
            **options,
        )
        async with organism:
            return (await organism.run("x")).text, organism

    return *run(main), provider


def test_pieces_come_and_the_whole_after_the_last() -> None:
    """The pieces make the answer, which is held and charged like any other call."""

    async def read(ctx: Context) -> str:
        answer = ctx.llm.stream("write", max_output_tokens=20)
        pieces = [piece async for piece in answer]
        assert len(pieces) > 1
        assert "".join(pieces) == answer.completion.text
        assert [piece async for piece in answer] == []
        return answer.completion.text

    text, organism, provider = spend(read)

    assert text == "one two three"
    assert organism.usage.total.usage == provider.billed


def test_an_answer_that_is_given_up_is_charged() -> None:
    """Leaving the ``async with`` block cancels the call; what it may have cost is recorded."""

    async def read(ctx: Context) -> str:
        async with ctx.llm.stream("write", max_output_tokens=20) as answer:
            async for piece in answer:
                return piece
        return ""

    text, organism, provider = spend(read)

    assert text == "one"
    assert organism.usage.total.usage.total >= provider.billed.total > 0


async def read_all(ctx: Context) -> str:
    return "".join([piece async for piece in ctx.llm.stream("write", max_output_tokens=20)])


def test_a_refusal_reaches_the_reader() -> None:
    """A stream that does not fit the budget raises what a call raises, before anything leaves."""
    seen: list[BaseException] = []

    async def read(ctx: Context) -> str:
        try:
            return await read_all(ctx)
        except BudgetExhaustedError as error:
            seen.append(error)
            return "refused"

    text, _, provider = spend(read, limits=Limits(calls=0), on_exhausted="fail")

    assert (text, len(seen), provider.bill) == ("refused", 1, [])


def test_a_parked_stream_goes_on_after_a_raise() -> None:
    """In mode ``enforce`` the message waits as with any call, and the stream is read from its start again."""

    @agent
    async def reader(message: Text, ctx: Context) -> Text:
        return Text(await read_all(ctx))

    async def main() -> str:
        organism = Organism(
            [reader],
            models={"main": "s/any"},
            providers={"s": ScriptedProvider(["one two three"])},
            limits=Limits(calls=0),
            clock=VirtualClock(),
        )
        async with organism:
            thread = await organism.open_thread("x")
            with pytest.raises(BudgetExhaustedError, match="0 calls"):
                await organism.wait(thread)
            await organism.set_limits(thread, Limits(calls=1))
            return (await organism.wait(thread)).text

    assert run(main) == "one two three"


def test_a_stream_that_is_left_half_read_ends_with_its_handler() -> None:
    """Stopping without ``async with`` does not hold up the thread's end or leave anything held."""

    async def read(ctx: Context) -> str:
        async for piece in ctx.llm.stream("write", max_output_tokens=20):
            return piece
        return ""

    text, organism, _ = spend(read)

    assert text == "one"
    assert organism.budgets.open_holds() == ()


def test_several_streams_are_read_side_by_side() -> None:
    """Streams of one handler are calls of their own."""

    async def read(ctx: Context) -> str:
        texts: list[str] = []

        async def one() -> None:
            texts.append(await read_all(ctx))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one)
        return " / ".join(texts)

    text, _, provider = spend(read)

    assert (text, len(provider.bill)) == ("one two three / one two three / one two three", 3)
