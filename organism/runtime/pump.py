"""The message pump: opens threads, takes their messages to handlers, and ends them when nothing is left to do.

Each thread has a lane per agent. A lane handles one message at a time, in the order of arrival; lanes run concurrently.
A handler's messages leave when it finishes, so a run that fails has sent nothing. A thread is looked at each time one
of its lanes comes to rest: it is over when nothing of it is queued, running, timed or parked.

Architecture invariant: the pump never reads a payload and never talks to a provider. Money is the router's business;
all the pump knows of it is that a message may have to wait.
"""

from collections.abc import Container, Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from organism.agents.agent import Agent
from organism.amounts import BudgetState, Limits
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.requests import LimitsRequest, grant_limits
from organism.clock import Clock
from organism.errors import (
    AskCycleError,
    BoundExceededError,
    ConfigError,
    StoppedError,
)
from organism.ids import IdSource
from organism.journal import Journal, Pieces
from organism.messages import Envelope, Message, MessageRegistry, ThreadResult
from organism.router.orphaned_holds import resolve_orphans
from organism.router.router import LLMRouter
from organism.runtime.active_config import ActiveConfig
from organism.runtime.bounds import Bounds
from organism.runtime.children import Children
from organism.runtime.delivery import Delivery
from organism.runtime.handlers.contained_tasks import ContainedTasks
from organism.runtime.handlers.envelopes import EnvelopeFactory
from organism.runtime.handlers.output_routing import RoutedMessage, copied_and_sized
from organism.runtime.handlers.run_services import OnExhausted, SpawnRequest
from organism.runtime.lifecycle import Lifecycle
from organism.runtime.maintenance import maintain
from organism.runtime.orders.approvals import Approvals
from organism.runtime.orders.budget_changes import BudgetChanges
from organism.runtime.orders.dead_letters import DeadLetterOrders
from organism.runtime.orders.external_threads import ExternalThreads
from organism.runtime.orders.pausing import Pausing
from organism.runtime.orders.reload import AgentReload
from organism.runtime.recovery import RecoveryTarget, recover_threads
from organism.runtime.statistics import PumpStatistics
from organism.runtime.supervisor import Supervisor
from organism.runtime.timers import Timers
from organism.runtime.workers.worker_pool import WorkerPool
from organism.threads.records import checked
from organism.threads.routing import check, check_work
from organism.threads.state_writer import ThreadStateWriter
from organism.threads.thread import MessageKey, NoMailboxError, Origin, Question, Thread, ThreadView, view
from organism.tracing import parse_trace
from organism.usage.activity import ActivityFeed
from organism.usage.outbox import Outbox


