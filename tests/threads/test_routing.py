"""Who may write what to whom."""

from typing import Any

import pytest

from organism import AgentFailed, BudgetWarning, Context, Message, Organism, Text, agent
from organism.errors import ReservedMessageError, UnknownRecipientError
from organism.testing import SequentialIds, VirtualClock, run

WARNING = BudgetWarning("thread:t", "tokens", 95, "final", 100, 95)
FAILED = AgentFailed("a", "msg_1", "no")


class Derived(BudgetWarning, frozen=True):
    """A warning by inheritance."""


class Namesake(Message, frozen=True, tag="AgentFailed"):
    """A message that is called like one of the runtime's on the wire."""

    agent: str = "a"
    message_id: str = "m"
    reason: str = "no"


FORGED = [WARNING, FAILED, Derived("thread:t", "tokens", 95, "final", 100, 95), Namesake()]


@agent(name="victim")
async def victim(message: Message, ctx: Context) -> Text:
    return Text(f"saw {type(message).__name__}")


async def outcome_of(act: Any) -> tuple[str, ...]:
    @agent(name="forger", peers=["victim"])
    async def forger(message: Text, ctx: Context) -> Any:
        return await act(ctx)

    async with Organism([forger, victim], clock=VirtualClock(), ids=SequentialIds()) as it:
        result = await it.run("x", to="forger")
        return tuple(letter.detail for letter in it.dead_letters()) + tuple(map(str, result.outputs))


WAYS: dict[str, Any] = {
    "send": lambda message: lambda ctx: nothing(ctx.send("victim", message)),
    "publish": lambda message: lambda ctx: nothing(ctx.send("victim", message, delay_s=1)),
    "ask": lambda message: lambda ctx: ctx.ask("victim", message),
    "spawn": lambda message: lambda ctx: ctx.spawn("victim", message),
    "gather": lambda message: lambda ctx: ctx.gather([("victim", message)]),
}


async def nothing(_done: None) -> None:
    return None


@pytest.mark.parametrize("message", FORGED, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_agent_passes_for_the_runtime(way: Any, message: Message) -> None:
    """A message of the runtime's types is refused between agents, in every way of sending, and by any disguise."""
    (detail,) = run(outcome_of, way(message))
    assert "only the runtime sends" in detail


@pytest.mark.parametrize("message", FORGED, ids=lambda message: type(message).__name__)
def test_nobody_outside_passes_for_the_runtime(message: Message) -> None:
    """Neither a new thread nor an open one takes a message of the runtime's types from outside."""

    @agent(name="waits")
    async def waits(message: Message, ctx: Context) -> None:
        await ctx.approval("go on")

    async def main() -> None:
        async with Organism([waits], clock=VirtualClock(), ids=SequentialIds()) as it:
            with pytest.raises(ReservedMessageError, match="only the runtime sends"):
                await it.open_thread(message)
            opened = await it.open_thread("x")
            with pytest.raises(ReservedMessageError, match="only the runtime sends"):
                await it.send(opened, message)
            assert it.statistics().threads == 1

    run(main)


def test_an_answer_may_be_of_any_type() -> None:
    """Who asks gets a value, which nobody takes for the runtime's word; and what goes to the user is only shown."""

    @agent(name="asks", peers=["answers"])
    async def asks(message: Text, ctx: Context) -> Message:
        return await ctx.ask("answers", message)

    @agent(name="answers")
    async def answers(message: Text, ctx: Context) -> BudgetWarning:
        return WARNING

    async def main() -> None:
        async with Organism([asks, answers], clock=VirtualClock(), ids=SequentialIds()) as it:
            assert (await it.run("x")).outputs == (WARNING,)

    run(main)


@pytest.mark.parametrize("way", ["ask", "spawn"])
def test_the_user_is_nobody_to_give_work_to(way: str) -> None:
    """`user` can be sent to, but neither asked nor spawned for: the handler is told, and no thread is left."""

    async def act(ctx: Context) -> None:
        with pytest.raises(UnknownRecipientError, match="there is no agent"):
            await getattr(ctx, way)("user", Text("x"))

    assert run(outcome_of, act) == ()
