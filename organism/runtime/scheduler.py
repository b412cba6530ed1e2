"""Runs lanes: decides whether one with messages may be worked on now, and has a worker handle its messages.

Every message passes here on its way into a handler, whatever made it ready: a sender, a raised limit, a person's
answer, an operator's resume, a start from the journal. So this is where a blocked thread opens again.

Lanes are taken in the order in which they became ready, one message at a time. A worker that has handled a message
takes the next lane at once, without a turn of the event loop; so a message that is handed from agent to agent stays in
one task. Workers are kept, because making a task costs as much as two hops. A lane is never left standing: while any is
ready, a worker is on its way.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import anyio.abc
import anyio.lowlevel

from organism.runtime.loop_services import LoopServices
from organism.runtime.waiting.paused_time import PausedTime
from organism.runtime.workers.cancel_scope import ReusableCancelScope, cancelled_from_outside, despite_stray_cancels
from organism.runtime.workers.guard import log_defect, stops_task
from organism.runtime.workers.handler_places import HandlerPlaces
from organism.threads.lanes import Lane
from organism.threads.thread import Thread
from organism.tracing import working
from organism.usage.events import ThreadResumed

Handle = Callable[[Thread, Lane, ReusableCancelScope], Awaitable[bool]]
"""Handles the first message of a lane if it can be handled now, its run held by the worker's scope; whether there is
another that can."""

Settle = Callable[[Thread], None]
"""Called when a lane of a thread has come to rest."""

_WAKING_MAX = 16
"""So many workers may be on their way at once; each that comes wakes the next while lanes are left."""

_IDLE_MAX = 256
"""So many workers are kept while there is nothing to do."""

_TURNS = 16
"""Messages that one worker handles before everything else in the process is given a turn."""


class NotRunningError(RuntimeError):
    """Something is to run in a pump that does not."""

    def __init__(self) -> None:
        super().__init__("the pump is not running; use it as an async context manager")


class Scheduler:
    """Queues lanes, and has workers take them.

    Args:
        paused_time: Knows which threads have something paused.

    Attributes:
        recovered: Whether every thread of the journal is there. Before that no blocked thread opens: what it waits for
            may be in a part of the journal that has not been read.
        places: Bounds how many handlers run at once.
        tasks: Where threads run; ``None`` while they do not.
    """

    def __init__(self, services: LoopServices, paused_time: PausedTime) -> None:
        self._active = services.active
        self._paused_time = paused_time
        self._registry = services.registry
        self._state_writer = services.state_writer
        self._outbox = services.outbox
        self.recovered = False
        self.places = HandlerPlaces(lambda: self._active.bounds.handlers, self._active.handlers_of)
        self.tasks: anyio.abc.TaskGroup | None = None
        self._handle: Handle = _handle_nothing
        self._settle: Settle = _settle_nothing
        self._context = Context()
        self._ready: deque[tuple[Thread, Lane]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._waking = 0

    def run_in(self, tasks: anyio.abc.TaskGroup, handle: Handle, settle: Settle) -> None:
        """Run lanes in these tasks from now on.

        Args:
            settle: Called when something of a thread has come to rest.
        """
        self.tasks, self._handle, self._settle = tasks, handle, settle
        self._ready.clear()
        self._idle.clear()
        self._waking = 0
        with working(None):
            self._context = copy_context()

    def stop(self) -> None:
        """Run nothing more."""
        self.tasks, self._settle = None, _settle_nothing

    def _running(self) -> anyio.abc.TaskGroup:
        if self.tasks is None:
            raise NotRunningError
        return self.tasks

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, object]], *args: object) -> None:
        """Run a task of the pump's own.

        Raises:
            NotRunningError: If the pump does not run.
        """
        self._running().start_soon(function, *args)

    def settle(self, thread: Thread) -> None:
        """Something of a thread outside its lanes has come to rest: see whether it is over."""
        self._settle(thread)

    # -- which lane may run ---------------------------------------------------------------------------------------

    def start_lane(self, thread: Thread, lane: Lane) -> None:
        """Queue a lane unless a worker has it or its thread cannot run; a blocked thread opens for it.

        Raises:
            NotRunningError: If the pump does not run.
        """
        if self._active.paused and lane.agent in self._active.paused:
            self._paused_time.note(thread)
        if thread.status != "open":
            if thread.status != "blocked" or not self.recovered:
                return
            self._unblock(thread)
        if lane.running:
            return
        if self.tasks is None:
            raise NotRunningError
        lane.running = True
        thread.running += 1
        ready = self._ready
        ready.append((thread, lane))
        if self._waking < len(ready):
            self._wake()

    def start_lanes(self, thread: Thread) -> None:
        """Queue every lane of a thread that has messages."""
        for lane in tuple(thread.lanes.values()):
            if lane.queue:
                self.start_lane(thread, lane)

    def _unblock(self, thread: Thread) -> None:
        thread.move("unblock")
        thread.blocked_by = None
        self._registry.resume_time(thread.id)
        self._state_writer.save_thread(thread)
        if not thread.quiet:
            self._outbox.emit(ThreadResumed(thread_id=thread.id, root_thread_id=thread.root))
        thread.quiet = False

    # -- the tasks that lanes are worked on in --------------------------------------------------------------------

    def _wait_for_place(self, thread: Thread, lane: Lane) -> None:
        """Put a lane aside until its handler gets a place; its thread does not run by it meanwhile."""
        # The lane stays marked as running: a message sent to it meanwhile must not queue it a second time.
        self.places.wait(lane, partial(self._admit, thread, lane))
        thread.running -= 1
        self._settle_guarded(thread)

    def _admit(self, thread: Thread, lane: Lane) -> None:
        """Queue a lane whose handler has been given a place."""
        thread.running += 1
        self._ready.append((thread, lane))
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
        self._running().start_soon(self._work)

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
        ready, handle, places, turns = self._ready, self._handle, self.places, 0
        while ready:
            thread, lane = ready.popleft()
            if ready:
                self._wake()
            if not (lane.place or places.may_begin(lane.agent)):
                self._wait_for_place(thread, lane)
                continue
            again = False
            try:
                again = await handle(thread, lane, scope_holder)
            finally:
                # Also when this worker is cancelled: a lane that stayed marked as running would never run again.
                if lane.place:
                    places.leave(lane)
                if again:
                    ready.append((thread, lane))
                else:
                    thread.running -= 1
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


def _settle_nothing(_thread: Thread) -> None:
    pass


async def _handle_nothing(_thread: Thread, _lane: Lane, _scope: ReusableCancelScope) -> bool:
    return False
