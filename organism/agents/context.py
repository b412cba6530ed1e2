"""What a handler can do while it has a message: call a model, send, ask, spawn, look at its budget.

A context belongs to one message of one thread. Everything it does is charged to that thread; there is no way to name
another, and none to raise a limit.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, overload

import anyio
import msgspec
import structlog

from organism.agents.structured import ParsedCompletion, complete_as
from organism.amounts import BudgetState, Limits
from organism.budget.holds import ChildBudget
from organism.bus.approvals import Decision
from organism.errors import AskError, AskFailedError, ConfigError
from organism.llm.answers import Completion
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import TextSink
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.messages import Envelope, Message, ThreadResult

T = TypeVar("T")

DEFAULT_OUTPUT_TOKENS = 512
"""The cap of an answer when the caller names none."""

REPORT_MAX = 64
"""Characters of a reported name or result."""


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message on its way out, before the pump has made an envelope of it.

    Attributes:
        message: The payload.
        recipient: Who gets it; ``None`` leaves that to the routing rules.
        delay_s: Seconds to wait before it is delivered.
        is_reply: Whether it answers the present message.
        to_all: Whether it goes to every peer that accepts its type.
    """

    message: Message
    recipient: str | None = None
    delay_s: float = 0.0
    is_reply: bool = False
    to_all: bool = False


class Runtime(Protocol):
    """What a context needs of the pump, for the one message it belongs to."""

    async def complete(self, model: str | None, request: CompletionRequest, on_text: TextSink | None) -> Completion:
        """Make a model call, charged to the thread."""
        ...

    async def embed(self, model: str | None, request: EmbeddingRequest) -> Embeddings:
        """Have vectors made of texts, charged to the thread."""
        ...

    def ask(self, recipient: str, message: Message, timeout_s: float) -> Callable[[], Awaitable[Message]]:
        """Give a question its number within the handler; calling what comes back sends it and waits for its reply."""
        ...

    async def spawn(self, recipient: str, message: Message, limits: Limits | None, budget: ChildBudget) -> ThreadResult:
        """Open a child thread now and wait for its end."""
        ...

    def budgets(self) -> tuple[BudgetState, ...]:
        """Return every account that limits the thread, its own first."""
        ...

    async def approval(self, what: str, detail: str) -> Decision:
        """Ask a person, and let the message wait until one has answered."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the agent's own dictionary for the thread."""
        ...

    def kept(self, key: str) -> bytes | None:
        """Return what was kept for this message under a key."""
        ...

    def keep(self, key: str, value: bytes) -> None:
        """Keep a value until the message is done."""
        ...


