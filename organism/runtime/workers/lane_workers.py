"""The tasks that lanes are worked on in. They are kept, because making one costs as much as two hops."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial

import anyio.abc
import anyio.lowlevel

from organism.runtime.workers.cancel_scope import ReusableCancelScope, cancelled_from_outside, despite_stray_cancels
from organism.runtime.workers.guard import guarded_call
from organism.threads.lanes import Lane
from organism.threads.thread import Thread
from organism.tracing import working

_CALLED_MAX = 16
"""So many workers may be on their way at once; each that comes calls the next while lanes are left."""

_IDLE_MAX = 256
"""So many workers are kept while there is nothing to do."""

_TURNS = 16
"""Messages that one worker handles before everything else in the process is given a turn."""


class LaneWorkers:
    """Takes lanes, in the order in which they became ready, one message at a time.

    Whoever has handled a message goes on with the next lane at once, without a turn of the event loop; so a message
    that is handed from agent to agent stays in one task. A lane is never left standing: while any is ready, a worker
    is on its way.

    Args:
        tasks: Where workers run.
        handle: Handles the first message of a lane if it can be handled now, its run held by the worker's leash;
            whether there is another that can.
        rest: Called when a lane of a thread has come to rest.
    """

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        handle: Callable[[Thread, Lane, ReusableCancelScope], Awaitable[bool]],
        rest: Callable[[Thread], None],
    ) -> None:
        self.tasks = tasks
        self._handle = handle
        self._rest = rest
        self._ready: deque[tuple[Thread, Lane]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._called = 0
        with working(None):
            self._context = copy_context()

    def start(self, thread: Thread, lane: Lane) -> None:
        """Have a lane worked on that nobody works on."""
        lane.running = True
        thread.running += 1
        self._ready.append((thread, lane))
        self._call()

    def _call(self) -> None:
        if self._called >= _CALLED_MAX or self._called >= len(self._ready):
            return
        self._called += 1
        while self._idle:
            turn = self._idle.pop()
            if not turn.done():  # else its worker has been cancelled
                turn.set_result(None)
                return
        self.tasks.start_soon(self._work)

    async def _work(self) -> None:
        scope_holder = ReusableCancelScope(self._context)
        try:
            while True:
                self._called -= 1
                await self._work_off(scope_holder)
                if len(self._idle) >= _IDLE_MAX or scope_holder.spent:
                    return
                if not await self._called_again():
                    return
        finally:
            scope_holder.let_go()

    async def _called_again(self) -> bool:
        """Wait until there is more to do; ``False`` when something that a handler has left behind cancels this task."""
        turn = asyncio.get_running_loop().create_future()
        self._idle.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if cancelled_from_outside():
                raise
            if turn.cancelled():
                return False
            leash_task = asyncio.current_task()
            if leash_task is not None:
                leash_task.uncancel()  # it was called in the same instant, and nobody else is on the way
        return True

    async def _work_off(self, scope_holder: ReusableCancelScope) -> None:
        """Handle messages until no lane is ready."""
        turns = 0
        while self._ready:
            thread, lane = self._ready.popleft()
            if self._ready:
                self._call()
            again = False
            try:
                again = await self._handle(thread, lane, scope_holder)
            finally:
                if again:
                    self._ready.append((thread, lane))
                    self._call()
                else:
                    lane.running = False
                    thread.running -= 1
                    guarded_call(partial(self._rest, thread), "seeing whether a thread is over", thread_id=thread.id)
            turns += 1
            if turns == _TURNS or scope_holder.spent:
                turns = 0
                await despite_stray_cancels(anyio.lowlevel.checkpoint)
            if scope_holder.spent:
                break
        if scope_holder.spent and self._ready:
            self._call()  # another takes over: something may still cancel this task
