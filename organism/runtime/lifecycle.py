"""The life of a thread: it begins, works, may wait for budget, and ends once.

A thread is looked at each time one of its lanes comes to rest. It is over when nothing of it is queued, running, timed
or parked. Ending it takes its children, its tasks, its open calls and its budget with it, in this order, and is told
once.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.abc

from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import thread_of
from organism.clock import Clock
from organism.errors import ConfigError, Shortfall, ThreadClosedError
from organism.ids import THREAD_ID
from organism.messages import Envelope, ThreadOutcome, ThreadResult
from organism.router.router import LLMRouter
from organism.runtime.active_config import ActiveConfig
from organism.runtime.budget_warnings import BudgetWarnings
from organism.runtime.delivery import Delivery, Hooks
from organism.runtime.parked_messages import ParkedMessages
from organism.runtime.paused_time import PausedTime
from organism.runtime.timers import sleep_until
from organism.runtime.workers.cancel_scope import ReusableCancelScope
from organism.runtime.workers.guard import guarded
from organism.runtime.workers.lane_workers import LaneWorkers
from organism.tables import pop_and_shrink
from organism.threads.ended_threads import EndedThreads
from organism.threads.lanes import Lane
from organism.threads.thread import Thread
from organism.threads.thread_events import thread_closed, thread_opened
from organism.threads.thread_state import ThreadEvent
from organism.usage.events import ThreadBlocked, ThreadClosed, ThreadResumed
from organism.usage.outbox import Outbox


class NotRunningError(RuntimeError):
    """Something is to run in a pump that does not."""

    def __init__(self) -> None:
        super().__init__("the pump is not running; use it as an async context manager")


class Lifecycle:
    """Keeps the open threads.

    Args:
        delivery: Holds their messages.
        registry: Holds their budgets.
        router: Knows their open calls.
        outbox: Takes the events.
        clock: Tells what is due.
        active: Knows which agents are paused.
        work: Handles the first message of a lane.

    Attributes:
        state_writer: Keeps threads in the journal.
        ended: The threads that have ended.
        warnings: Tells threads of thresholds.
        parked: Lets messages go on that wait for budget or a person.
        paused_time: Lets time stand still where something is paused.
    """

    def __init__(
        self,
        delivery: Delivery,
        registry: ThreadBudgetRegistry,
        router: LLMRouter,
        outbox: Outbox,
        clock: Clock,
        active: ActiveConfig,
        work: Callable[[Thread, Lane, ReusableCancelScope], Awaitable[bool]],
    ) -> None:
        self._workers: LaneWorkers | None = None
        self._delivery = delivery
        self._registry = registry
        self._router = router
        self.state_writer = delivery.state_writer
        self._outbox = outbox
        self._clock = clock
        self._work = work
        self._active = active
        self._restored = False
        self._threads: dict[str, Thread] = {}
        self.warnings = BudgetWarnings(registry, self.find, delivery, outbox)
        self.parked = ParkedMessages(self._threads, registry, self.state_writer, self.start_lane)
        self.paused_time = PausedTime(self._threads, registry, router, self.state_writer, active)
        delivery.hooks = Hooks(
            start_lane=self.start_lane,
            defer=self.defer,
            stepped_aside=self.parked.note,
            unpark_message=self.parked.unpark_message,
            held_up=self.paused_time.holds_up,
        )
        self.ended = EndedThreads(self.state_writer)

    def __len__(self) -> int:
        return len(self._threads)

    def all(self) -> tuple[Thread, ...]:
        """Return the open threads, oldest first."""
        return tuple(self._threads.values())

    def find(self, thread_id: str) -> Thread | None:
        """Return an open thread, or ``None``."""
        return self._threads.get(thread_id)

    def get(self, thread_id: str, *, closing: bool = False) -> Thread:
        """Return an open thread.

        Args:
            thread_id: Which.
            closing: Whether one that is just ending will do.

        Raises:
            ThreadClosedError: If no such thread is open.
        """
        thread = self._threads.get(thread_id)
        if thread is None or (thread.status == "closing" and not closing):
            raise ThreadClosedError(thread_id)
        return thread

    def register(self, thread: Thread) -> None:
        """Take up a thread that the journal has kept; it rests until :meth:`resume`."""
        self._threads[thread.id] = thread

    def labels_of(self, thread_id: str) -> dict[str, str]:
        """Return the labels of a thread; none if it is not open."""
        thread = self._threads.get(thread_id)
        return thread.labels if thread is not None else {}

    def has_closed(self, thread_id: str) -> bool:
        """Whether a thread of that name has ended, as far as is remembered, or is about to."""
        ending = self._threads.get(thread_id)
        return self.ended.knows(thread_id) or (ending is not None and ending.status == "closing")

    def close_lost(self) -> int:
        """Tell of the end of every thread that the journal has an account of but that could not be taken up."""
        finals = self._registry.close_lost()
        for final in finals:
            thread_id = thread_of(final.account) or ""
            reason = "what the journal has kept of it could not be taken up at the start, and is set aside"
            result = ThreadResult(thread_id=thread_id, outcome="failed", outputs=(), budget=final, reason=reason)
            self.state_writer.save_lost(result)
            self.ended.remember(thread_id, result)
            self._outbox.emit(
                ThreadClosed(
                    thread_id=thread_id, root_thread_id=thread_id, outcome="failed", budget=final, reason=reason
                )
            )
        return len(finals)

    def check_id(self, thread_id: str) -> None:
        """Refuse an id that cannot be a thread's, or was one.

        Raises:
            ConfigError: If so.
        """
        if not THREAD_ID.fullmatch(thread_id):
            raise ConfigError(
                f"{thread_id!r} cannot be a thread's id: use letters, digits, '-', '_', at most 64 in all"
            )
        if thread_id in self._threads or self.ended.knows(thread_id):
            raise ConfigError(f"thread {thread_id!r} exists or has existed; a thread's id is never used again")

    def begin(self, thread: Thread, envelope: Envelope | None = None) -> None:
        """Open a thread with its first message; a standing one has none."""
        self._threads[thread.id] = thread
        self.state_writer.save_thread(thread)
        self._outbox.emit(thread_opened(thread))
        if envelope is not None:
            self._delivery.accept(thread, envelope)

    @property
    def _running(self) -> anyio.abc.TaskGroup:
        if self._workers is None:
            raise NotRunningError
        return self._workers.tasks

    @property
    def tasks(self) -> anyio.abc.TaskGroup | None:
        """Where threads run; ``None`` while they do not."""
        return self._workers.tasks if self._workers is not None else None

    def run_in(self, tasks: anyio.abc.TaskGroup | None) -> None:
        """Run threads in these tasks from now on; ``None`` when there is nothing more to run."""
        self._workers = LaneWorkers(tasks, self._work, self.settle) if tasks is not None else None

    def start_lane(self, thread: Thread, lane: Lane) -> None:
        """Set a lane to work, unless somebody does or its thread cannot; one that waits goes on with what need not."""
        if lane.agent in self._active.paused:
            self.paused_time.note(thread)
        if thread.status == "blocked" and self._restored:
            self._reopen(thread)
        if thread.status == "open" and not lane.running:
            if self._workers is None:
                raise NotRunningError
            self._workers.start(thread, lane)

    def defer(self, thread: Thread, envelope: Envelope) -> None:
        """Deliver a message when it is due; its thread stays open for it."""
        thread.timed[envelope.id] = envelope
        if not thread.stopping:
            self._running.start_soon(self._deliver_later, thread, envelope)

    async def _deliver_later(self, thread: Thread, envelope: Envelope) -> None:
        try:
            due = partial(self._deliver_due, thread, envelope)
            done = await guarded(due, "delivering a message that is due", message_id=envelope.id)
            if not done and thread.timed.pop(envelope.id, None) is not None:
                self._delivery.give_up(thread, envelope, "not_deliverable", "a defect of organism; see its log")
        finally:
            self.settle(thread)

    async def _deliver_due(self, thread: Thread, envelope: Envelope) -> None:
        with thread.stoppable():
            await sleep_until(envelope.due_ns or 0, self._clock)
            await self._delivery.deliver(thread, envelope)
            del thread.timed[envelope.id]

    def settle(self, thread: Thread) -> None:
        """A lane has come to rest: is the thread over, or does it wait for budget?"""
        if thread.frozen_since is not None:
            self.paused_time.note(thread)
        if thread.status != "open" or thread.standing:
            thread.note_change()
            return
        if thread.busy:
            return
        if (waits := thread.parked) is not None:
            if self.parked.goes_on_by_itself(thread):
                return
            thread.move("block")
            thread.blocked_by = waits
            self._registry.pause_time(thread.id)
            self.state_writer.save_thread(thread)
            if isinstance(waits, Shortfall):
                agent = next(lane.agent for lane in thread.lanes.values() if lane.aside)
                self._outbox.emit(
                    ThreadBlocked(thread_id=thread.id, root_thread_id=thread.root, agent=agent, shortfall=waits)
                )
            thread.note_change()
        elif not thread.children and not self._delivery.join_incomplete(thread):
            failed = thread.gave_up is not None and not thread.outputs
            outcome: ThreadOutcome = "failed" if failed else "completed"
            reason = thread.gave_up if failed else None
            thread.move("close")
            if thread.scopes or self._router.busy(thread.id):
                self._end_soon(thread, outcome, reason)
            else:
                self._finish(thread, outcome, reason)  # there is nothing to wait for, and so no need of a task

    def _reopen(self, thread: Thread) -> None:
        thread.move("unblock")
        thread.blocked_by = None
        self._registry.resume_time(thread.id)
        self.state_writer.save_thread(thread)
        self._outbox.emit(ThreadResumed(thread_id=thread.id, root_thread_id=thread.root))

    def pause(self, thread: Thread) -> None:
        """Start nothing more of a thread; its wall time stands still once what runs of it is done, or only waits."""
        thread.move("pause")
        self.state_writer.save_thread(thread)
        self.paused_time.note(thread)
        self.settle(thread)

    def unpause(self, thread: Thread) -> None:
        """Let a paused thread go on, or wait for budget as it did before."""
        self._open(thread, "resume")

    def resume(self, thread: Thread) -> None:
        """Let a thread that the journal has kept go on from where it was."""
        if thread.status == "closing":
            outcome, reason = thread.ending or ("completed", None)
            self._end_soon(thread, outcome, reason)
            return
        for envelope in thread.timed.values():
            self._running.start_soon(self._deliver_later, thread, envelope)
        if thread.status == "dormant":
            self._open(thread, "recover")
        for lane in thread.lanes.values():
            if lane.runnable:
                self.start_lane(thread, lane)

    def restored(self) -> None:
        """From now on threads that wait may go on: all that the journal has kept is there."""
        self._restored = True

    def _open(self, thread: Thread, event: ThreadEvent) -> None:
        thread.move(event)
        if not thread.standing or thread.called:
            self._registry.resume_time(thread.id)
        thread.time_stands = False
        self.state_writer.save_thread(thread)
        for lane in thread.lanes.values():
            if lane.runnable:
                self.start_lane(thread, lane)
        self.paused_time.note(thread)
        self.settle(thread)

    async def halt(self) -> None:
        """Stop all handlers where they are, wait for open calls to settle, and keep every thread as it stands."""
        for thread in self.all():
            if thread.status == "open":
                thread.move("halt")
            thread.halting = True
            for scope in list(thread.scopes):
                scope.cancel()
        for thread in self.all():
            while thread.scopes:
                await thread.changed.wait()
            await self._router.wait_idle(thread.id)
            if thread.result is None:  # it may have come to its end meanwhile
                self._registry.pause_time(thread.id)
                self.state_writer.save_thread(thread)

    def end_idle(self, thread: Thread, reason: str) -> bool:
        """End a thread as completed at once, if nothing of it goes on; whether it was."""
        if thread.status != "open" or thread.at_work or self._router.busy(thread.id):
            return False
        thread.move("close")
        self._finish(thread, "completed", reason)
        return True

    async def close(self, thread: Thread, outcome: ThreadOutcome, reason: str | None) -> ThreadResult:
        """End a thread by order; one that is ending already keeps its outcome."""
        if thread.status != "closing":
            thread.move("close")
            thread.ending = (outcome, reason)
            self.state_writer.save_thread(thread)
            self._end_soon(thread, outcome, reason)
        while thread.result is None:
            await thread.changed.wait()
        return thread.result

    def _end_soon(self, thread: Thread, outcome: ThreadOutcome, reason: str | None) -> None:
        ending = partial(self._end, thread, outcome, reason)
        self._running.start_soon(partial(guarded, ending, "ending a thread", thread_id=thread.id))

    async def _end(self, thread: Thread, outcome: ThreadOutcome, reason: str | None) -> None:
        """Bring a closing thread to its end: children, tasks, open calls, budget, and one final event."""
        with anyio.CancelScope(shield=True):
            for child in list(thread.children):
                await self.close(self._threads[child], "terminated", reason)
            for scope in list(thread.scopes):
                scope.cancel()
            while thread.scopes:
                await thread.changed.wait()
            await self._router.wait_idle(thread.id)
            self._finish(thread, outcome, reason)

    def _finish(self, thread: Thread, outcome: ThreadOutcome, reason: str | None) -> None:
        self._delivery.discard(thread)
        closed = self._registry.cleanup_thread(thread.id)
        final = closed.state
        self._router.close_thread(thread.id)
        pop_and_shrink(self._threads, thread.id)
        thread.result = ThreadResult(
            thread_id=thread.id, outcome=outcome, outputs=tuple(thread.outputs), budget=final, reason=reason
        )
        self.state_writer.save_result(thread, thread.result)
        self.ended.remember(thread.id, thread.result)
        self._outbox.emit(thread_closed(thread, thread.result))
        self.warnings.tell(closed.warnings)
        thread.note_change()
        if thread.parent is not None and (parent := self._threads.get(thread.parent)) is not None:
            parent.children.discard(thread.id)
            if thread.origin.spawned_by is not None:
                self.parked.unpark_message(parent, thread.origin.spawned_by[0])
            self.paused_time.note(parent)
            self.settle(parent)
