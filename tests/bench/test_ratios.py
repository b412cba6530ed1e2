"""Nothing has become many times slower: ratios to floors measured in the same process, never times of this machine."""

import gc
import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from bench import budgets_ours, calls, floors, messages_ours
from bench.bytecodes import count
from bench.catalog import WORKLOADS
from bench.stopwatch import Figures, Stopwatch
from organism import Bounds, Context, Limits, Organism, Text, agent
from organism.journal import DropThread, Keep
from organism.stores.batch import batch_of
from organism.stores.sqlite import SqliteJournal

pytestmark = pytest.mark.thorough


def _best(side: Callable[[int], Figures], size: int) -> float:
    """Return the least time of the processor for one item, in microseconds: what others disturb least.

    What other tests have left in this process is kept from the garbage collector, which would look through it.
    """
    gc.collect()
    gc.freeze()
    try:
        return min(side(size)["cpu_us"] for _ in range(3))
    finally:
        gc.unfreeze()


def test_a_hop_costs_no_more_than_a_few_hops_through_a_queue() -> None:
    """A message handed to an agent, with budget, bounds and journal, costs less than 9 times a bare asyncio queue."""
    assert _best(messages_ours.ping_pong, 3000) < 9 * _best(floors.queue_ping_pong, 3000)


def test_a_hop_and_a_question_are_made_of_few_instructions() -> None:
    """What the clock of a busy machine hides is counted: the bytecode instructions of a hop and of a question."""
    hop = sum(part.instructions for part in count(messages_ours.ping_pong, 100).values())
    question = sum(part.instructions for part in count(messages_ours.asks_alone, 100).values())
    assert 0 < hop < 1370
    assert hop < question < 3270


def test_a_hold_and_a_call_are_made_of_few_instructions() -> None:
    """A hold with its settlement, each further scope of it, and all that organism does for a call stay small."""
    hold = sum(part.instructions for part in count(budgets_ours.on_one_thread, 100).values())
    nested = sum(part.instructions for part in count(budgets_ours.nested, 100).values())
    call = sum(part.instructions for part in count(calls.without_network, 20).values())
    assert 0 < hold < 2000
    assert hold < nested < 2.5 * hold
    assert 0 < call < 14_700


def test_the_way_through_the_gateway_is_made_of_few_instructions() -> None:
    """The gate, the format, who pays and the answer come to less than two thirds of what the call itself takes."""
    call = sum(part.instructions for part in count(calls.without_network, 5).values())
    through = sum(part.instructions for part in count(calls.through_gateway, 5).values())
    assert call < through < call * 5 // 3
    assert through < 21_000


def test_a_commit_to_a_file_is_made_of_few_instructions(tmp_path: Path) -> None:
    """What a call waits for twice: to the journal's thread and back, without a turn or a scope that is not needed."""

    async def commits(of: int) -> None:
        async with SqliteJournal(tmp_path / f"{uuid.uuid4()}.db") as journal:
            for number in range(of):
                journal.append(Keep(f"output:{number}", "thread", Text("x")))
                await journal.commit()

    def side(size: int) -> Figures:
        anyio.run(commits, size)
        return {}

    commit = sum(part.instructions for part in count(side, 50).values())
    assert 0 < commit < 1950


def test_the_cost_of_a_message_does_not_grow_with_the_number_of_threads() -> None:
    """A message among a thousand threads costs less than twice what it costs among a hundred."""
    assert _best(messages_ours.chains, 1000) < 2 * _best(messages_ours.chains, 100)


def test_the_cost_of_a_question_does_not_grow_with_the_number_asked_before() -> None:
    """A handler's two-thousandth question costs less than twice its two-hundredth."""
    assert _best(messages_ours.asks_alone, 2000) < 2 * _best(messages_ours.asks_alone, 200)


def test_the_cost_of_a_commit_does_not_grow_with_the_number_of_threads_that_end_in_it() -> None:
    """A thread that ends between two commits costs less than four times as much among twenty times as many."""

    def write(threads: int) -> Figures:
        names = [str(number) for number in range(threads)]
        kept = [Keep(f"output:{name}:{n}", name, Text("x")) for name in names for n in range(5)]
        records = [*kept, *map(DropThread, names)]
        with Stopwatch() as watch:
            batch_of(records)
        return watch.per(threads)

    assert _best(write, 2000) < 4 * _best(write, 100)


def test_the_cost_of_a_start_grows_evenly_with_the_open_threads(tmp_path: Path) -> None:
    """A thread that waits in the journal costs a start as much among many as among few."""

    @agent()
    async def asks(_message: Text, ctx: Context) -> None:
        await ctx.approval("go on?")

    async def open_and_take_up(threads: int) -> None:
        path, wide = tmp_path / f"{uuid.uuid4()}.db", Bounds(mailbox_messages=10_000)
        for opens in (True, False):
            async with Organism([asks], journal=SqliteJournal(path), limits=Limits(tokens=9), bounds=wide) as organism:
                async with anyio.create_task_group() as tasks:
                    for _ in range(threads if opens else 0):
                        tasks.start_soon(organism.open_thread, "x")
                await organism.drain(within_s=60)
                assert len(organism.threads()) == threads

    def side(threads: int) -> Figures:
        anyio.run(open_and_take_up, threads)
        return {}

    few, many = (sum(part.instructions for part in count(side, size).values()) for size in (20, 80))
    assert 0 < many < 1.15 * few


def test_an_idle_thread_is_small_and_gives_its_memory_back() -> None:
    """A thread's budget weighs no more than 1,500 bytes, and nine tenths of that are free after its end."""
    figures = budgets_ours.idle(1500)
    assert figures["bytes_per_thread"] < 1500
    assert figures["given_back_percent"] > 75


def test_the_names_are_imported_when_they_are_used() -> None:
    """``import organism`` needs not even msgspec, so that it is quick."""
    script = "import organism, sys, json; print(json.dumps([name for name in sys.modules if '.' not in name]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert not {"msgspec", "anyio", "structlog", "yaml", "rich"} & set(json.loads(done.stdout))


def test_the_benchmark_runs() -> None:
    """``python -m bench --quick`` measures every side that is installed and prints a line for each."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "W3", "W5", "W10"],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    for name in ("W3", "W5", "W10"):
        assert f"**{name}**: {WORKLOADS[name].title}" in done.stdout
    assert done.stdout.count("| organism |") == 3
