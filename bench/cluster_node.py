"""A process that does model calls for ``bench.cluster``, and prints how many a second: a node, or one alone.

``python -m bench.cluster_node PLACE NAME SHARE BEGIN SECONDS WORK``: PLACE is a database, or a folder for a
journal in a file; SHARE partitions are waited for, 0 for an organism alone; the count begins at BEGIN, seconds since
the Unix epoch; WORK is ``writer`` for a thread with a paid call, ``link0`` for one that goes through ten agents.
"""

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from bench.messages_ours import CHAIN, LIMITS, WIDE
from organism import Context, Organism, Text, agent
from organism.cluster.lease_times import PartitionElsewhereError
from organism.cluster.node import ClusterNode
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider
from organism.usage.event_log import Store

PARTITIONS = 6
AT_ONCE = 128

Work = Callable[[], Awaitable[object]]


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Make one call, held on its thread and settled."""
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


@agent()
async def asker(_message: Text, ctx: Context) -> Text:
    """Wait for a person."""
    return Text(str((await ctx.approval("go on?")).allowed))


@agent()
async def link(message: Text, _ctx: Context) -> Text:
    """Hand on."""
    return message


LINKS = [
    agent(f"link{number}", next=f"link{number + 1}" if number < CHAIN - 1 else ())(link.handler)
    for number in range(CHAIN)
]


def organism(journal: Store | None = None) -> Organism:
    """Return an organism whose provider answers at once, so that everything measured is our own."""
    return Organism(
        [writer, asker, *LINKS],
        name="bench",
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["done"])},
        provider_kinds={"scripted": "local"},
        limits=LIMITS,
        bounds=WIDE,
        journal=journal,
    )


@asynccontextmanager
async def running(place: str, name: str, share: int, to: str) -> AsyncIterator[Work]:
    """Run a node or an organism alone, and yield what does one thread from its beginning to its end."""
    if share:
        async with ClusterNode(organism(), place, node=name, partitions=PARTITIONS) as node:
            while len(node.organisms) != share:  # noqa: ASYNC110 - nodes tell nobody of what they do
                await anyio.sleep(0.05)

            async def through_node() -> None:
                await node.wait(await node.open_thread("go", to=to))

            yield through_node
        return
    if place.startswith("postgresql:"):
        from organism.stores.postgres.postgres_journal import PostgresJournal

        journal: Store = PostgresJournal(place, name="bench")
    else:
        journal = SqliteJournal(Path(place) / "journal.db")
    async with organism(journal) as alone:

        async def through_organism() -> None:
            await alone.wait(await alone.open_thread("go", to=to))

        yield through_organism


async def main(place: str, name: str, share: int, begin_s: float, for_s: float, to: str) -> None:
    """Do threads one after the other, many at a time, and count those that end in the time."""
    done = 0

    async def some() -> None:
        nonlocal done
        while time.time() < begin_s + for_s:
            try:
                await work()
            except PartitionElsewhereError:  # it has just moved to a node that joined
                await anyio.sleep(0.05)
                continue
            done += begin_s <= time.time() < begin_s + for_s

    async with running(place, name, share, to) as work:
        late_s = time.time() - begin_s
        cpu = 0.0
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(some)
            await anyio.sleep(max(0.0, -late_s))
            cpu = time.process_time()
            await anyio.sleep(for_s)
            cpu = time.process_time() - cpu
        # Named, because log lines go to the same stream and may come after it.
        print("figure:", done / for_s if late_s < 0 else "late", cpu / for_s, flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]), sys.argv[6])
