"""The tasks that lanes are worked on in. They are kept, because making one costs as much as two hops."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial

import anyio.abc
import anyio.lowlevel

from organism.runtime.workers.cancel_scope import ReusableCancelScope, cancelled_from_outside, despite_stray_cancels
from organism.runtime.workers.guard import log_defect, stops_task
from organism.runtime.workers.handler_places import HandlerPlaces
from organism.threads.lanes import Lane
from organism.threads.thread import Thread
from organism.tracing import working

Settle = Callable[[Thread], None]
"""Called when a lane of a thread has come to rest."""

_WAKING_MAX = 16
"""So many workers may be on their way at once; each that comes wakes the next while lanes are left."""

_IDLE_MAX = 256
"""So many workers are kept while there is nothing to do."""

_TURNS = 16
"""Messages that one worker handles before everything else in the process is given a turn."""


class LaneWorkers:
    """Takes lanes, in the order in which they became ready, one message at a time.

    A worker that has handled a message takes the next lane at once, without a turn of the event loop; so a message
    that is handed from agent to agent stays in one task. A lane is never left standing: while any is ready, a worker
    is on its way.

    Args:
        handle: Handles the first message of a lane if it can be handled now, its run held by the worker's scope;
            whether there is another that can.
        settle: Called when a lane of a thread has come to rest.
        places: Bounds how many handlers run at once.
    """

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        handle: Callable[[Thread, Lane, ReusableCancelScope], Awaitable[bool]],
        settle: Settle,
        places: HandlerPlaces,
    ) -> None:
        self.tasks = tasks
        self._handle = handle
        self._settle = settle
        self._places = places
        self._ready: deque[tuple[Thread, Lane, bool]] = deque()  # and whether its handler has a place already
        self._idle: list[asyncio.Future[None]] = []
        self._waking = 0
        with working(None):
            self._context = copy_context()

    def start(self, thread: Thread, lane: Lane) -> None:
        """Queue a lane that no worker has."""
        lane.running = True
        thread.running += 1
        ready = self._ready
        ready.append((thread, lane, False))
        if self._waking < len(ready):
            self._wake()

    def _wait_for_place(self, thread: Thread, lane: Lane) -> None:
        """Put a lane aside until its handler gets a place; its thread does not run by it meanwhile."""
        # The lane stays marked as running: a message sent to it meanwhile must not queue it a second time.
        self._places.wait(lane.agent, partial(self._admit, thread, lane))
        thread.running -= 1
        self._settle_guarded(thread)

    def _admit(self, thread: Thread, lane: Lane) -> None:
        """Queue a lane whose handler has been given a place."""
        thread.running += 1
        self._ready.append((thread, lane, True))
        self._wake()

    def _wake(self) -> None:
        """Wake or make a worker, unless enough of them are on their way for the lanes that are ready."""
        if self._waking >= _WAKING_MAX or self._waking >= len(self._ready):
            return
        # Counted until the worker begins: lanes that become ready before it does wake no second one for the same work.
        self._waking += 1
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
                self._waking -= 1
                await self._work_off(scope_holder)
                if len(self._idle) >= _IDLE_MAX or scope_holder.spent or not await self._woken():
                    return
        finally:
            scope_holder.let_go()

    async def _woken(self) -> bool:
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
            # It was woken in the same instant: the waker counts on it, and no other worker is on its way.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        return True

    async def _work_off(self, scope_holder: ReusableCancelScope) -> None:
        """Handle messages until no lane is ready."""
        ready, handle, places, turns = self._ready, self._handle, self._places, 0
        while ready:
            thread, lane, admitted = ready.popleft()
            if ready:
                self._wake()
            if not (admitted or places.try_enter(lane.agent)):
                self._wait_for_place(thread, lane)
                continue
            again = False
            try:
                again = await handle(thread, lane, scope_holder)
            finally:
                # Also when this worker is cancelled: a lane that stayed marked as running would never run again.
                places.leave(lane.agent)
                thread.running -= 1
                if again:
                    self.start(thread, lane)
                else:
                    lane.running = False
                    # As long as another of its lanes runs, that one settles it.
                    if not thread.running or thread.status != "open" or thread.paused_since is not None:
                        self._settle_guarded(thread)
            turns += 1
            if turns == _TURNS or scope_holder.spent:
                turns = 0
                await despite_stray_cancels(anyio.lowlevel.checkpoint)
                if scope_holder.spent:
                    break
        if scope_holder.spent and ready:
            self._wake()  # another takes over: something may still cancel this task

    def _settle_guarded(self, thread: Thread) -> None:
        try:
            self._settle(thread)
        except Exception as error:
            if stops_task(error):
                raise
            log_defect(error, "seeing whether a thread is over", thread_id=thread.id)
