"""Virtual time loses nothing that real threads tell its event loop."""

import asyncio
import sys
from collections.abc import Iterator
from threading import Thread

import anyio
import anyio.lowlevel
import pytest

from organism.testing import run

CALLS = 20_000


@pytest.fixture
def restless() -> Iterator[None]:
    """Have threads take turns as often as they can, so that a race is lost in every run and not once a day."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_what_a_thread_tells_the_loop_while_it_shuffles_is_heard() -> None:
    """Every callback that a thread hands to the loop is called, however busy the loop is with its own tasks."""
    heard = 0

    def hear() -> None:
        nonlocal heard
        heard += 1

    async def main() -> None:
        loop = asyncio.get_running_loop()
        thread = Thread(target=lambda: [loop.call_soon_threadsafe(hear) for _ in range(CALLS)])
        thread.start()

        async def spin() -> None:
            while thread.is_alive():
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(spin)
        await anyio.sleep(0.1)

    run(main)
    assert heard == CALLS