class LLM:
    """Model calls of one message."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @overload
    async def complete(
        self,
        prompt: str | Sequence[ChatMessage],
        *,
        response_type: type[T],
        system: str = "",
        model: str | None = None,
        max_output_tokens: int = DEFAULT_OUTPUT_TOKENS,
        temperature: float | None = None,
        on_text: TextSink | None = None,
    ) -> ParsedCompletion[T]: ...

    @overload
    async def complete(
        self,
        prompt: str | Sequence[ChatMessage],
        *,
        response_type: None = None,
        system: str = "",
        model: str | None = None,
        max_output_tokens: int = DEFAULT_OUTPUT_TOKENS,
        temperature: float | None = None,
        on_text: TextSink | None = None,
    ) -> Completion: ...

    async def complete(
        self,
        prompt: str | Sequence[ChatMessage],
        *,
        response_type: type[T] | None = None,
        system: str = "",
        model: str | None = None,
        max_output_tokens: int = DEFAULT_OUTPUT_TOKENS,
        temperature: float | None = None,
        on_text: TextSink | None = None,
    ) -> Completion | ParsedCompletion[T]:
        """Ask a model; the call is held on the thread's budget before it leaves and settled after.

        In mode ``enforce`` an exhausted budget parks the message: this call does not return, and the handler runs
        again from its start when the limit is raised, getting the answers it has already paid for without paying
        again. With ``on_exhausted: fail`` it raises instead.

        Args:
            prompt: The user's text, or a whole conversation.
            response_type: A :class:`msgspec.Struct` that the answer must be; it comes back as ``parsed``. An answer
                that does not fit costs one more call, in which the model is told why.
            system: Instructions put before it.
            model: A model of the configuration; defaults to the agent's own, or to the only one there is.
            max_output_tokens: Cap of the answer; shrunk to what the budget leaves.
            temperature: Sampling temperature.
            on_text: Called with each piece of the answer as it arrives.

        Raises:
            BudgetExhaustedError: A limit refused the call, and the organism is set to fail then.
            UnpricedError: A USD limit is in force and the model has no price.
            ProviderError: The provider refused or gave no usable answer.
            AnswerError: The answer is not of the type, nor the second one.
        """
        turns = (ChatMessage("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
        if system:
            turns = (ChatMessage("system", system), *turns)
        request = CompletionRequest(
            model="", messages=turns, max_output_tokens=max_output_tokens, temperature=temperature
        )
        if response_type is None:
            return await self._runtime.complete(model, request, on_text)

        async def send(each: CompletionRequest) -> Completion:
            return await self._runtime.complete(model, each, on_text)

        return await complete_as(send, request, response_type)

    async def send(self, model: str | None, request: CompletionRequest, on_text: TextSink | None = None) -> Completion:
        """Make a call that is already spelled out; see :meth:`complete`."""
        return await self._runtime.complete(model, request, on_text)

    async def embed(
        self, texts: Sequence[str], *, model: str | None = None, dimensions: int | None = None
    ) -> Embeddings:
        """Have a vector made of each text; held, charged and remembered as :meth:`complete` is, and raises the same.

        Args:
            texts: At least one.
            model: A model of the configuration that embeds; defaults to the only one there is.
            dimensions: How many numbers a vector is to have, where the model lets one choose.

        Raises:
            UnsupportedError: The model's providers serve no embeddings.
        """
        return await self._runtime.embed(model, EmbeddingRequest(model="", inputs=tuple(texts), dimensions=dimensions))


class Context:
    """One message's view of the organism.

    Attributes:
        envelope: The message with its sender, thread and hop count.
        agent: The name of the agent that handles it.
    """

    __slots__ = ("_drafts", "_reports", "_runtime", "agent", "envelope")

    def __init__(self, envelope: Envelope, agent: str, runtime: Runtime) -> None:
        self.envelope = envelope
        self.agent = agent
        self._runtime = runtime
        self._drafts: tuple[Draft, ...] | list[Draft] = ()
        self._reports: tuple[tuple[str, str], ...] = ()

    @property
    def state(self) -> dict[str, Any]:
        """The agent's own dictionary for this thread; gone when the thread ends."""
        return self._runtime.state()

    @property
    def llm(self) -> LLM:
        """Model calls."""
        return LLM(self._runtime)

    @property
    def log(self) -> Any:
        """A structlog logger bound to thread, agent and message; made when it is asked for."""
        return structlog.get_logger("organism.agent").bind(
            thread_id=self.envelope.thread_id, agent=self.agent, message_id=self.envelope.id
        )

    @property
    def thread_id(self) -> str:
        """The conversation."""
        return self.envelope.thread_id

    @property
    def sender(self) -> str:
        """Who sent the message: an agent, or ``user``."""
        return self.envelope.sender

    @property
    def budget(self) -> BudgetState:
        """The thread's own budget as it is now."""
        return self._runtime.budgets()[0]

    @property
    def budgets(self) -> tuple[BudgetState, ...]:
        """Every account that limits the thread, its own first."""
        return self._runtime.budgets()

    @property
    def drafts(self) -> tuple[Draft, ...]:
        """What has been sent so far; it leaves when the handler finishes."""
        return tuple(self._drafts)

    @property
    def reports(self) -> tuple[tuple[str, str], ...]:
        """What has been reported so far, as names and results."""
        return self._reports

    def send(self, recipient: str, message: Message, *, delay_s: float = 0.0) -> None:
        """Send a message to a peer. It leaves when the handler finishes, so a failed run sends nothing.

        Args:
            recipient: An agent on the list of peers, or ``user``.
            message: The payload.
            delay_s: Seconds to wait before it is delivered; the thread stays open for it.
        """
        self._draft(Draft(message=message, recipient=recipient, delay_s=delay_s))

    def reply(self, message: Message) -> None:
        """Answer whoever waits for what comes of the present message, whatever `next` says."""
        self._draft(Draft(message=message, is_reply=True))

    def publish(self, message: Message) -> None:
        """Send a message to every peer that accepts its type."""
        self._draft(Draft(message=message, to_all=True))

    def _draft(self, draft: Draft) -> None:
        if isinstance(self._drafts, tuple):
            self._drafts = []  # made by those who send; most return what they have to say
        self._drafts.append(draft)

    def report(self, name: str, result: str) -> None:
        """Tell the outcome of a decision, such as ``ctx.report("review", "passed")``: an event, and a count.

        Both become labels of a metric, so they should be few fixed words; text that varies is counted as ``other``.
        It leaves when the handler finishes, so a run that fails has reported nothing.

        Raises:
            ConfigError: If one of them is empty or longer than 64 characters.
        """
        for text in (name, result):
            if not 0 < len(text) <= REPORT_MAX:
                raise ConfigError(f"a report has a name and a result of 1 to {REPORT_MAX} characters, not {text!r}")
        self._reports = (*self._reports, (name, result))

    async def ask(self, recipient: str, message: Message, *, timeout_s: float = 60.0) -> Message:
        """Send a question now and wait for the reply. It runs on this thread and its budget.

        A handler that is run again (after a failure, or parked and resumed) gets the reply to a question it has
        asked before, not a second run of it.

        Raises:
            AskTimeoutError: No reply came in time.
            AskCycleError: The agent asked waits for this one.
            AskFailedError: The agent asked failed, or ended without a reply.
            DeliveryError: The question cannot be delivered.
        """
        return await self.asking(recipient, message, timeout_s=timeout_s)()

    def asking(self, recipient: str, message: Message, *, timeout_s: float = 60.0) -> Callable[[], Awaitable[Message]]:
        """Give a question its place among this handler's now; calling what comes back asks it: see :meth:`ask`.

        For questions that are asked side by side, whose order would differ from run to run.
        """
        return self._runtime.ask(recipient, message, timeout_s)

    async def approval(self, what: str, detail: str = "") -> Decision:
        """Ask a person whether something may be done.

        Until one answers, the message waits: this call does not return, nothing of the thread's time passes, and the
        handler runs again from its start when the answer is there, getting what it has already paid for.

        Args:
            what: What is to be done, in a few words.
            detail: All that a person needs to decide.
        """
        return await self._runtime.approval(what, detail)

    async def once(self, key: str, work: Callable[[], Awaitable[T]], result_type: type[T]) -> T:
        """Do a piece of work once for this message, however often its handler is run.

        A handler that is run again, after a failure or because it waited, gets what the work gave before. If the
        process dies between the work and the next commit, it is done again.

        Args:
            key: Names the piece of work among all of this message.
            work: Does it.
            result_type: What it gives, as JSON can say it.
        """
        if (kept := self._runtime.kept(key)) is not None:
            return msgspec.json.decode(kept, type=result_type)
        result = await work()
        self._runtime.keep(key, msgspec.json.encode(result))
        return result

    async def gather(
        self, questions: Sequence[tuple[str, Message]], *, timeout_s: float = 60.0
    ) -> list[Message | AskFailedError]:
        """Ask several at once and return their replies in the order of the questions.

        One that fails does not spoil the others: its place holds the error.
        """
        replies: dict[int, Message | AskFailedError] = {}

        async def ask_one(place: int, recipient: str, ask: Callable[[], Awaitable[Message]]) -> None:
            try:
                replies[place] = await ask()
            except AskFailedError as error:
                replies[place] = error
            except AskError as error:
                replies[place] = AskFailedError(recipient, str(error))

        # Numbered before any task starts, in whatever order: a second run of the handler finds the same replies.
        numbered = [(recipient, self._runtime.ask(recipient, message, timeout_s)) for recipient, message in questions]
        async with anyio.create_task_group() as tasks:
            for place, (recipient, ask) in enumerate(numbered):
                tasks.start_soon(ask_one, place, recipient, ask)
        return [replies[place] for place in range(len(questions))]

    async def spawn(
        self, recipient: str, message: Message, *, limits: Limits | None = None, budget: ChildBudget = "shared"
    ) -> ThreadResult:
        """Open a child thread with its own cap and wait for its end.

        Args:
            recipient: The agent its first message goes to, one of the peers.
            message: The first message.
            limits: The child's own limits.
            budget: ``shared`` counts its calls on all its ancestors; ``carved`` takes its limits from them at once
                and gives the rest back at its end.

        Raises:
            BoundExceededError: Too deep, or too many descendants.
            BudgetExhaustedError: A carved child's limits do not fit what is left.
            ConfigError: A carved child has no limit of its own where an ancestor has one.
        """
        return await self._runtime.spawn(recipient, message, limits, budget)
