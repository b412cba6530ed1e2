"""A start takes up what is open in slices: whoever shares the event loop goes on meanwhile."""

import anyio
import pytest

from organism import Context, Organism, Text, agent
from organism.testing.crashing_journal import CrashingJournal
from organism.testing.virtual_time import run

THREADS = 600


@pytest.fixture
def kept() -> CrashingJournal:
    """What an earlier process has left: many threads that wait for a person."""
    journal = CrashingJournal()

    async def main() -> None:
        async with organism_on(journal, []) as organism:
            for _ in range(THREADS):
                await organism.open_thread("x")
            while organism.statistics().blocked < THREADS:
                await anyio.sleep(0.1)

    run(main)
    return CrashingJournal(journal.kept)


def organism_on(journal: CrashingJournal, begun: list[str]) -> Organism:
    @agent()
    async def waits(message: Text, ctx: Context) -> Text:
        begun.append(ctx.thread_id)
        await ctx.approval("go on?")
        return message

    return Organism([waits], journal=journal)


def test_others_use_the_event_loop_while_threads_are_taken_up(kept: CrashingJournal) -> None:
    """No step of a start takes up more than a hundred threads, pieces or entries without giving way to others."""
    turns = 0

    async def main() -> int:
        async def other() -> None:
            nonlocal turns
            for _ in range(2000):
                turns += 1
                await anyio.sleep(0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            async with organism_on(kept, []) as organism:
                seen, blocked = turns, organism.statistics().blocked
            tasks.cancel_scope.cancel()
        assert blocked == THREADS
        return seen

    pieces = len(kept.load().pieces)
    assert run(main) >= pieces // 100


def test_handlers_that_go_on_do_not_all_begin_in_one_turn() -> None:
    """After a crash the handlers of many threads begin again a few at a time, so none of them stops everybody else."""

    async def dies() -> CrashingJournal:
        with anyio.CancelScope() as scope:
            journal = CrashingJournal(on_crash=scope.cancel)
            async with organism_on(journal, []) as organism:
                for _ in range(THREADS):
                    organism.pump.open_thread(Text("x"), "waits")
                journal._groups = journal.written + 1  # the threads are kept, and nothing that their handlers do
                await anyio.sleep_forever()
        return journal

    begun: list[str] = []
    most = 0

    async def goes_on() -> None:
        async def other() -> None:
            nonlocal most
            before = len(begun)
            for _ in range(2000):
                await anyio.sleep(0)
                most, before = max(most, len(begun) - before), len(begun)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            async with organism_on(CrashingJournal(left.kept), begun) as organism:
                while organism.statistics().blocked < THREADS:
                    await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()

    left = run(dies)
    run(goes_on)
    assert sorted(begun) == sorted(set(begun))
    assert len(begun) == THREADS
    assert most <= 100
