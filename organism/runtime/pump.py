"""The message pump: opens threads, takes messages in, and ends threads by order; it owns the parts that do the work.

Each thread has a lane per agent. A lane handles one message at a time, in the order of arrival; lanes run concurrently.
How a message is handled is in :mod:`organism.runtime.message_loop`, what follows for its thread in
:mod:`organism.runtime.lifecycle`.

Architecture invariant: the pump never reads a payload and never talks to a provider. Money is the router's business;
all the pump knows of it is that a message may have to wait.
"""

from collections.abc import Container
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import msgspec

from organism.amounts import Limits
from organism.budget.requests import LimitsRequest, grant_limits
from organism.concurrency.slices import in_slices
from organism.errors import StoppedError
from organism.journal import Pieces
from organism.messages import Message, ThreadResult, sendable
from organism.router.orphaned_holds import resolve_orphans
from organism.runtime.budget_warnings import BudgetWarnings
from organism.runtime.children import Children
from organism.runtime.delivery import Delivery
from organism.runtime.handlers.contained_tasks import ContainedTasks
from organism.runtime.handlers.loop_breakers import LoopBreakers
from organism.runtime.handlers.run_services import RunServices
from organism.runtime.intake import Intake
from organism.runtime.lifecycle import Lifecycle
from organism.runtime.loop_services import LoopServices
from organism.runtime.maintenance import maintain, warn_if_forgotten
from organism.runtime.message_loop import MessageLoop
from organism.runtime.recovery import RecoveryTarget, recover_threads
from organism.runtime.scheduler import Scheduler
from organism.runtime.supervisor import Supervisor
from organism.runtime.waiting.parked_messages import ParkedMessages
from organism.runtime.waiting.paused_time import PausedTime
from organism.runtime.waiting.questions import Questions
from organism.runtime.waiting.timers import Timers
from organism.runtime.workers.handler_places import HandlerStatistics
from organism.runtime.workers.worker_pool import WorkerPool, WorkerStatistics
from organism.threads.ended_threads import EndedThreads
from organism.threads.mailbox import MailboxStatistics
from organism.threads.open_threads import OpenThreads
from organism.threads.records import checked
from organism.threads.routing import check
from organism.threads.thread import NoMailboxError, Thread, ThreadView, view


class PumpStatistics(msgspec.Struct, frozen=True):
    """What is open and what waits.

    Attributes:
        mailboxes: By agent.
        stopped_agents: Agents that have failed too often, with the reason.
        paused_agents: Agents that an operator has paused.
        accepting: Whether new threads are taken.
        handlers: Handlers that run and that wait for a place.
        workers: The worker threads of plain functions.
    """

    threads: int
    blocked: int
    dead_letters: int
    mailboxes: dict[str, MailboxStatistics]
    stopped_agents: dict[str, str]
    paused_agents: frozenset[str] = frozenset()
    accepting: bool = True
    workers: WorkerStatistics = WorkerStatistics()
    handlers: HandlerStatistics = HandlerStatistics()


