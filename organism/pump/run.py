"""One run of a handler on one message: its context's window to the organism, its deadline, and how it ends."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Literal, NoReturn, Protocol, TypeVar

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from organism.agents.agent import Agent, Handler, Output
from organism.agents.context import Context, Draft
from organism.amounts import BudgetState, Limits
from organism.budget.holds import ChildBudget, Spender
from organism.budget.registry import ThreadBudgetRegistry
from organism.bus.approvals import Approval, Decision, Waits, approval_id, decision_key
from organism.bus.threads import Lane, Question, Thread
from organism.clock import Clock
from organism.errors import AskFailedError, AskTimeoutError, BudgetExhaustedError, OrganismError
from organism.llm.answers import Completion
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Request, TextSink
from organism.llm.requests import CompletionRequest
from organism.messages import Envelope, Message, ThreadResult
from organism.pump.deadlines import Deadlines
from organism.pump.keeper import Keeper
from organism.pump.leash import Leash, Waiting
from organism.pump.outgoing import drafts_of
from organism.router.call import Call
from organism.router.router import LLMRouter
from organism.tracing import Work, work_on

A = TypeVar("A", Completion, Embeddings)

OnExhausted = Literal["park", "fail"]
"""``park``: a refused message waits for a higher limit. ``fail``: the handler gets ``BudgetExhaustedError``."""


class Host(Protocol):
    """What a run needs of the pump that runs it."""

    on_exhausted: OnExhausted
    router: LLMRouter
    registry: ThreadBudgetRegistry
    deadlines: Deadlines

    def model_for(self, model: str | None) -> str:
        """Return the model a call goes to when its handler names this one, or none."""
        ...

    async def put_question(
        self, thread: Thread, agent: Agent, asker: Envelope, index: int, recipient: str, message: Message
    ) -> Question:
        """Send a question of an agent."""
        ...

    def spawn_child(self, parent: Thread, agent: Agent, asker: Envelope, index: int, birth: "Birth") -> Thread:
        """Open a child thread, or return the one opened under that index before."""
        ...


class Birth(msgspec.Struct, frozen=True):
    """How a child thread begins: its first message, whom it is for, and its budget."""

    recipient: str
    message: Message
    limits: Limits | None
    budget: ChildBudget


class Done(msgspec.Struct, frozen=True):
    """The handler finished; this is what it sends, what it reports as names and results, and its trace context."""

    drafts: tuple[Draft, ...]
    reports: tuple[tuple[str, str], ...] = ()
    trace: str | None = None


class Failed(msgspec.Struct, frozen=True):
    """The handler raised, or took too long."""

    error: Exception


class Parked(msgspec.Struct, frozen=True):
    """A call of the handler was refused, or it asks a person; its message waits."""

    waits: Waits


class Stopped(msgspec.Struct, frozen=True):
    """The thread is being ended, or put to rest, and the handler with it; its message is still there."""


Ending = Done | Failed | Parked | Stopped
"""How a run ends."""


class HandlerTimeoutError(OrganismError):
    """A handler took longer than its agent allows.

    Attributes:
        agent: Whose handler.
        timeout_s: What it is allowed, in seconds.
    """

    retryable = True

    def __init__(self, agent: str, timeout_s: float) -> None:
        self.agent = agent
        self.timeout_s = timeout_s
        super().__init__(f"the handler of agent {agent!r} took longer than {timeout_s:g} s")


class ProcessEndedError(OrganismError):
    """The process has ended each time this message was handled.

    Attributes:
        agent: Whose handler.
        attempts: How often.
    """

    def __init__(self, agent: str, attempts: int) -> None:
        self.agent = agent
        self.attempts = attempts
        super().__init__(f"the process ended in {attempts} of the runs of agent {agent!r} on this message")


class HandlerOutputError(OrganismError):
    """What a handler returned, or left in its state, cannot be sent or kept.

    Attributes:
        agent: Whose handler.
    """

    def __init__(self, agent: str, reason: str) -> None:
        self.agent = agent
        super().__init__(f"agent {agent!r}: {reason}")


class Runner:
    """What all runs of one agent's handler share.

    Args:
        host: The pump.
        agent: Whose handler.
        keeper: Keeps what handlers have done.
        clock: Dates it.

    Attributes:
        start: Calls the handler; what comes back is run to its end.
    """

    __slots__ = ("agent", "clock", "host", "keeper", "start")

    def __init__(self, host: Host, agent: Agent, keeper: Keeper, clock: Clock) -> None:
        self.host = host
        self.agent = agent
        self.keeper = keeper
        self.clock = clock
        self.start: Callable[[Message, Context], Coroutine[Any, Any, Output]]
        if inspect.iscoroutinefunction(agent.handler):
            self.start = agent.handler
        else:
            self.start = partial(on_thread, agent.handler)


class Run:
    """Runs a handler once and is the runtime behind its context."""

    # Most runs neither call, ask nor wait, so these are set only where they do.
    _calls = 0
    _questions = 0
    _approvals = 0
    _scope: anyio.CancelScope | None = None
    _parked: Waits | None = None

    def __init__(self, runner: Runner, thread: Thread, lane: Lane, envelope: Envelope) -> None:
        self._runner = runner
        self._host = runner.host
        self._agent = runner.agent
        self._thread = thread
        self._lane = lane
        self._envelope = envelope

    async def __call__(self, leash: Leash, work: Work) -> Ending:
        """Run the handler to an end that the pump can act on.

        One scope serves all that can cut a run short: the end of its thread, a refusal, its deadline, which it has
        from where it first waits. A context of its own keeps what it leaves in context variables from other runs.
        """
        agent, thread = self._agent, self._thread
        ctx = Context(self._envelope, agent.name, self)
        context = leash.context.copy()
        context.run(work_on, work)
        failure: Exception | None = None
        output: Output = None
        try:
            with leash as scope:
                self._scope = scope
                thread.scopes.add(scope)
                coroutine = self._runner.start(self._envelope.payload, ctx)
                try:
                    waits_for = context.run(coroutine.send, None)
                except StopIteration as done:
                    output = done.value
                else:
                    deadline = self._host.deadlines.set(agent.timeout_s, scope.cancel)
                    try:
                        output = await Waiting(coroutine, context, waits_for)
                    finally:
                        self._host.deadlines.call_off(deadline)
            drafts = ctx.drafts + drafts_of(output)
        except Exception as error:  # noqa: BLE001 - the supervisor decides what any failure means
            failure = error
        finally:
            self._scope = None
            thread.scopes.discard(scope)
        if leash.scope is not scope and scope.cancelled_caught:
            if thread.stopping:
                return Stopped()
            if self._parked is None:
                return Failed(HandlerTimeoutError(agent.name, agent.timeout_s))
        if self._parked is not None:
            return Parked(self._parked)
        return Failed(failure) if failure is not None else Done(drafts, ctx.reports, work.trace)

    # -- the Runtime port -----------------------------------------------------------------------------------------

    async def complete(self, model: str | None, request: CompletionRequest, on_text: TextSink | None) -> Completion:
        """Make a model call, or return the answer that an earlier run of this handler has paid for."""
        return await self._paid(self._host.router.complete(self._call(model, request), on_text))

    async def embed(self, model: str | None, request: EmbeddingRequest) -> Embeddings:
        """Have vectors made of texts, likewise."""
        return await self._paid(self._host.router.embed(self._call(model, request)))

    def _call(self, model: str | None, request: Request) -> Call:
        """Number a call: a second run of the handler finds its answer under the same number."""
        index, self._calls = self._calls, self._calls + 1
        model = self._host.model_for(model)
        return Call(
            spender=Spender(self._thread.id, self._agent.name, model),
            root_thread_id=self._thread.root,
            request=replace(request, model=model),
            labels=self._thread.labels,
            message_id=self._envelope.id,
            index=index,
        )

    async def _paid(self, answer: Awaitable[A]) -> A:
        """Wait for an answer; a refusal ends this run, or is the handler's own affair."""
        try:
            return await answer
        except BudgetExhaustedError as error:
            if self._host.on_exhausted == "fail":
                raise
            await self._park(error.shortfall)

    def ask(self, recipient: str, message: Message, timeout_s: float) -> Callable[[], Awaitable[Message]]:
        """Number a question; what comes back sends it, or takes up the one that an earlier run has sent."""
        index, self._questions = self._questions, self._questions + 1
        return partial(self._ask, index, recipient, message, timeout_s)

    async def _ask(self, index: int, recipient: str, message: Message, timeout_s: float) -> Message:
        question = self._thread.asked_before((self._envelope.id, index))
        if question is None:
            question = await self._host.put_question(
                self._thread, self._agent, self._envelope, index, recipient, message
            )
        deadline = self._host.deadlines.set(timeout_s, question.wake)
        try:
            while question.open and question.parked is None and not deadline.passed:
                await question.answered.wait()
        finally:
            self._host.deadlines.call_off(deadline)
        if question.reply is not None:
            return question.reply
        if question.failure is not None:
            raise AskFailedError(recipient, question.failure)
        if question.parked is not None:
            await self._park(question.parked)
        raise AskTimeoutError(recipient, timeout_s)

    async def spawn(self, recipient: str, message: Message, limits: Limits | None, budget: ChildBudget) -> ThreadResult:
        """Open a child thread, or take up the one that an earlier run of this handler has opened."""
        index, self._questions = self._questions, self._questions + 1
        birth = Birth(recipient, message, limits, budget)
        try:
            child = self._host.spawn_child(self._thread, self._agent, self._envelope, index, birth)
        except BudgetExhaustedError as error:
            if self._host.on_exhausted == "fail":
                raise
            await self._park(error.shortfall)
        while child.result is None:
            if child.blocked_by is not None:
                await self._park(child.blocked_by)
            await child.changed.wait()
        return child.result

    async def approval(self, what: str, detail: str) -> Decision:
        """Return what a person has said, or wait for it."""
        index, self._approvals = self._approvals, self._approvals + 1
        name = approval_id(self._envelope.id, index, what, detail)
        said = self.kept(decision_key(name))
        if said is None:
            await self._park(
                Approval(
                    id=name,
                    thread_id=self._thread.id,
                    root_thread_id=self._thread.root,
                    agent=self._agent.name,
                    message_id=self._envelope.id,
                    what=what,
                    detail=detail,
                    asked_ns=self._runner.clock.now_ns(),
                )
            )
        return msgspec.json.decode(said, type=Decision)

    def state(self) -> dict[str, Any]:
        """Return the agent's own dictionary for the thread."""
        if self._lane.state is None:
            self._lane.state = {}
        return self._lane.state

    def kept(self, key: str) -> bytes | None:
        """Return what an earlier run of this handler, or a person, has left for this one."""
        return self._thread.steps.get(self._envelope.id, {}).get(key)

    def keep(self, key: str, value: bytes) -> None:
        """Keep a value until the message is done."""
        self._thread.steps.setdefault(self._envelope.id, {})[key] = value
        self._runner.keeper.step(self._thread, self._envelope.id, key, value)

    def budgets(self) -> tuple[BudgetState, ...]:
        """Return every account that limits the thread."""
        return self._host.registry.budgets(self._thread.id)

    async def _park(self, waits: Waits) -> NoReturn:
        """End this run from inside: the handler is cancelled, which no ``except Exception`` of its own can hold up."""
        self._parked = waits
        if self._scope is not None:  # else the run is over, and only a task that its handler has left behind is here
            self._scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError("sleeping for ever ends only by cancellation")


async def on_thread(handler: Handler, message: Message, ctx: Context) -> Output:
    """Call a handler that is a plain function on a worker thread, where it may block without holding up the others."""
    result = await anyio.to_thread.run_sync(handler, message, ctx, abandon_on_cancel=True)
    if inspect.isawaitable(result):
        return await result
    return result
