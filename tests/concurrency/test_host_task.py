"""A context manager that a task of its own holds may be entered in one task and left in another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from organism.concurrency.host_task import HostTask
from organism.testing import run


class Held:
    """What has a task group, and says what became of it."""

    def __init__(self, *, fails_after_s: float | None = None, begins_in_s: float = 0.0) -> None:
        self.said: list[str] = []
        self._fails_after_s = fails_after_s
        self._begins_in_s = begins_in_s

    async def _fail(self, after_s: float) -> None:
        await anyio.sleep(after_s)
        raise ValueError("broken")

    async def enter(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._context())

    @asynccontextmanager
    async def _context(self) -> AsyncIterator[None]:
        try:
            async with anyio.create_task_group() as tasks:
                await anyio.sleep(self._begins_in_s)
                self.said.append("entered")
                if self._fails_after_s is not None:
                    tasks.start_soon(self._fail, self._fails_after_s)
                yield
                tasks.cancel_scope.cancel()
        except* ValueError as group:
            raise group.exceptions[0] from None
        finally:
            self.said.append("left")


def test_another_task_leaves_it() -> None:
    """The task group inside is left by the task that has entered it, and nobody is cancelled."""

    @run
    async def _() -> None:
        held = Held()
        host = HostTask(held.enter, "held")
        await asyncio.create_task(host.begin())
        await asyncio.create_task(host.end())
        assert held.said == ["entered", "left"]
        await anyio.sleep(1)


def test_who_has_begun_it_hears_that_it_has_failed() -> None:
    """Its task is cancelled where it waits, and gets the error; a cancellation of its own it has not."""

    @run
    async def _() -> None:
        host = HostTask(Held(fails_after_s=5).enter, "held")
        await host.begin()
        with pytest.raises(asyncio.CancelledError):
            await anyio.sleep(60)
        assert anyio.current_time() == 5
        with pytest.raises(ValueError, match="broken"):
            await host.end()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        await anyio.sleep(1)


def test_what_cannot_be_entered_says_so() -> None:
    """What entering raises is raised to who wants to begin."""

    async def broken(_stack: AsyncExitStack) -> None:
        raise ValueError("no")

    @run
    async def _() -> None:
        with pytest.raises(ValueError, match="no"):
            await HostTask(broken, "held").begin()


def test_who_gives_up_entering_it_leaves_nothing_behind() -> None:
    """A start that takes too long is over, cleaned up, when its caller goes on."""

    @run
    async def _() -> None:
        held = Held(begins_in_s=60)
        with anyio.move_on_after(1) as scope:
            await HostTask(held.enter, "held").begin()
        assert scope.cancelled_caught
        assert held.said == ["left"]


def test_it_is_left_whole_by_a_caller_that_is_cancelled() -> None:
    """A deadline of the caller's does not leave it half open."""

    @run
    async def _() -> None:
        held = Held()
        host = HostTask(held.enter, "held")
        await host.begin()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await host.end()
        assert held.said == ["entered", "left"]


def test_what_is_entered_at_once_is_not_waited_for() -> None:
    """A loop whose tasks begin eagerly, as Python 3.12 can, has entered it before anybody waits."""

    async def enter(_stack: AsyncExitStack) -> None:
        """Enter what needs no turn of the loop."""

    def begin_eagerly(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        async def rest() -> None:
            await waits_for
            with suppress(StopIteration):
                coro.send(None)

        task, caller = asyncio.Task(rest(), loop=loop, **options), asyncio.current_task()
        asyncio.tasks._leave_task(loop, caller)  # type: ignore[attr-defined]
        asyncio.tasks._enter_task(loop, task)  # type: ignore[attr-defined]
        waits_for = coro.send(None)
        asyncio.tasks._leave_task(loop, task)  # type: ignore[attr-defined]
        asyncio.tasks._enter_task(loop, caller)  # type: ignore[attr-defined]
        return task

    @run
    async def _() -> None:
        asyncio.get_running_loop().set_task_factory(begin_eagerly)
        try:
            host = HostTask(enter, "held")
            with anyio.fail_after(1):
                await host.begin()
        finally:
            asyncio.get_running_loop().set_task_factory(None)
        await host.end()


def test_who_cancels_all_tasks_begins_nothing_half() -> None:
    """Its task ended before it was entered: nobody is told that it was."""

    @run
    async def _() -> None:
        held = Held(begins_in_s=60)
        begins = asyncio.create_task(HostTask(held.enter, "held").begin())
        await anyio.sleep(1)
        for task in asyncio.all_tasks():
            if task.get_name() == "held":
                task.cancel()
        await asyncio.wait([begins])
        assert begins.cancelled()
        assert held.said == ["left"]