class Pump:
    """Runs the threads of one organism. Use it as an async context manager: it owns the tasks of all handlers."""

    def __init__(self, services: LoopServices) -> None:
        self.registry, self.router, self.active = services.registry, services.router, services.active
        self.state_writer = writer = services.state_writer
        self._journal = writer.journal
        self._outbox = services.outbox
        self._clock = services.clock
        self._ids = services.ids
        self._envelopes = services.envelopes
        active = self.active
        self.intake = Intake(services.clock, services.activity)
        self.worker_pool = WorkerPool(lambda: active.bounds.worker_threads)
        self._timers = Timers()
        self._contained = ContainedTasks()
        self._stopped = False
        # From here on each part knows those above it, so that the way of a message leads downward only.
        self._ended = EndedThreads(writer)
        self.open_threads = threads = OpenThreads(self._ended)
        self.paused_time = PausedTime(services, threads.by_id)
        self.scheduler = Scheduler(services, self.paused_time)
        self._places = self.scheduler.places
        self.parked = ParkedMessages(threads.by_id, self.registry, writer, self.scheduler.start_lane)
        questions = Questions(self.parked, writer)
        self.delivery = Delivery(services, self.scheduler, self.paused_time, questions)
        self.warnings = BudgetWarnings(self.registry, threads, self.delivery, self._outbox, writer)
        self.lifecycle = Lifecycle(
            services, threads, self.delivery, self.scheduler, self.parked, self.paused_time, self.warnings
        )
        children = Children(services, self.lifecycle, self.intake)
        breakers = LoopBreakers(services, self.delivery, self.lifecycle)
        runs = RunServices(
            active=active,
            router=self.router,
            memo=self.router.memo,
            registry=self.registry,
            reservations=self.registry.reservations,
            delivery=self.delivery,
            children=children,
            warnings=self.warnings,
            breakers=breakers,
            timers=self._timers,
            worker_pool=self.worker_pool,
            places=self._places,
            paused_time=self.paused_time,
            state_writer=writer,
            clock=services.clock,
        )
        supervisor = Supervisor(services, self.delivery)
        self._loop = MessageLoop(services, runs, self.delivery, supervisor, questions, self.parked)
        self.router.subscribe_warnings(self.warnings.tell_call)
        self.router.subscribe_calls(breakers.on_call)

    @property
    def running(self) -> bool:
        """Whether handlers can run."""
        return self.scheduler.tasks is not None

    def check_orders(self) -> None:
        """Refuse orders while a start takes up what the journal has, and once handlers have stopped.

        The first would take the numbers of stored events, and find threads half taken up; the others would begin what
        no task ends any more.

        Raises:
            StoppedError: If so.
        """
        if self._stopped or (self._journal.durable and not self.scheduler.recovered):
            raise StoppedError(begun=self._stopped)

    async def __aenter__(self) -> Self:
        self._contained.__enter__()
        tasks = await anyio.create_task_group().__aenter__()
        self.scheduler.run_in(tasks, self._loop.handle, self.lifecycle.settle)
        tasks.start_soon(self._timers.run)
        warn_if_forgotten(self.registry.plan, durable=self._journal.durable)
        self.intake.accept()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop: what a durable journal keeps stays open for the next process, everything else is ended."""
        if (tasks := self.scheduler.tasks) is None:
            return
        self.intake.refuse()
        with anyio.CancelScope(shield=True):
            if self._journal.durable:
                await self.lifecycle.halt()
                # Only now, when no handler runs: a start that finds this counts no attempt for the first messages.
                self.state_writer.save_clean_stop()
            else:
                for thread_id in [thread.id for thread in self.open_threads.all() if thread.parent is None]:
                    await self.terminate(thread_id, "the organism has stopped")
        self._stopped = True
        for thread in self.open_threads.all():  # to those that wait for its end nothing else would ever happen
            thread.note_change()
        tasks.cancel_scope.cancel()
        # The body's own error is not handed over: it would come out wrapped in a group with nothing else in it.
        await tasks.__aexit__(None, None, None)
        self.scheduler.stop()
        self.worker_pool.close()
        self._contained.__exit__(None, None, None)

    # -- the start ------------------------------------------------------------------------------------------------

    async def recover_threads(self, pieces: Pieces, last_time_ns: int, only: Container[str] | None = None) -> None:
        """Rebuild what a journal has kept, every thread as it stood, none running yet; see :class:`RecoveryTarget`."""
        parts = (self.open_threads, self.delivery, self.state_writer, self.registry, self.router.memo)
        await in_slices(recover_threads(pieces, RecoveryTarget(*parts, self.active.messages, last_time_ns, only)))

    def resolve_orphans(self) -> int:
        """Charge or give back the calls that were under way when the last process ended, and count them."""
        resolved = resolve_orphans(self.registry, self._outbox, self.open_threads.labels_of, self.warnings.tell_call)
        self.lifecycle.close_lost()
        return resolved

    def resume_threads(self, only: Container[str] | None = None) -> None:
        """Let recovered threads continue.

        Args:
            only: The roots of those that do; the others stay as they are. All when not given.
        """
        self.state_writer.delete_clean_stop()
        self.warnings.resume()
        self.scheduler.recovered = True
        for thread in self.open_threads.all():
            if only is None or thread.root in only:
                self.lifecycle.recover(thread)
        for thread in self.open_threads.all():
            self.parked.watch_headroom(thread)  # the calls that held its room have been resolved meanwhile
        # Only now: what is half taken up must neither be taken for idle nor written as a checkpoint.
        durable = self._journal.durable
        self.scheduler.start_soon(maintain, self.open_threads, self.parked, self.registry, durable)

    # -- threads --------------------------------------------------------------------------------------------------

    def start_thread(
        self,
        message: Message,
        to: str,
        *,
        thread_id: str | None = None,
        limits: LimitsRequest | Limits | None = None,
        may_raise: bool = False,
        labels: dict[str, str] | None = None,
        trace: str | None = None,
    ) -> str:
        """Open a thread with a first message and return its id.

        Args:
            to: The agent it is for.
            thread_id: A name for the thread, never used before; made up when not given.
            limits: What is asked for it; see :func:`organism.budget.requests.grant_limits`.
            may_raise: Whether the caller may have more than is configured.
            labels: Kept on every usage event of the thread.
            trace: The ``traceparent`` of the caller; one that is malformed is ignored.

        Raises:
            ConfigError: If a limit is no amount.
            DeliveryError: If the message cannot be accepted.
            StoppedError: If the organism is stopping.
        """
        self.intake.check()
        labels = checked(labels or {}, dict[str, str], "labels")
        granted = grant_limits(limits, self.registry.plan.thread, may_raise=may_raise)
        message, size = sendable(message, self.active.bounds.message_bytes)
        check(None, to, message, self.active.agents, reply=False)
        self.active.check_here(to)
        thread_id = thread_id or self._ids.next("th")
        self.open_threads.check_new_id(thread_id)
        thread = Thread(
            id=thread_id,
            root=thread_id,
            parent=None,
            depth=0,
            entry=to,
            labels=labels,
            origin=self.intake.origin(trace),
        )
        envelope = self._envelopes.first(thread, to, message, size)
        self.delivery.check_room(envelope)
        self.registry.open_thread(thread_id, limits=granted, labels=labels)
        self.lifecycle.begin(thread, envelope)
        return thread_id

    def send(self, thread_id: str, message: Message, to: str | None = None) -> str:
        """Send a message from outside into an open thread, to its entry agent unless another is named.

        Returns:
            The id of the message.

        Raises:
            DeliveryError: If the message cannot be accepted.
            StoppedError: If the organism is stopping.
        """
        self.intake.check()
        thread = self.open_threads.get(thread_id)
        if thread.standing:
            raise NoMailboxError(thread_id)
        recipient = to or thread.entry
        message, size = sendable(message, self.active.bounds.message_bytes)
        check(None, recipient, message, self.active.agents, reply=False)
        self.active.check_here(recipient)
        envelope = self._envelopes.first(thread, recipient, message, size)
        self.delivery.check_room(envelope)
        self.delivery.enqueue(thread, envelope)
        return envelope.id

    def result(self, thread_id: str) -> ThreadResult | None:
        """Return how a thread ended; ``None`` if it is open, was never, or ended long ago."""
        return self._ended.result(thread_id)

    async def wait_rest(self, thread_id: str) -> ThreadResult | ThreadView:
        """Wait until a thread has ended, or waits for more than comes back by itself, and return its result or a look.

        Raises:
            StoppedError: If the organism has stopped, and it stays open for the next process.
            ThreadClosedError: If no such thread is open, or it has ended long ago.
        """
        if (ended := self._ended.result(thread_id)) is not None:
            return ended
        thread = self.open_threads.get(thread_id, closing=True)
        while thread.result is None:
            if self._stopped:
                raise StoppedError(thread_id)
            is_blocked = thread.status == "blocked" and not self.parked.resumes_by_itself(thread)
            if is_blocked or thread.paused_by is not None:
                return view(thread)
            await thread.changed.wait()
        return thread.result

    async def terminate(self, thread_id: str, reason: str = "terminated by order") -> ThreadResult:
        """End a thread and its children now; calls under way are charged what they really cost.

        Ending one that has ended already changes nothing and returns its result.

        Raises:
            ThreadClosedError: If no such thread is open, or it has ended long ago.
        """
        if (ended := self._ended.result(thread_id)) is not None:
            return ended
        thread = self.open_threads.get(thread_id, closing=True)
        return await self.lifecycle.close(thread, "terminated", checked(reason, str, "the reason"))

    async def wait_at_rest(self, within_s: float) -> None:
        """Wait until every open thread has ended or waits for budget or a person, for so many seconds at most."""
        with anyio.move_on_after(within_s):
            for thread in self.open_threads.all():
                while not thread.at_rest:
                    await thread.changed.wait()

    @property
    def at_rest(self) -> bool:
        """Whether every open thread waits for budget or a person."""
        return all(thread.at_rest for thread in self.open_threads.all())

    def threads(self) -> tuple[ThreadView, ...]:
        """Return a look at every open thread, oldest first."""
        return tuple(view(thread) for thread in self.open_threads.all())

    def thread(self, thread_id: str) -> ThreadView:
        """Return a look at one open thread.

        Raises:
            ThreadClosedError: If no such thread is open.
        """
        return view(self.open_threads.get(thread_id, closing=True))

    def statistics(self) -> PumpStatistics:
        """Count what is open and what waits."""
        letters = self.delivery.dead_letters
        return PumpStatistics(
            threads=len(self.open_threads),
            blocked=sum(thread.status == "blocked" for thread in self.open_threads.all()),
            dead_letters=letters.total,
            mailboxes={name: self.delivery.mailboxes[name].statistics() for name in self.active.agents},
            stopped_agents=dict(self.active.stopped),
            paused_agents=frozenset(self.active.paused),
            accepting=self.intake.open,
            workers=self.worker_pool.statistics(),
            handlers=self._places.statistics(),
        )
