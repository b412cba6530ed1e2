"""What a handler's context can do, from the begin of its run to the end and not beyond.

A handler may leave tasks and functions behind that still have its context. Once the run is over each of their calls is
refused before it does anything: what it would send goes nowhere, what it would keep is kept for a message that is done,
and a piece in the journal that belongs to nothing is found by the next start. Calls they are inside of are cancelled.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

import anyio
import msgspec
from msgspec.structs import replace

from organism.agents.agent import Agent, Output
from organism.agents.runtime import AS_USUAL, Sending
from organism.amounts import BudgetState, Limits
from organism.budget.holds import ChildBudget, Spender
from organism.errors import AskFailedError, AskTimeoutError, BudgetExhaustedError, ConfigError, ContextClosedError
from organism.llm.answers import Completion
from organism.llm.deltas import text_only
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Request, TextSink
from organism.llm.requests import CompletionRequest
from organism.messages import BudgetWarning, Envelope, Message, ThreadResult
from organism.router.call import Call, LastWord
from organism.runtime.children import SpawnRequest
from organism.runtime.handlers.callers import CallingTask
from organism.runtime.handlers.handler_outcome import HandlerParked, encode_state
from organism.runtime.handlers.output_routing import messages_of, route, route_question, too_many
from organism.runtime.handlers.run_expenses import RunExpenses, payer_of
from organism.runtime.handlers.run_services import AgentRunner, RunServices
from organism.runtime.workers.cancel_scope import ReusableCancelScope
from organism.runtime.workers.handler_places import PlaceHolder
from organism.threads.approvals import Approval, BudgetRequest, Decision, WaitReason, approval_id, decision_key
from organism.threads.envelopes import RoutedMessage
from organism.threads.lanes import Lane
from organism.threads.thread import Thread

A = TypeVar("A", Completion, Embeddings)
R = TypeVar("R")
T = TypeVar("T")

REPORTS_MAX = 100
"""Reports of one run: each is an event."""

STEPS_MAX = 10_000
"""Pieces of work one message may have kept: each is a piece in the journal."""


class HandlerRuntime(PlaceHolder, eq=False):
    """The :class:`~organism.agents.runtime.Runtime` of one run; a struct, which is filled in C, for each hop makes one.

    Args:
        runner: What the runs of its agent share.
        services: What the runs of all agents share.
        lane: The message's.
        envelope: The message; its payload is the handler's own.
        holder: The worker's, in whose task the handler runs.
        trace: The trace context of the run.

    Attributes:
        outgoing: What the handler sends, checked.
        callers: The tasks inside calls of its context; ``None`` before the first.
        reports: What it reports, as names and results.
        left: The agent's dictionary as JSON, as it has left it.
        parked: Why the message is to wait, once that is so.
        closed: Whether the run is over.
    """

    _runner: AgentRunner
    _services: RunServices
    agent: Agent
    _thread: Thread
    lane: Lane
    _envelope: Envelope
    _holder: ReusableCancelScope
    trace: str | None
    _calls: int = 0
    _questions: int = 0
    _approvals: int = 0
    callers: "list[asyncio.Task[Any]] | None" = None
    _sent: int = 0
    _state: dict[str, Any] | None = None
    _spending: RunExpenses | None = None
    outgoing: tuple[RoutedMessage, ...] = ()
    reports: tuple[tuple[str, str], ...] = ()
    left: bytes = b""
    parked: HandlerParked | None = None
    closed: bool = False

    @property
    def work_of(self) -> tuple[str, str, str]:
        """The agent, its thread and that thread's root."""
        return self.agent.name, self._thread.id, self._thread.root

    # -- its end --------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cut the run short."""
        raise NotImplementedError

    def finish(self, output: Output) -> None:
        """Take what the handler has returned, and check all that it leaves.

        Raises:
            OrganismError: If something of it cannot be sent or kept; then nothing is.
        """
        if isinstance(output, Message):
            self.send(output)
        elif output is not None:
            for message, sending in messages_of(output, self._services.active.bounds):
                self.send(message, sending)
        self.left = self.lane.stored if self._state is None else encode_state(self.agent.name, self._state)

    def close(self) -> None:
        """Close the context: every later use of it raises, and calls in progress are cancelled."""
        self.closed = True
        if self.callers:
            for task in self.callers:
                if task is not self._holder.task:
                    task.cancel()
        if self._spending is not None:
            self._spending.close()

    def check(self) -> None:
        """Refuse a call once the run is over.

        Raises:
            ContextClosedError: If so.
        """
        if self.closed:
            raise ContextClosedError(self.agent.name, self._envelope.id)

    def inside(self, call: str) -> CallingTask:
        """Mark the task as being inside a call until it leaves the block.

        Raises:
            ContextClosedError: If the run is over.
            ConfigError: If it is called from another event loop: it would wait there for what happens here.
        """
        self.check()
        task = asyncio.current_task()
        if task is None or task.get_loop() is not self._holder.task.get_loop():
            raise ConfigError(
                f"{call} belongs into the organism's own event loop; from a plain function call "
                f"anyio.from_thread.run({call}, ...)"
            )
        return CallingTask(self, task, is_workers=task is self._holder.task)

    # -- what leaves when it has ended ----------------------------------------------------------------------------

    def send(self, message: Message, sending: Sending = AS_USUAL) -> None:
        """Check a message and keep it until the handler has finished.

        Raises:
            DeliveryError: If it may not or cannot be delivered, or it is one too many.
            PayloadError: If it cannot be written.
        """
        if self.closed:
            self.check()
        active = self._services.active
        routed = route(self._runner, self._envelope, message, sending, active)
        if not routed.recipients:
            return  # it is published, and no peer takes it: no bound would end what is kept of such
        sent = self._sent + len(routed.recipients)
        if sent > active.bounds.fan_out:
            raise too_many(sent, active.bounds)
        self._sent, self.outgoing = sent, (*self.outgoing, routed)

    def report(self, name: str, result: str) -> None:
        """Keep the outcome of a decision until the handler has finished.

        Raises:
            ConfigError: If it is one too many.
        """
        self.check()
        if len(self.reports) >= REPORTS_MAX:
            raise ConfigError(f"one run of a handler makes at most {REPORTS_MAX} reports")
        self.reports = (*self.reports, (name, result))

    # -- model calls ----------------------------------------------------------------------------------------------

    async def complete(
        self, model: str | None, request: CompletionRequest, on_text: TextSink | None, last_word: LastWord | None = None
    ) -> Completion:
        """Make a model call, or return the answer that an earlier run of this handler has paid for."""
        with self.inside("ctx.llm.complete"):
            call = self._call(model, request, last_word)
            return await self._paid(self._services.router.complete(call, text_only(on_text)))

    async def embed(self, model: str | None, request: EmbeddingRequest) -> Embeddings:
        """Have vectors made of texts, likewise."""
        with self.inside("ctx.llm.embed"):
            return await self._paid(self._services.router.embed(self._call(model, request)))

    def _call(self, model: str | None, request: Request, last_word: LastWord | None = None) -> Call:
        """Number a call: a second run of the handler finds its answer under the same number."""
        index, self._calls = self._calls, self._calls + 1
        model = self._services.model_for(model)
        return Call(
            spender=Spender(self._thread.id, self.agent.name, model),
            root_thread_id=self._thread.root,
            request=replace(request, model=model),
            labels=self._thread.labels,
            message_id=self._envelope.id,
            index=index,
            raises=self._services.active.on_exhausted == "fail",
            last_word=last_word,
        )

    async def _paid(self, answer: Awaitable[A]) -> A:
        """Wait for an answer; a refusal ends this run, or is the handler's own affair."""
        try:
            return await answer
        except BudgetExhaustedError as error:
            await self.exhausted(error)

    async def exhausted(self, error: BudgetExhaustedError) -> NoReturn:
        """Let the message wait for what was refused, or raise it where that is how it is to end."""
        if error.refuses or (self._services.active.on_exhausted == "fail" and not error.waits):
            raise error
        short = error.refusal
        if short.cause != "approval":
            await self._park(short)
        name = Approval.id_at(short)
        said = self.kept(decision_key(name))
        if said is not None and not msgspec.json.decode(said, type=Decision).allowed:
            raise error
        asked = self._asked(name, f"to go on at {short.threshold} %", short.note)
        await self._park(replace(asked, account=short.account, threshold=short.threshold))

    @property
    def spending(self) -> RunExpenses:
        """What the handler pays for beside model calls."""
        self.check()
        if self._spending is None:
            raises = self._services.active.on_exhausted == "fail"
            payer = payer_of(self._thread, self.agent.name, self._envelope.id, raises=raises)
            self._spending = RunExpenses(self, payer, self._services.router.expenses, self._holder.task.get_loop())
        return self._spending

    # -- questions and children -----------------------------------------------------------------------------------

    def ask(
        self, recipient: str, message: Message, timeout_s: float, *, beside: bool = False
    ) -> Callable[[], Awaitable[Message]]:
        """Number a question; what comes back sends it, or takes up the one that an earlier run has sent."""
        self.check()
        index, self._questions = self._questions, self._questions + 1
        work = partial(self._ask, index, recipient, message, timeout_s, beside=beside)
        return partial(self._wait_for_others, "ctx.ask", work)

    async def _wait_for_others(self, call: str, work: Callable[[], Awaitable[R]]) -> R:
        """Wait inside a call for what other handlers do; they may use this one's place and worker thread meanwhile."""
        services = self._services
        with self.inside(call):
            self.lends += 1
            services.places.lend(self)
            if self.lends == 1:
                services.paused_time.count_waiting(self._thread, 1)
            try:
                with services.worker_pool.lending():
                    return await work()
            finally:
                self.lends -= 1
                if not self.lends:
                    services.paused_time.count_waiting(self._thread, -1)
                await services.places.come_back(self)

    async def _ask(self, index: int, recipient: str, message: Message, timeout_s: float, *, beside: bool) -> Message:
        services = self._services
        question = self._thread.asked_before((self._envelope.id, index))
        if question is None:
            routed = route_question(self._runner, self._envelope, recipient, message, services.active)
            ask, sender = services.delivery.ask, self.agent.name
            question = await ask(self._thread, self._envelope, sender, index, routed, beside=beside)
        timer = services.timers.start(timeout_s, question.wake, self._thread)
        try:
            while question.open and question.parked is None and not timer.passed:
                await question.answered.wait()
        finally:
            services.timers.cancel(timer)
        if question.reply is not None:
            return question.reply
        if question.failure is not None:
            raise AskFailedError(recipient, question.failure)
        if (waits := question.parked) is not None:
            await self._park(waits, lambda: question.parked == waits)
        raise AskTimeoutError(recipient, timeout_s)

    async def spawn(self, recipient: str, message: Message, limits: Limits | None, budget: ChildBudget) -> ThreadResult:
        """Open a child thread, or return to the one that an earlier run of this handler has opened."""
        request = SpawnRequest(recipient, message, limits, budget)
        return await self._wait_for_others("ctx.spawn", partial(self._spawn, request))

    async def _spawn(self, request: SpawnRequest) -> ThreadResult:
        services = self._services
        index, self._questions = self._questions, self._questions + 1
        try:
            child = await services.children.spawn(self._thread, self.agent, (self._envelope.id, index), request)
        except BudgetExhaustedError as error:
            await self.exhausted(error)
        while child.result is None:
            if (waits := child.blocked_by) is not None and not child.quiet:
                await self._park(waits, lambda: child.blocked_by == waits)
            await child.changed.wait()
        return child.result

    # -- people ---------------------------------------------------------------------------------------------------

    async def approval(self, what: str, detail: str, budget: BudgetRequest | None = None) -> Decision:
        """Return what a person has said, or wait for it."""
        with self.inside("ctx.approval"):
            index, self._approvals = self._approvals, self._approvals + 1
            name = approval_id(self._envelope.id, index, what, detail)
            said = self.kept(decision_key(name))
            if said is None:
                await self._park(self._asked(name, what, detail, budget))
            return msgspec.json.decode(said, type=Decision)

    def _asked(self, name: str, what: str, detail: str, budget: BudgetRequest | None = None) -> Approval:
        where = (self._thread.id, self._thread.root, self.agent.name, self._envelope.id)
        return Approval(name, *where, what=what, detail=detail, asked_ns=self._services.clock.now_ns(), budget=budget)

    async def _park(self, waits: WaitReason, stands: Callable[[], bool] | None = None) -> NoReturn:
        """End this run from inside: the handler is cancelled, which no ``except Exception`` of its own can hold up."""
        self.check()
        self.parked = HandlerParked(waits, stands)
        self.cancel()
        await anyio.sleep_forever()
        raise AssertionError("sleeping for ever ends only by cancellation")

    def on_tool(self, place: int, name: str, arguments: str, result: str) -> str | None:
        """Count what a tool gave; returns what its model has to read, kept so that a second run says the same."""
        if (told := self.kept(key := f"loop:{place}")) is not None:
            return msgspec.json.decode(told, type=str)
        at = (self._envelope.id, place)
        note = self._services.breakers.on_tool(self._thread, self.agent.name, at, name, arguments, result)
        if note is not None:
            self.keep(key, msgspec.json.encode(note))
        return note

    # -- what is kept ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the agent's own dictionary for the thread: this run's copy of what the last one has left."""
        self.check()
        if self._state is None:
            self._state = msgspec.json.decode(self.lane.stored)
        return self._state

    def kept(self, key: str) -> bytes | None:
        """Return what an earlier run of this handler, or a person, has left for this one."""
        self.check()
        return self._thread.steps_of(self._envelope.id).get(key)

    def keep(self, key: str, value: bytes) -> None:
        """Keep a value, written as JSON, until the message is done.

        Raises:
            ConfigError: If it is too large, or one too many.
        """
        self.check()
        bounds = self._services.active.bounds
        if len(value) > (most := bounds.message_bytes):
            raise ConfigError(f"what the work {key!r} gave has {len(value):,} bytes; 'message_bytes' is {most:,}")
        if len(self._thread.steps_of(self._envelope.id)) >= STEPS_MAX:
            raise ConfigError(f"a message has at most {STEPS_MAX:,} pieces of work kept")
        self._services.state_writer.save_step(self._thread, self._envelope.id, key, value)

    def budgets(self) -> tuple[BudgetState, ...]:
        """Return every account that limits the agent in this thread."""
        self.check()
        return self._services.registry.budgets(self._thread.id, self.agent.name)

    def standing_warning(self) -> BudgetWarning | None:
        """Return the warning of the limit that is nearest to its end, if any is near."""
        self.check()
        return self._services.registry.standing_warning(self._thread.id, self.agent.name)

    def take_warnings(self) -> tuple[BudgetWarning, ...]:
        """Return the thresholds that the agent has not heard of; it has, by that."""
        self.check()
        return self._services.warnings.take(self._thread, self.lane)

    # -- worker threads -------------------------------------------------------------------------------------------

    async def on_thread(self, function: Callable[[], T], begun: Callable[[], None] = lambda: None) -> T:
        """Call a plain function on a worker thread; ``begun`` is called when it has one."""
        level, aside = (self._thread.depth, len(self._envelope.asking)), self._services.places.aside(self)
        with self.inside("ctx.on_thread"):
            return await self._services.worker_pool.run(
                function, agent=self.agent.name, message_id=self._envelope.id, level=level, begun=begun, aside=aside
            )
