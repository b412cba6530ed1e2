"""W5 and W8: what a thread's budget weighs, and how fast calls are held and settled."""

import gc
import tempfile
import tracemalloc
from pathlib import Path

import anyio
import apsw

from bench.stopwatch import Figures, Stopwatch
from organism.amounts import Amounts, Limits, TokenUsage
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.clock import SteadyClock, SystemClock
from organism.journal import Journal
from organism.ledger.ledger import Cost, Ledger
from organism.stores.memory import MemoryJournal
from organism.stores.sqlite import SqliteJournal

ASK = Ask(input_tokens=10, output_cap=10)
ACTUAL = Amounts(tokens=12, cost_nanousd=0, calls=1)
COST = Cost("settled", False, TokenUsage(input=6, output=6))
LIMITS = Limits(tokens=1_000_000_000)


def _registry(journal: Journal) -> ThreadBudgetRegistry:
    plan = BudgetPlan(thread=LIMITS)
    return ThreadBudgetRegistry(plan, Ledger(journal.append), SteadyClock(SystemClock()))


def idle(threads: int) -> Figures:
    """W5: threads that have a budget and nothing to do; the journal keeps no more than its newest entries of them."""
    registry = _registry(MemoryJournal(capacity=1000))
    names = [f"th_{number:020d}" for number in range(threads)]
    tracemalloc.start()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    with Stopwatch() as opening:
        for name in names:
            registry.open_thread(name)
    gc.collect()
    full = tracemalloc.get_traced_memory()[0]
    with Stopwatch() as closing:
        for name in names:
            registry.cleanup_thread(name)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    return {
        "bytes_per_thread": (full - before) / threads,
        "given_back_percent": 100 * (full - after) / (full - before),
        "open_us": opening.cpu_s / threads * 1e6,
        "close_us": closing.cpu_s / threads * 1e6,
    }


async def _reserve(registry: ThreadBudgetRegistry, names: list[str], count: int) -> Figures:
    held: list[GrantedHold] = []
    with Stopwatch() as watch:
        for number in range(count):
            answer = await registry.reserve(Spender(names[number % len(names)], "agent", "main"), ASK)
            assert isinstance(answer, GrantedHold)
            held.append(answer)
    with Stopwatch() as settling:
        for call in held:
            registry.settle(call, ACTUAL, COST)
    return watch.per(count) | {"settle_us": settling.cpu_s / count * 1e6}


def on_one_thread(count: int) -> Figures:
    """W8: holds on one thread."""

    async def main() -> Figures:
        registry = _registry(MemoryJournal())
        registry.open_thread("one")
        return await _reserve(registry, ["one"], count)

    return anyio.run(main)


def on_many_threads(count: int, threads: int = 1000) -> Figures:
    """W8: holds on a thousand threads in turn."""

    async def main() -> Figures:
        registry = _registry(MemoryJournal())
        names = [f"th_{number}" for number in range(threads)]
        for name in names:
            registry.open_thread(name)
        return await _reserve(registry, names, count)

    return anyio.run(main)


def on_hundred_threads(count: int) -> Figures:
    """W8: as few threads as W2's fewest."""
    return on_many_threads(count, 100)


def on_ten_thousand_threads(count: int) -> Figures:
    """W8: as many threads as W2's most."""
    return on_many_threads(count, 10_000)


def nested(count: int) -> Figures:
    """W8: holds on a thread, its parent, its grandparent and the one above, together."""

    async def main() -> Figures:
        registry = _registry(MemoryJournal())
        registry.open_thread("t0")
        for depth in range(1, 4):
            registry.open_thread(f"t{depth}", parent=f"t{depth - 1}", limits=LIMITS)
        return await _reserve(registry, ["t3"], count)

    return anyio.run(main)


def durable(count: int) -> Figures:
    """W8: holds on one thread, all of them committed to a file before the clock is stopped."""

    async def main() -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            async with SqliteJournal(Path(folder) / "journal.sqlite") as journal:
                registry = _registry(journal)
                registry.open_thread("one")
                with Stopwatch() as watch:
                    for _ in range(count):
                        await registry.reserve(Spender("one", "agent", "main"), ASK)
                    await journal.commit()
                return watch.per(count)

    return anyio.run(main)


def rows(count: int) -> Figures:
    """The floor of W8: as many rows in one SQLite transaction, synced."""
    with tempfile.TemporaryDirectory() as folder:
        file = apsw.Connection(str(Path(folder) / "floor.sqlite"))
        file.execute("pragma journal_mode=wal; pragma synchronous=full")
        file.execute("create table entries (seq integer primary key, body text)")
        with Stopwatch() as watch:
            file.execute("begin immediate")
            file.executemany("insert into entries values (?, ?)", [(n, "x" * 300) for n in range(count)])
            file.execute("commit")
        file.close()
        return watch.per(count)
