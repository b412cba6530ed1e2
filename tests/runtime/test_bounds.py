"""Structural bounds hold: what costs nothing per turn never meets a budget, so it meets these."""

from typing import Any

import anyio
import pytest

from organism import Bounds, Context, Message, Organism, Text, To, agent
from organism.agents.agent import Agent
from organism.errors import MailboxFullError
from organism.testing import SequentialIds, VirtualClock, run
from organism.usage.events import DeadLetterEvent


def make(*agents: Agent, **options: Any) -> Organism:
    return Organism(agents, clock=VirtualClock(), ids=SequentialIds(), **options)


def test_thread_has_only_so_many_descendants() -> None:
    """Children count below their root, however deep and whether or not they have ended."""

    async def main() -> None:
        opened = 0

        @agent()
        async def leaf(message: Text, ctx: Context) -> None:
            nonlocal opened
            opened += 1

        @agent(peers=["leaf"])
        async def root(message: Text, ctx: Context) -> None:
            for _ in range(10):
                await ctx.spawn("leaf", Text("x"))

        organism = make(root, leaf, bounds=Bounds(descendants=4, attempts=1))
        letters: list[Any] = []
        organism.usage.subscribe(letters.append, DeadLetterEvent)
        async with organism:
            result = await organism.run("go")

        assert opened == 4
        assert result.outcome == "failed"
        assert "descendants" in letters[0].detail

    run(main)


def test_small_message_does_not_overtake_a_large_one_before_a_full_mailbox() -> None:
    """What finds room stands behind what an agent has sent before it and finds none: their order is kept."""

    async def main() -> None:
        handled: list[int] = []

        @agent()
        async def slow(message: Text, ctx: Context) -> None:
            await anyio.sleep(1)
            handled.append(len(message.text))

        @agent(peers=["slow"])
        async def source(message: Text, ctx: Context) -> list[To]:
            return [To("slow", Text("x" * size)) for size in (1_001, 1_002, 4_000, 10, 11)]

        organism = make(source, slow, bounds=Bounds(mailbox_bytes=5_000))
        async with organism:
            await organism.run("go", to="source")

        assert handled == [1_001, 1_002, 4_000, 10, 11]

    run(main)


def test_mailbox_is_bounded_by_bytes_too() -> None:
    """Few large messages fill a mailbox as many small ones do; one larger than all of it still gets in alone."""

    async def main() -> None:
        handled: list[int] = []

        @agent()
        async def slow(message: Message, ctx: Context) -> None:
            await anyio.sleep(1)
            handled.append(len(getattr(message, "text", "")))

        organism = make(slow, bounds=Bounds(mailbox_messages=1000, mailbox_bytes=5000))
        async with organism:
            for _ in range(4):
                await organism.open_thread(Text("x" * 1000))
            with pytest.raises(MailboxFullError, match="full"):
                await organism.open_thread(Text("x" * 1000))
            assert organism.statistics().mailboxes["slow"].size <= 5000
            await anyio.sleep(5)
            await organism.open_thread(Text("x" * 9000))
            await anyio.sleep(5)

        assert handled == [1000] * 4 + [9000]

    run(main)
