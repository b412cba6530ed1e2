"""W1 to W4 and W7: organism's own side, in memory and with the SQLite journal. Every thread has a budget."""

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from bench.stopwatch import Figures, Stopwatch, percentile
from organism import Bounds, Context, Limits, Organism, Text, agent
from organism.agents.agent import Agent
from organism.journal import Journal
from organism.stores.sqlite import SqliteJournal

LIMITS = Limits(tokens=100_000)
WIDE = Bounds(hops=1_000_000, fan_out=128, mailbox_messages=1_000_000, mailbox_bytes=1 << 30)
CHAIN = 10


@asynccontextmanager
async def running(
    agents: list[Agent], *, durable: bool = False, journal: Journal | None = None
) -> AsyncIterator[Organism]:
    """Run an organism, its journal in memory, in a file of its own, or the one that is given."""
    with tempfile.TemporaryDirectory() as folder:
        if durable:
            journal = SqliteJournal(Path(folder) / "journal.sqlite")
        options: dict[str, Any] = {} if journal is None else {"journal": journal}
        async with Organism(agents, limits=LIMITS, bounds=WIDE, **options) as organism:
            yield organism


def ping_pong(hops: int, *, durable: bool = False, journal: Journal | None = None) -> Figures:
    """W1: two agents hand one message to and fro."""

    async def handle(message: Text, ctx: Context) -> Text | None:
        return message if ctx.envelope.hops < hops else None

    agents = [agent("ping", next="pong")(handle), agent("pong", next="ping")(handle)]

    async def main() -> Figures:
        async with running(agents, durable=durable, journal=journal) as organism:
            with Stopwatch() as watch:
                await organism.run("go", to="ping")
            return watch.per(hops)

    return anyio.run(main)


def durable_ping_pong(hops: int) -> Figures:
    """W7: the same, with every message in the journal."""
    return ping_pong(hops, durable=True)


def chains(threads: int, *, durable: bool = False) -> Figures:
    """W2: many threads at once, each a message through ten agents."""

    async def handle(message: Text, _ctx: Context) -> Text:
        return message

    agents = [agent(f"a{n}", next=(f"a{n + 1}",) if n + 1 < CHAIN else ())(handle) for n in range(CHAIN)]

    async def main() -> Figures:
        async with running(agents, durable=durable) as organism:
            with Stopwatch() as watch:
                if durable:  # all at once, or each opening would wait for a commit of its own
                    async with anyio.create_task_group() as tasks:
                        for _ in range(threads):
                            tasks.start_soon(organism.open_thread, "go")
                else:
                    for _ in range(threads):
                        await organism.open_thread("go")
                assert await organism.drain(within_s=600)
            return watch.per(threads * CHAIN)

    return anyio.run(main)


def durable_chains(threads: int) -> Figures:
    """W7: the same, with every message in the journal."""
    return chains(threads, durable=True)


def fan_out(publishes: int) -> Figures:
    """W3: one publisher, a hundred subscribers; a figure for each message delivered."""

    @agent(peers=["*"])
    async def publisher(message: Text, ctx: Context) -> None:
        for n in range(100):
            ctx.send(f"s{n}", message)

    async def take(_message: Text, _ctx: Context) -> None:
        pass

    agents = [publisher, *(agent(f"s{n}")(take) for n in range(100))]

    async def main() -> Figures:
        async with running(agents) as organism:
            with Stopwatch() as watch:
                thread = await organism.open_thread("go")
                for _ in range(publishes - 1):
                    await organism.send(thread, "go")
                await organism.wait(thread)
            return watch.per(publishes * 100)

    return anyio.run(main)


def asks(count: int, at_once: int) -> Figures:
    """W4: questions and their answers, so many at a time."""
    took: list[float] = []

    @agent()
    async def answers(message: Text, _ctx: Context) -> Text:
        return message

    @agent(next="answers")
    async def asks_(message: Text, ctx: Context) -> None:
        async def one_after_another() -> None:
            for _ in range(count // at_once):
                began = time.perf_counter()
                await ctx.ask("answers", message)
                took.append((time.perf_counter() - began) * 1e6)

        async with anyio.create_task_group() as tasks:
            for _ in range(at_once):
                tasks.start_soon(one_after_another)

    async def main() -> Figures:
        async with running([asks_, answers]) as organism:
            with Stopwatch() as watch:
                await organism.run("go")
            return watch.per(count) | {"p50_us": percentile(took, 50), "p99_us": percentile(took, 99)}

    return anyio.run(main)


def asks_alone(count: int) -> Figures:
    """W4, one at a time."""
    return asks(count, 1)


def asks_together(count: int) -> Figures:
    """W4, a hundred at a time."""
    return asks(count, 100)
