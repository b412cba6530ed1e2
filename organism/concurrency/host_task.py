"""Enters and leaves context managers in a task of its own, so that their user may do the two in different tasks.

Task groups belong to the task that has entered them: left by another one they raise, and go on cancelling the first
without end. But test fixtures, cells of a notebook and servers begin in one task and end in another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import anyio
import anyio.lowlevel

from organism.concurrency.wakeups import Wakeup


class HostTask:
    """Holds context managers from :meth:`begin` to :meth:`end`.

    Should they fail by themselves, the task that has begun is cancelled, and :meth:`end` raises the error.

    Args:
        enter: Enters them on a stack. No generator that yields within a task group: a handler may have the event loop
            close all generators.
        name: What the task is called.

    Attributes:
        has_begun: Whether they were entered.
    """

    def __init__(self, enter: Callable[[AsyncExitStack], Awaitable[None]], name: str) -> None:
        self._enter = enter
        self._name = name
        self._scope = anyio.CancelScope()
        self._task: asyncio.Task[None] | None = None
        self._user: asyncio.Task[object] | None = None
        self.has_begun = False
        self._has_cancelled = False
        self._changed = Wakeup()
        self._told = asyncio.Event()

    async def begin(self) -> None:
        """Enter them; raises what that has raised."""
        self._user = asyncio.current_task()
        self._task = asyncio.get_running_loop().create_task(self._hold(), name=self._name)
        self._task.add_done_callback(self._on_end)
        try:
            # Looked at first: a loop whose tasks begin eagerly may have entered them already.
            while not (self.has_begun or self._task.done()):
                await self._changed.wait()
        except asyncio.CancelledError:
            self._scope.cancel()
            await self.end()
            raise
        if not self.has_begun:
            await self.end()
            raise asyncio.CancelledError  # somebody has cancelled all tasks: it was not entered

    async def end(self) -> None:
        """Leave them, wholly even if the caller is cancelled; raises what they have ended with."""
        self._told.set()
        if (task := self._task) is None:
            return
        hurried: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            while not task.done():
                try:
                    await asyncio.wait((task,))
                except asyncio.CancelledError as error:  # by asyncio's own means, which nothing shields
                    self._scope.cancel()
                    hurried = error
        if (user := asyncio.current_task()) is not None and user is self._user and self._has_cancelled:
            user.uncancel()  # what it was cancelled for is raised here
        failed = None if task.cancelled() else task.exception()
        if (ended_with := failed or hurried) is not None:
            raise ended_with
        await anyio.lowlevel.checkpoint_if_cancelled()

    async def _hold(self) -> None:
        # A scope and not the task is cancelled where entering it is given up: what it shields is still done.
        with self._scope:
            async with AsyncExitStack() as stack:
                await self._enter(stack)
                self.has_begun = True
                self._changed.notify()
                await self._told.wait()

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        self._changed.notify()
        failed = self.has_begun and not task.cancelled() and task.exception() is not None
        if failed and not self._told.is_set() and self._user is not None:
            self._has_cancelled = self._user.cancel()
