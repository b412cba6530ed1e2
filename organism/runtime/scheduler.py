"""Starts lanes: decides whether a lane with messages may be worked on now, and queues it for a worker if so.

Every message passes here on its way into a handler, whatever made it ready: a sender, a raised limit, a person's
answer, an operator's resume, a start from the journal. So this is where a blocked thread opens again.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio.abc

from organism.runtime.loop_services import LoopServices
from organism.runtime.waiting.paused_time import PausedTime
from organism.runtime.workers.cancel_scope import ReusableCancelScope
from organism.runtime.workers.handler_places import HandlerPlaces, HandlerStatistics
from organism.runtime.workers.lane_workers import LaneWorkers, Settle
from organism.threads.lanes import Lane
from organism.threads.thread import Thread
from organism.usage.events import ThreadResumed


class NotRunningError(RuntimeError):
    """Something is to run in a pump that does not."""

    def __init__(self) -> None:
        super().__init__("the pump is not running; use it as an async context manager")


class Scheduler:
    """Queues lanes for workers.

    Args:
        paused_time: Knows which threads have something paused.

    Attributes:
        recovered: Whether every thread of the journal is there. Before that no blocked thread opens: what it waits for
            may be in a part of the journal that has not been read.
        places: Bounds how many handlers run at once.
    """

    def __init__(self, services: LoopServices, paused_time: PausedTime) -> None:
        self._active = services.active
        self._paused_time = paused_time
        self._registry = services.registry
        self._state_writer = services.state_writer
        self._outbox = services.outbox
        self._workers: LaneWorkers | None = None
        self._settle: Settle = _settle_nothing
        self.recovered = False
        self.places = HandlerPlaces(lambda: self._active.bounds.handlers, self._active.handlers_of)

    def run_in(
        self,
        tasks: anyio.abc.TaskGroup,
        handle: Callable[[Thread, Lane, ReusableCancelScope], Awaitable[bool]],
        settle: Settle,
    ) -> None:
        """Run lanes in these tasks from now on.

        Args:
            handle: Handles the first message of a lane if it can be handled now; whether there is another that can.
            settle: Called when something of a thread has come to rest.
        """
        self._workers, self._settle = LaneWorkers(tasks, handle, settle, self.places), settle

    def stop(self) -> None:
        """Run nothing more."""
        self._workers, self._settle = None, _settle_nothing

    @property
    def tasks(self) -> anyio.abc.TaskGroup | None:
        """Where threads run; ``None`` while they do not."""
        return self._workers.tasks if self._workers is not None else None

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, object]], *args: object) -> None:
        """Run a task of the pump's own.

        Raises:
            NotRunningError: If the pump does not run.
        """
        if self._workers is None:
            raise NotRunningError
        self._workers.tasks.start_soon(function, *args)

    def handlers(self) -> HandlerStatistics:
        """Count the handlers that run and those that wait for a place."""
        return self.places.statistics()

    def settle(self, thread: Thread) -> None:
        """Something of a thread outside its lanes has come to rest: see whether it is over."""
        self._settle(thread)

    def start_lane(self, thread: Thread, lane: Lane) -> None:
        """Queue a lane unless a worker has it or its thread cannot run; a blocked thread opens for it."""
        if self._active.paused and lane.agent in self._active.paused:
            self._paused_time.note(thread)
        if thread.status != "open":
            if thread.status != "blocked" or not self.recovered:
                return
            self._unblock(thread)
        if not lane.running:
            if self._workers is None:
                raise NotRunningError
            self._workers.start(thread, lane)

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


def _settle_nothing(_thread: Thread) -> None:
    pass
