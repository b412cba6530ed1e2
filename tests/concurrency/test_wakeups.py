"""Whoever waits for a change learns of it, and whoever has stopped waiting holds nobody up."""

import anyio

from organism.concurrency.wakeups import Wakeup
from organism.testing import run


def test_all_that_wait_are_woken_and_those_who_come_later_wait_for_the_next() -> None:
    """A signal wakes everybody who waits for it at that moment, and is then as if it had never been given."""
    woken: list[str] = []

    async def main() -> None:
        signal = Wakeup()

        async def wait(name: str) -> None:
            await signal.wait()
            woken.append(name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, "early")
            tasks.start_soon(wait, "early")
            await anyio.wait_all_tasks_blocked()
            signal.notify()
            tasks.start_soon(wait, "late")
            await anyio.wait_all_tasks_blocked()
            assert woken == ["early", "early"]
            signal.notify()

    run(main)
    assert woken == ["early", "early", "late"]


def test_one_that_stops_waiting_leaves_nothing_behind() -> None:
    """Waiting that is cut short, however often, costs nothing later, and the others are woken all the same."""

    async def main() -> None:
        signal = Wakeup()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(signal.wait)
            for _ in range(100):
                with anyio.move_on_after(1) as impatient:
                    await signal.wait()
                assert impatient.cancelled_caught
            assert signal.waiting == 1
            signal.notify()
        assert signal.waiting == 0

    run(main)