class Pump:
    """Runs the threads of one organism. Use it as an async context manager: it owns the tasks of all handlers.

    Args:
        agents: The agents; their names are unique.
        registry: The budgets.
        router: The door to the models, running.
        journal: Keeps threads and messages.
        outbox: Takes the events.
        clock: For instants and periods.
        ids: Makes thread and message ids.
        bounds: Structural bounds.
        on_exhausted: What a refusal means for a handler.
        activity: Is told of every run of a handler.
    """

    def __init__(  # noqa: PLR0913 - where the rooms meet; everything is named at the one place that calls it
        self,
        agents: Iterable[Agent],
        *,
        registry: ThreadBudgetRegistry,
        router: LLMRouter,
        journal: Journal,
        outbox: Outbox,
        clock: Clock,
        ids: IdSource,
        bounds: Bounds | None = None,
        on_exhausted: OnExhausted = "park",
        activity: ActivityFeed | None = None,
    ) -> None:
        self._active = ActiveConfig({agent.name: agent for agent in agents}, bounds or Bounds())
        self.registry = registry
        self.router = router
        self.on_exhausted: OnExhausted = on_exhausted
        self.timers = Timers()
        self.worker_pool = WorkerPool(lambda: self._active.bounds.worker_threads)
        self._outbox = outbox
        self._clock = clock
        self._ids = ids
        self._activity = activity or ActivityFeed()
        self._envelopes = EnvelopeFactory(clock, ids)
        self._state_writer = ThreadStateWriter(journal, registry, clock)
        self._delivery = Delivery(self._active, outbox, self._state_writer, clock, self._envelopes)
        self._supervisor = Supervisor(self, self._active, self._delivery, outbox, clock, self._activity)
        self._life = Lifecycle(self._delivery, registry, router, outbox, clock, self._active, self._supervisor.work)
        self.approvals = Approvals(self._life, self._state_writer, outbox)
        self.budget_changes = BudgetChanges(registry, self._life, outbox)
        self.pausing = Pausing(self._life, self._supervisor)
        self.dead_letters = DeadLetterOrders(self, self._life, self._delivery, self._state_writer)
        self.reload = AgentReload(self._active, self._life, self._delivery, self._supervisor)
        self._children = Children(self._life, registry, self._envelopes, self._active, ids, self.origin)
        self.accepting = False
        self._contained = ContainedTasks()
        self.external_threads = ExternalThreads(self._life, registry, router, self._state_writer, self)
        router.on_warning = self._life.warnings.tell_call

    @property
    def agents(self) -> Mapping[str, Agent]:
        """The agents in force, by name."""
        return self._active.agents

    @property
    def running(self) -> bool:
        """Whether handlers can run."""
        return self._life.tasks is not None

    async def __aenter__(self) -> Self:
        self._contained.__enter__()
        tasks = await anyio.create_task_group().__aenter__()
        self._life.run_in(tasks)
        tasks.start_soon(self.timers.run)
        tasks.start_soon(maintain, self._life, self.registry, self._clock, self._state_writer.journal.durable)
        self.accepting = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop: what a durable journal keeps stays open for the next process, everything else is ended."""
        if (tasks := self._life.tasks) is None:
            return
        self.accepting = False
        with anyio.CancelScope(shield=True):
            if self._state_writer.journal.durable:
                await self._life.halt()
                self._state_writer.save_clean_stop()
            else:
                for thread_id in [thread.id for thread in self._life.all() if thread.parent is None]:
                    await self.terminate(thread_id, "the organism has stopped")
        tasks.cancel_scope.cancel()
        # The body's own error is not handed over: it would come out wrapped in a group with nothing else in it.
        await tasks.__aexit__(None, None, None)
        self._life.run_in(None)
        self.worker_pool.close()
        self._contained.__exit__(None, None, None)

    def recover_threads(
        self, pieces: Pieces, messages: MessageRegistry, last_time_ns: int, only: Container[str] | None = None
    ) -> None:
        """Take up what a journal has kept, every thread as it stood, none running yet; see :class:`RecoveryTarget`."""
        parts = (self._life, self._delivery, self._state_writer, self.registry, self.router.memo)
        recover_threads(pieces, RecoveryTarget(*parts, messages, last_time_ns, only))

    def resolve_orphans(self) -> int:
        """Charge or give back the calls that were under way when the last process ended, and count them."""
        resolved = resolve_orphans(self.registry, self._outbox, self._life.labels_of, self._life.warnings.tell_call)
        self._life.close_lost()
        return resolved

    def resume_threads(self, only: Container[str] | None = None) -> None:
        """Let restored threads go on.

        Args:
            only: The roots of those that go on; the others stay as they are. All when not given.
        """
        self._state_writer.delete_clean_stop()
        self._life.restored()
        for thread in self._life.all():
            if only is None or thread.root in only:
                self._life.resume(thread)
        for thread in self._life.all():
            self._life.parked.note(thread)  # the calls that held its room have been resolved meanwhile

    async def look_up(self, thread_id: str | None) -> None:
        """Ask the journal whether a thread of that name has ended, so that :meth:`open_thread` knows.

        Raises:
            JournalError: If it cannot be read.
        """
        if self._life.find(thread_id or "") is None:
            await self._life.ended.look_up(thread_id)

    def open_thread(
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
            message: The first message.
            to: The agent it is for.
            thread_id: A name for the thread, never used before; made up when not given.
            limits: What is asked for it; see :func:`organism.budget.requests.grant_limits`.
            may_raise: Whether whoever asks may have more than is configured.
            labels: Kept on every usage event of the thread.
            trace: The ``traceparent`` of whoever asks for it; one that is malformed is ignored.

        Raises:
            ConfigError: If a limit is no amount.
            DeliveryError: If the message cannot be accepted.
            StoppedError: If the organism is stopping.
        """
        if not self.accepting:
            raise StoppedError
        labels = checked(labels or {}, dict[str, str], "labels")
        granted = grant_limits(limits, self.registry.plan.thread, may_raise=may_raise)
        message, size = copied_and_sized(message, self._active.bounds)
        check(None, to, message, self.agents, reply=False)
        thread_id = thread_id or self._ids.next("th")
        self._life.check_id(thread_id)
        thread = Thread(
            id=thread_id, root=thread_id, parent=None, depth=0, entry=to, labels=labels, origin=self.origin(trace)
        )
        envelope = self._envelopes.first(thread, to, message, size)
        self._delivery.check_room(envelope)
        self.registry.open_thread(thread_id, limits=granted)
        self._life.begin(thread, envelope)
        return thread_id

    def send(self, thread_id: str, message: Message, to: str | None = None) -> str:
        """Send a message from outside into an open thread, to its entry agent unless another is named.

        Returns:
            The id of the message.

        Raises:
            DeliveryError: If the message cannot be accepted.
            StoppedError: If the organism is stopping.
        """
        if not self.accepting:
            raise StoppedError
        thread = self._life.get(thread_id)
        if thread.standing:
            raise NoMailboxError(thread_id)
        recipient = to or thread.entry
        message, size = copied_and_sized(message, self._active.bounds)
        check(None, recipient, message, self.agents, reply=False)
        envelope = self._envelopes.first(thread, recipient, message, size)
        self._delivery.check_room(envelope)
        self._delivery.accept(thread, envelope)
        return envelope.id

    def result(self, thread_id: str) -> ThreadResult | None:
        """Return how a thread ended; ``None`` if it is open, was never, or ended long ago."""
        return self._life.ended.result(thread_id)

    async def wait_rest(self, thread_id: str) -> ThreadResult | ThreadView:
        """Wait until a thread has ended or waits for budget, and return its result or a look at it.

        Raises:
            ThreadClosedError: If no such thread is open, or it has ended long ago.
        """
        if (ended := self._life.ended.result(thread_id)) is not None:
            return ended
        thread = self._life.get(thread_id, closing=True)
        while thread.result is None:
            if thread.status == "blocked":
                return view(thread)
            await thread.changed.wait()
        return thread.result

    async def terminate(self, thread_id: str, reason: str = "terminated by order") -> ThreadResult:
        """End a thread and its children now; calls under way are charged what they really cost.

        Ending one that has ended already changes nothing and returns its result.

        Raises:
            ThreadClosedError: If no such thread is open, or it has ended long ago.
        """
        if (ended := self._life.ended.result(thread_id)) is not None:
            return ended
        thread = self._life.get(thread_id, closing=True)
        return await self._life.close(thread, "terminated", checked(reason, str, "the reason"))

    def set_limits(self, account: str, limits: Limits) -> BudgetState:
        """Give an account new limits and let go on what waited for it.

        Raises:
            UnknownAccountError: If the account is not open.
        """
        return self.budget_changes.set_limits(account, limits)

    async def drain(self, within_s: float) -> bool:
        """Take no new threads and wait until the open ones have ended or wait for budget; whether they all did."""
        self.accepting = False
        with anyio.move_on_after(within_s) as timer:
            for thread in self._life.all():
                while not thread.at_rest:
                    await thread.changed.wait()
        return not timer.cancelled_caught

    def threads(self) -> tuple[ThreadView, ...]:
        """Return a look at every open thread, oldest first."""
        return tuple(view(thread) for thread in self._life.all())

    def thread(self, thread_id: str) -> ThreadView:
        """Return a look at one open thread.

        Raises:
            ThreadClosedError: If no such thread is open.
        """
        return view(self._life.get(thread_id, closing=True))

    def statistics(self) -> PumpStatistics:
        """Count what is open and what waits."""
        return PumpStatistics(
            threads=len(self._life),
            blocked=sum(thread.status == "blocked" for thread in self._life.all()),
            dead_letters=self._delivery.dead_letters.total,
            mailboxes={name: self._delivery.mailboxes[name].statistics() for name in self.agents},
            stopped_agents=dict(self._supervisor.stopped),
            paused_agents=frozenset(self._supervisor.paused),
            accepting=self.accepting,
            workers=self.worker_pool.statistics(),
        )

    # -- what runs ask for (the Host port) ---------------------------------------------------------------------------

    def model_for(self, model: str | None) -> str:
        """Return the model a call goes to: the one named, or the only one there is.

        Raises:
            ConfigError: If none is named and there is not exactly one.
        """
        if model is not None:
            return model
        models = list(self.router.models)
        if len(models) != 1:
            raise ConfigError(f"name a model for this call; there are: {', '.join(sorted(models)) or 'none'}")
        return models[0]

    async def put_question(
        self, thread: Thread, agent: Agent, asker: Envelope, index: int, recipient: str, message: Message
    ) -> Question:
        """Send a question of a handler."""
        bounds = self._active.bounds
        chain = (*asker.asking, agent.name)
        if recipient in chain:
            raise AskCycleError((*chain, recipient))
        message, size = copied_and_sized(message, bounds)
        check_work(agent, recipient, message, self.agents)
        outgoing = RoutedMessage(recipient=recipient, message=message, size=size)
        envelope = self._envelopes.question(asker, agent.name, outgoing, index)
        if envelope.hops > bounds.hops:
            raise BoundExceededError("hops", bounds.hops, "this thread goes round too long")
        question = Question(envelope.id, recipient, (asker.id, index))
        thread.know(question)
        await self._delivery.deliver(thread, envelope)
        return question

    def waiting(self, thread: Thread, envelope: Envelope) -> AbstractContextManager[None]:
        """Note that the handler of a message does nothing but wait for another agent or a child."""
        return self._life.paused_time.waiting(thread, envelope.id)

    async def spawn_child(
        self, parent: Thread, agent: Agent, asker: Envelope, index: int, request: SpawnRequest
    ) -> Thread:
        """Open a child thread of a handler, or find the one its earlier run has opened."""
        return await self._children.spawn(parent, agent, (asker.id, index), request)

    def origin(self, parent_trace: str | None, spawned_by: MessageKey | None = None) -> Origin:
        """Say when and out of what a thread begins that is opened now."""
        above = str(known) if (known := parse_trace(parent_trace)) is not None else None
        trace = self._activity.begin(above)
        return Origin(opened_ns=self._clock.now_ns(), trace=trace, parent_trace=above, spawned_by=spawned_by)
