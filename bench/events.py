"""W10: a thousand subscribers, each of which gets every event."""

import anyio

from bench.stopwatch import Figures, Stopwatch
from organism.usage.events import ThreadOpened
from organism.usage.tracker import UsageTracker


def subscribers(events: int) -> Figures:
    """Publish events to a thousand readers; a figure for each event delivered."""

    async def main() -> Figures:
        tracker = UsageTracker()
        read = 0

        async def reader() -> None:
            nonlocal read
            async with tracker.subscribe() as subscription:
                async for _ in subscription:
                    read += 1

        with Stopwatch() as watch:
            async with anyio.create_task_group() as tasks:
                for _ in range(1000):
                    tasks.start_soon(reader)
                await anyio.wait_all_tasks_blocked()
                for number in range(events):
                    tracker.publish(ThreadOpened(thread_id=f"t{number}", root_thread_id="", entry="a"))
                    if number % 100 == 99:
                        await anyio.wait_all_tasks_blocked()
                tracker.close()
        assert read == events * 1000
        return watch.per(read)

    return anyio.run(main)
