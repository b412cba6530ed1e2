"""What the same work costs with nothing but asyncio or SQLite: the floors that no runtime can go below."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw

from bench.stopwatch import Figures, Stopwatch, percentile


def queue_ping_pong(hops: int) -> Figures:
    """W1: two tasks, each with an ``asyncio.Queue``."""

    async def main() -> Figures:
        there: asyncio.Queue[int] = asyncio.Queue()
        back: asyncio.Queue[int] = asyncio.Queue()

        async def pass_on(taken: asyncio.Queue[int], given: asyncio.Queue[int]) -> None:
            while (hop := await taken.get()) < hops:
                given.put_nowait(hop + 1)
            given.put_nowait(hop)

        with Stopwatch() as watch:
            there.put_nowait(0)
            await asyncio.gather(pass_on(there, back), pass_on(back, there))
        return watch.per(hops)

    return asyncio.run(main())


def await_ping_pong(hops: int) -> Figures:
    """W1: a function that awaits another."""

    async def handle(hop: int) -> int:
        return hop + 1

    async def main() -> Figures:
        with Stopwatch() as watch:
            hop = 0
            while hop < hops:
                hop = await handle(hop)
        return watch.per(hops)

    return asyncio.run(main())


async def _stages(inputs: list[asyncio.Queue[int]], out: Callable[[int], Awaitable[None]], count: int) -> None:
    """Take numbers through a queue and a task for each stage."""

    async def stage(place: int) -> None:
        for _ in range(count):
            number = await inputs[place].get()
            if place + 1 < len(inputs):
                inputs[place + 1].put_nowait(number)
            else:
                await out(number)

    await asyncio.gather(*(stage(place) for place in range(len(inputs))))


def queue_chains(threads: int) -> Figures:
    """W2: ten tasks in a row, each with an ``asyncio.Queue``."""

    async def main() -> Figures:
        async def out(_number: int) -> None:
            pass

        queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(10)]
        with Stopwatch() as watch:
            for number in range(threads):
                queues[0].put_nowait(number)
            await _stages(queues, out, threads)
        return watch.per(threads * 10)

    return asyncio.run(main())


def queue_fan_out(publishes: int) -> Figures:
    """W3: a hundred tasks, each with an ``asyncio.Queue``."""

    async def main() -> Figures:
        queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(100)]

        async def take(queue: asyncio.Queue[int]) -> None:
            for _ in range(publishes):
                await queue.get()

        async def publish() -> None:
            for number in range(publishes):
                for queue in queues:
                    queue.put_nowait(number)
                await asyncio.sleep(0)

        with Stopwatch() as watch:
            await asyncio.gather(publish(), *map(take, queues))
        return watch.per(publishes * 100)

    return asyncio.run(main())


def future_asks(count: int, at_once: int = 1) -> Figures:
    """W4: a future and its place in a queue, resolved by another task."""
    took: list[float] = []

    async def main() -> Figures:
        asked: asyncio.Queue[asyncio.Future[int]] = asyncio.Queue()

        async def answer() -> None:
            while True:
                (await asked.get()).set_result(1)

        async def ask() -> None:
            for _ in range(count // at_once):
                began = time.perf_counter()
                future = asyncio.get_running_loop().create_future()
                asked.put_nowait(future)
                await future
                took.append((time.perf_counter() - began) * 1e6)

        answering = asyncio.create_task(answer())
        with Stopwatch() as watch:
            await asyncio.gather(*(ask() for _ in range(at_once)))
        answering.cancel()
        return watch.per(count) | {"p50_us": percentile(took, 50), "p99_us": percentile(took, 99)}

    return asyncio.run(main())


def future_asks_together(count: int) -> Figures:
    """W4, a hundred at a time."""
    return future_asks(count, 100)


GROUP = 250
"""Messages in one commit of the SQLite floor."""


def group_commit(messages: int) -> Figures:
    """W7: write and delete a row of an envelope's size for each message, a group to a transaction, each synced."""
    body = b"x" * 400
    with tempfile.TemporaryDirectory() as folder:
        file = apsw.Connection(str(Path(folder) / "floor.sqlite"))
        file.execute("pragma journal_mode=wal; pragma synchronous=full")
        file.execute("create table piece (key text primary key, thread text, body blob) without rowid")
        with Stopwatch() as watch:
            for start in range(0, messages, GROUP):
                keys = [f"msg:{start + n:020d}" for n in range(GROUP)]
                file.execute("begin immediate")
                file.executemany("insert into piece values (?, 'th', ?)", [(key, body) for key in keys])
                file.execute("commit")
                file.execute("begin immediate")
                file.executemany("delete from piece where key = ?", [(key,) for key in keys])
                file.execute("commit")
        file.close()
        return watch.per(messages)
