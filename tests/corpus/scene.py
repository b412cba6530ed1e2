"""Writes a journal with a bit of everything, by whichever organism is found: run by programs of any version.

``PYTHONPATH=<an older checkout> python tests/corpus/scene.py journal.db``
"""

# Only names that every version since the first journal has, and the rest only where it is there.

import asyncio
import sys
from pathlib import Path
from typing import Any

from organism import Context, Limits, Organism, Text
from organism.agents.agent import Agent
from organism.stores.sqlite import SqliteJournal


def words(_request: Any) -> str:
    """Answer."""
    return "some words of an answer"


async def writer(message: Text, ctx: Context) -> Any:
    """Pay, and leave something of every kind behind."""
    await ctx.llm.complete(message.text, max_output_tokens=20)
    kind = message.text
    if kind == "fail":
        raise ValueError("as it was told to")
    if kind == "approve":
        await ctx.approval("may I?", "it costs")
    if kind == "more" and hasattr(ctx, "request_budget"):
        await ctx.request_budget(tokens=500, reason="more to say")
    if kind == "spawn":
        await ctx.spawn("critic", Text("approve"), limits=Limits(tokens=400))
    if kind == "later":
        ctx.send("critic", Text("late"), delay_s=100_000.0)
    if kind == "charge" and hasattr(ctx, "charge"):
        await ctx.charge(usd="0.25", what="search")
    return Text(f"{kind}: done")


async def critic(message: Text, ctx: Context) -> Any:
    """Remember, and wait for a person where that is asked."""
    ctx.state["heard"] = message.text
    await ctx.llm.complete(message.text, max_output_tokens=10)
    if message.text == "approve":
        await ctx.approval("is it right?")
    return Text("heard")


def an_organism(path: Path, provider: Any) -> Organism:
    """Return one that keeps, or takes up, a journal."""
    return Organism(
        [Agent(name="writer", handler=writer), Agent(name="critic", handler=critic)],
        models={"main": "up/m"},
        providers={"up": provider},
        provider_kinds={"up": "local"},
        limits=Limits(tokens=2_000),
        journal=SqliteJournal(path),
        name="corpus",
    )


async def write(path: Path) -> None:
    """Write the journal: threads that are over, and threads that wait for a person, for budget and for a time."""
    from organism.testing import ScriptedProvider

    async with an_organism(path, ScriptedProvider(words)) as organism:
        for kind in ("plain", "fail", "approve", "more", "spawn", "later", "charge"):
            await organism.open_thread(Text(kind), thread_id=f"t-{kind}", labels={"team": kind})
        await organism.open_thread(Text("plain"), thread_id="t-poor", limits=Limits(tokens=12))
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
