"""How agents are written: bare or with arguments, of functions and of objects, by type of message, tested alone."""

from typing import Any

import pytest

from organism import (
    Agent,
    BudgetWarning,
    ConfigError,
    Context,
    Limits,
    Message,
    Organism,
    Text,
    agent,
)
from organism.agents.agent import handler_of
from organism.testing import ScriptedProvider, VirtualClock, handle_message, run


class Order(Message, frozen=True):
    """Something to be fetched."""

    item: str


def test_decorator_works_bare_and_with_arguments() -> None:
    """``@agent`` and ``@agent()`` make the same agent."""

    @agent
    async def bare(message: Text, ctx: Context) -> None: ...

    @agent()
    async def called(message: Text, ctx: Context) -> None: ...

    assert (bare.name, bare.accepts) == ("bare", (Text,))
    assert (called.name, called.accepts) == ("called", (Text,))


@pytest.mark.anyio
async def test_a_decorated_agent_can_be_called() -> None:
    """A unit test calls an agent like the function it was."""

    @agent(next="critic")
    async def shout(message: Text, ctx: Context) -> Text:
        return Text(message.text.upper())

    assert await shout(Text("sea"), None) == Text("SEA")


def test_what_an_agent_depends_on_is_handed_in_at_construction() -> None:
    """An object with ``handle`` is an agent, with whatever its constructor was given."""

    class Reader:
        def __init__(self, pages: dict[str, str]) -> None:
            self.pages = pages

        async def handle(self, message: Text, _ctx: Context) -> Text:
            return Text(self.pages[message.text])

    reader = agent("reader")(Reader({"tides": "twice a day"}))

    async def test() -> None:
        assert (await handle_message(reader, "tides")).sent == (("user", Text("twice a day")),)

    run(test)


def clerk() -> Agent:
    @agent("clerk")
    async def handle(message: Text, ctx: Context) -> Text:
        return Text(f"text {message.text}")

    @handle.on(Order)
    async def order(message: Order, ctx: Context) -> Text:
        return Text(f"order {message.item}")

    return handle


@pytest.mark.parametrize(("message", "answer"), [(Text("a"), "text a"), (Order("b"), "order b")])
def test_messages_go_to_the_function_of_their_type(message: Message, answer: str) -> None:
    """``@agent.on(Type)`` takes messages of that type, and the agent's own handler all others."""

    async def test() -> None:
        assert (await handle_message(clerk(), message)).sent == (("user", Text(answer)),)

    run(test)


def test_warnings_reach_the_function_that_is_theirs() -> None:
    """An agent that handles ``BudgetWarning`` with a function of its own gets each threshold once."""
    told: list[int] = []

    @agent
    async def writer(message: Text, ctx: Context) -> Text:
        for _ in range(4):
            await ctx.llm.complete("write", max_output_tokens=4)
        return Text("done")

    @writer.on(BudgetWarning)
    async def note(message: BudgetWarning, ctx: Context) -> None:
        told.append(message.threshold)

    async def test() -> None:
        organism = Organism(
            [writer],
            models={"main": "s/any"},
            providers={"s": ScriptedProvider()},
            limits=Limits(calls=5),
            thresholds=(40, 80),
            clock=VirtualClock(),
        )
        async with organism:
            await organism.run("go")

    run(test)
    assert told == [40, 80]


def plain(message: Text, ctx: Context) -> None: ...


async def several(message: Text, ctx: Context, more: object) -> None: ...


@pytest.mark.parametrize(
    ("types", "function"),
    [((), clerk), ((str,), clerk), ((Text("x"),), clerk), ((Order,), plain), ((Order,), several), ((Order,), 5)],
    ids=["no type", "no message", "an instance", "a plain function", "too many parameters", "no function"],
)
def test_a_function_that_cannot_handle_a_type_is_refused(types: Any, function: Any) -> None:
    """What could never handle a message is an error where it is written."""
    with pytest.raises(ConfigError, match=r"clerk|no handler"):
        clerk().on(*types)(function)


def test_what_an_agent_sends_to_others_is_shown() -> None:
    """``handle_message`` shows what went to whom, what was spent, and why a handler failed."""

    @agent(next="critic")
    async def writer(message: Text, ctx: Context) -> Text:
        if message.text == "fail":
            raise ValueError("no good")
        return Text((await ctx.llm.complete(message.text, max_output_tokens=5)).text)

    async def test() -> None:
        handled = await handle_message(writer, "sea", answers=["blue"])
        assert handled.sent == (("critic", Text("blue")),)
        assert (handled.spent.calls, handled.error) == (1, None)
        assert "no good" in str((await handle_message(writer, "fail")).error)

    run(test)


def test_a_handle_that_cannot_be_had_is_a_mistake_of_the_configuration() -> None:
    """What asking for it raises is said; it neither ends ``organism check`` without a word nor looks like a defect."""

    class Exits:
        @property
        def handle(self) -> None:
            raise SystemExit(3)

    with pytest.raises(ConfigError, match=r"'handle' of .* cannot be had: SystemExit: 3"):
        handler_of(Exits())
