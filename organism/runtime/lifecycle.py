"""The life of a thread: it begins, works, may block or be paused, and closes once.

Its states are a table in :mod:`organism.threads.thread_state`. A thread is settled each time one of its lanes comes to
rest. It is over when nothing of it is queued, running, timed or parked. Closing takes its children, its tasks, its open
calls and its budget with it, in this order.
"""

from functools import partial

import anyio

from organism.amounts.account import thread_of
from organism.errors import Refusal
from organism.messages import Envelope, ThreadOutcome, ThreadResult
from organism.runtime.budget_warnings import BudgetWarnings
from organism.runtime.delivery import Delivery
from organism.runtime.loop_services import LoopServices
from organism.runtime.scheduler import Scheduler
from organism.runtime.waiting.parked_messages import ParkedMessages
from organism.runtime.waiting.paused_time import PausedTime
from organism.runtime.workers.guard import guarded
from organism.threads.open_threads import OpenThreads
from organism.threads.thread import Thread
from organism.threads.thread_state import ThreadEvent
from organism.tracing import trace_id_of
from organism.usage.events import ThreadBlocked, ThreadClosed, ThreadOpened


class Lifecycle:
    """Begins, blocks, pauses and closes threads.

    Args:
        paused_time: Stops their time where something is paused.
    """

    def __init__(
        self,
        services: LoopServices,
        threads: OpenThreads,
        delivery: Delivery,
        scheduler: Scheduler,
        parked: ParkedMessages,
        paused_time: PausedTime,
        warnings: BudgetWarnings,
    ) -> None:
        self.threads = threads
        self._ended = threads.ended
        self._delivery = delivery
        self._scheduler = scheduler
        self._parked = parked
        self._paused_time = paused_time
        self._warnings = warnings
        self._registry = services.registry
        self._accounts = services.registry.accounts
        self._stops = services.registry.stops
        self._router = services.router
        self._state_writer = services.state_writer
        self._outbox = services.outbox

    def begin(self, thread: Thread, envelope: Envelope | None = None) -> None:
        """Open a thread with its first message; one for calls from outside has none."""
        self.threads.add(thread)
        # In one step with its first message: a thread alone in the journal would stay open with nothing to end it.
        self._state_writer.save_thread(thread)
        self._outbox.emit(_opened(thread))
        if envelope is not None:
            self._delivery.enqueue(thread, envelope)
            if thread.parent is not None:  # what an agent says; what users say is theirs to tell
                self._outbox.publish_content(thread.root, envelope, envelope.created_ns)

    # -- what follows when a part of it is idle --------------------------------------------------------------------

    def settle(self, thread: Thread) -> None:
        """See whether a thread is over, or blocked."""
        if thread.paused_since is not None:
            self._paused_time.note(thread)
        # One that is being halted may have been opened again by an order: its end is waited for, whatever is queued.
        if thread.status != "open" or thread.standing or thread.halting:
            thread.note_change()
        elif not thread.busy:
            self._settle_idle(thread)

    def _settle_idle(self, thread: Thread) -> None:
        if thread.parked is not None:
            own_work = any(self.threads.by_id[child].status != "blocked" for child in thread.children)
            if not own_work or not self._parked.resumes_by_itself(thread):
                self._block(thread)
        elif not thread.children and not self._delivery.join_incomplete(thread):
            failed = thread.gave_up is not None and not thread.outputs
            outcome: ThreadOutcome = "failed" if failed else "completed"
            reason = thread.gave_up if failed else None
            # Before anything is waited for: what is sent to it from here on is refused, and not lost with its lanes.
            thread.move("close")
            if thread.scopes or self._router.busy(thread.id):
                self._close_soon(thread, outcome, reason)
            else:
                self._finish(thread, outcome, reason)  # there is nothing to wait for, and so no need of a task

    def _block(self, thread: Thread) -> None:
        waits = thread.parked
        thread.move("block")
        thread.blocked_by = waits
        self._registry.pause_time(thread.id)
        self._state_writer.save_thread(thread)
        thread.quiet = self._parked.resumes_by_itself(thread)
        if not thread.quiet:
            self._tell_blocked(thread)
        for other in self._parked.held_up():
            self._look_again(other)  # this one may have been the last that it could count on

    def _tell_blocked(self, thread: Thread) -> None:
        thread.quiet = False
        if isinstance(thread.blocked_by, Refusal):
            agent = next(lane.agent for lane in thread.lanes.values() if lane.aside)
            self._outbox.emit(
                ThreadBlocked(thread_id=thread.id, root_thread_id=thread.root, agent=agent, shortfall=thread.blocked_by)
            )
        thread.note_change()

    def _look_again(self, thread: Thread) -> None:
        """See whether what a thread waits for will still be given back by itself."""
        if thread.status == "open":
            self.settle(thread)
        elif thread.quiet and not self._parked.resumes_by_itself(thread):
            self._tell_blocked(thread)

    # -- orders, stop and start -----------------------------------------------------------------------------------

    def pause(self, thread: Thread, why: Refusal | None = None) -> None:
        """Start nothing more of a thread; its wall time stands still once what runs of it is done, or only waits.

        Args:
            why: The refusal of the breaker that pauses it: then further calls of its handlers are refused too, and
                their messages wait. ``None`` for an operator's pause.
        """
        thread.move("pause")
        thread.paused_by = why
        self._stops.stop(thread.id, why)
        self._state_writer.save_thread(thread)
        self._paused_time.note(thread)
        self.settle(thread)

    def resume(self, thread: Thread) -> None:
        """Let a paused thread continue, or block as it did before; what a breaker had refused goes on."""
        thread.paused_by = None
        self._stops.stop(thread.id, None)
        self._open(thread, "resume")
        self._parked.unpark_unstopped(thread)

    def recover(self, thread: Thread) -> None:
        """Let a recovered thread continue from where it was."""
        if thread.status == "closing":
            outcome, reason = thread.ending or ("completed", None)
            self._close_soon(thread, outcome, reason)
            return
        for envelope in thread.timed.values():
            self._delivery.start_timed(thread, envelope)
        if thread.status == "dormant":
            self._open(thread, "recover")
        self._scheduler.start_lanes(thread)

    def _open(self, thread: Thread, event: ThreadEvent) -> None:
        thread.move(event)
        if not thread.standing or thread.called:
            self._registry.resume_time(thread.id)
        thread.time_stands = False
        self._state_writer.save_thread(thread)
        self._scheduler.start_lanes(thread)
        self._paused_time.note(thread)
        self.settle(thread)

    async def halt(self) -> None:
        """Stop all handlers where they are, wait for open calls to settle, and write every thread as it stands.

        All are stopped before any is waited for: a handler that still ran could send to a thread that is written
        already, and its message would be in the journal without the state that explains it.
        """
        for thread in self.threads.all():
            if thread.status == "open":
                thread.move("halt")
            thread.halting = True
            for scope in list(thread.scopes):
                scope.cancel()
        for thread in self.threads.all():
            while thread.scopes:
                await thread.changed.wait()
            # A call outlives its handler until it is charged. Left open by the end of the process, it would be charged
            # all that it holds at the next start.
            await self._router.wait_idle(thread.id)
            if thread.result is None:  # it may have come to its end meanwhile
                self._registry.pause_time(thread.id)
                self._state_writer.save_thread(thread)

    # -- its end --------------------------------------------------------------------------------------------------

    def close_idle(self, thread: Thread, reason: str) -> bool:
        """Close a thread as completed at once, if nothing of it is in progress; whether it was."""
        if thread.status != "open" or thread.at_work or self._router.busy(thread.id):
            return False
        thread.move("close")
        self._finish(thread, "completed", reason)
        return True

    async def close(self, thread: Thread, outcome: ThreadOutcome, reason: str | None) -> ThreadResult:
        """Close a thread by order; one that is closing already keeps its outcome."""
        self.begin_close(thread, outcome, reason)
        while thread.result is None:
            await thread.changed.wait()
        return thread.result

    def begin_close(self, thread: Thread, outcome: ThreadOutcome, reason: str | None) -> None:
        """Have a thread closed, by order or by a breaker, without waiting for it."""
        if thread.status != "closing":
            thread.move("close")
            # Written before its tasks end: a process that dies in between closes it at the next start, with this
            # outcome, instead of running its messages again.
            thread.ending = (outcome, reason)
            self._state_writer.save_thread(thread)
            self._close_soon(thread, outcome, reason)

    def _close_soon(self, thread: Thread, outcome: ThreadOutcome, reason: str | None) -> None:
        closing = partial(self._close, thread, outcome, reason)
        self._scheduler.start_soon(partial(guarded, closing, "ending a thread", thread_id=thread.id))

    async def _close(self, thread: Thread, outcome: ThreadOutcome, reason: str | None) -> None:
        """Bring a closing thread to its end: handlers, children, open calls, budget, and one final event.

        Handlers are stopped first: one that waits for a child would see it end and go on, with a call or another child.
        The budget comes last: a child gives its carved budget back into its parent's account, and a call settles into
        the thread's. An account that was closed before would get neither.
        """
        with anyio.CancelScope(shield=True):
            for scope in list(thread.scopes):
                scope.cancel()
            # Looked at anew each time: another order may end one of them while this waits for the one before it.
            while thread.children:
                await self.close(self.threads.by_id[next(iter(thread.children))], "terminated", reason)
            while thread.scopes:
                await thread.changed.wait()
            await self._router.wait_idle(thread.id)
            self._finish(thread, outcome, reason)

    def _finish(self, thread: Thread, outcome: ThreadOutcome, reason: str | None) -> None:
        """End a thread in one step, with no await, so one commit has its result, its budget and its dead letters."""
        self._delivery.discard(thread)
        closed = self._registry.cleanup_thread(thread.id)
        self._router.close_thread(thread.id)
        self.threads.remove(thread)
        parent = self.threads.find(thread.parent)
        if parent is not None:
            # With its removal: a warning to the parent, below, looks at what is under it, and would find nothing there.
            parent.children.pop(thread.id, None)
        thread.result = ThreadResult(
            thread_id=thread.id, outcome=outcome, outputs=tuple(thread.outputs), budget=closed.state, reason=reason
        )
        self._state_writer.save_result(thread, thread.result)
        self._ended.remember(thread.id, thread.result)
        self._outbox.emit(_closed(thread, thread.result))
        self._warnings.tell(closed.warnings)
        thread.note_change()
        if parent is not None:
            if thread.origin.spawned_by is not None:
                self._parked.unpark_message(parent, thread.origin.spawned_by[0])
            self._paused_time.note(parent)
            self.settle(parent)

    def close_lost(self) -> int:
        """Close every account that the journal has of a thread that could not be recovered; return how many."""
        finals = self._accounts.close_lost()
        for final in finals:
            thread_id = thread_of(final.account) or ""
            reason = "what the journal has kept of it could not be taken up at the start, and is set aside"
            result = ThreadResult(thread_id=thread_id, outcome="failed", outputs=(), budget=final, reason=reason)
            self._state_writer.save_lost(result)
            self._ended.remember(thread_id, result)
            self._outbox.emit(
                ThreadClosed(
                    thread_id=thread_id, root_thread_id=thread_id, outcome="failed", budget=final, reason=reason
                )
            )
        return len(finals)


def _opened(thread: Thread) -> ThreadOpened:
    """Say that a thread has begun."""
    return ThreadOpened(
        thread_id=thread.id,
        root_thread_id=thread.root,
        entry=thread.entry,
        parent_thread_id=thread.parent,
        labels=thread.labels,
        trace_id=trace_id_of(thread.origin.trace),
        opened_by=thread.origin.opened_by,
    )


def _closed(thread: Thread, result: ThreadResult) -> ThreadClosed:
    """Say how a thread has ended."""
    return ThreadClosed(
        thread_id=thread.id,
        root_thread_id=thread.root,
        outcome=result.outcome,
        budget=result.budget,
        reason=result.reason,
        entry=thread.entry,
        opened_ns=thread.origin.opened_ns,
        labels=thread.labels,
        trace=thread.origin.trace,
        parent_trace=thread.origin.parent_trace,
    )
