"""A start takes up what is open in slices, and others use the event loop meanwhile."""

from itertools import pairwise

import anyio
import anyio.lowlevel

from organism import Context, Organism, Text, agent
from organism.testing.crashing_journal import CrashingJournal
from organism.testing.virtual_time import run

THREADS = 400


@agent()
async def waits(message: Text, ctx: Context) -> Text:
    await ctx.approval("go on?")
    return message


def test_others_use_the_event_loop_while_threads_are_taken_up() -> None:
    """Between two turns of somebody else's a start takes up a part of the threads only, however many are open."""
    journal = CrashingJournal()
    taken_up = [0]

    async def leave() -> None:
        async with Organism([waits], journal=journal) as organism:
            for _ in range(THREADS):
                await organism.open_thread("x")

    async def main() -> None:
        organism = Organism([waits], journal=CrashingJournal(journal.kept))

        async def other() -> None:
            while taken_up[-1] < THREADS:  # a start that takes up none is ended below, and found by its figure
                await anyio.lowlevel.checkpoint()
                taken_up.append(len(organism.pump.open_threads.by_id))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            async with organism:
                tasks.cancel_scope.cancel()

    run(leave)
    run(main)
    assert taken_up[-1] == THREADS
    assert max(later - earlier for earlier, later in pairwise(taken_up)) <= THREADS // 4
