"""What a handler can do while it has a message: call a model, send, ask, spawn, look at its budget.

A context belongs to one message of one thread. Everything it does is charged to that thread; there is no way to name
another, and none to raise a limit.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeVar

import msgspec
import structlog

from organism.agents import arguments
from organism.agents.asking_several import ask_all, each_for
from organism.agents.llm_client import LLM
from organism.agents.runtime import Runtime, Sending
from organism.amounts import BudgetState, Dollars, Limits
from organism.budget.budget_hold import BudgetHold
from organism.budget.holds import ChildBudget
from organism.errors import AskFailedError, BudgetExhaustedError, ConfigError
from organism.messages import BudgetWarning, Envelope, Message, ThreadResult
from organism.router.spending.expense import Expense
from organism.text.error_text import describe, shown
from organism.text.json_nesting import nests_too_deep
from organism.threads.approvals import MORE_BUDGET, BudgetGrant, Decision, is_decision_key
from organism.threads.records import BEGAN, PAID_STEP

T = TypeVar("T")

REPORT_MAX = 64
"""Characters of a reported name or result."""


class Context(msgspec.Struct, eq=False):
    """One message's view of the organism.

    Attributes:
        envelope: The message with its sender, thread and hop count.
        agent: The name of the agent that handles it.
    """

    envelope: Envelope
    agent: str
    _runtime: Runtime

    def __repr__(self) -> str:
        """Name it; what it reaches, such as the prompts of the thread, belongs into no log."""
        return f"<Context of {self.agent!r} for message {self.envelope.id}>"

    @property
    def state(self) -> dict[str, Any]:
        """The agent's own dictionary for this thread; gone when the thread ends."""
        return self._runtime.state()

    @property
    def state_at_first(self) -> dict[str, Any]:
        """The agent's dictionary as the calls of this message were made with it that are paid already.

        It differs from :attr:`state` where others were handled while the message has waited for budget or a person.
        Making the same requests of it again costs nothing.
        """
        began = self._runtime.first_state()
        return self.state if began is None else began

    def keep_state_at_first(self) -> None:
        """Have the present state be :attr:`state_at_first` of later runs, once an answer of this one is paid.

        For a handler that changes its state before its first call by what may be otherwise in a second run.
        """
        self._runtime.keep_first_state()

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
        """Every account that limits this agent in the thread, the thread's own first."""
        return self._runtime.budgets()

    @property
    def warning(self) -> BudgetWarning | None:
        """The warning of the limit nearest to its end, if one is near: for a handler that takes long."""
        return self._runtime.standing_warning()

    def take_warnings(self) -> tuple[BudgetWarning, ...]:
        """Return the warnings that the agent has not had, and let no message bring them; see :attr:`warning`."""
        return self._runtime.take_warnings()

    def send(self, recipient: str, message: Message, *, delay_s: float = 0.0) -> None:
        """Send a message to a peer. It leaves when the handler finishes, so a failed run sends nothing.

        Args:
            recipient: An agent on the list of peers, or ``user``.
            message: The payload.
            delay_s: Seconds to wait before it is delivered; the thread stays open for it.

        Raises:
            DeliveryError: It may not or cannot be delivered, or the handler has sent more than it may.
            PayloadError: The message cannot be written, or its fields are not of their types.
            ConfigError: Another argument is wrong.
        """
        arguments.text(recipient, "the recipient", empty=False)
        delay_s = arguments.seconds(delay_s, "delay_s", zero=True)
        self._runtime.send(message, Sending(recipient=recipient, delay_s=delay_s))

    def reply(self, message: Message) -> None:
        """Answer the waiter for the present message's result, whatever `next` says; raises as :meth:`send`."""
        self._runtime.send(message, Sending(is_reply=True))

    def publish(self, message: Message) -> None:
        """Send a message to every peer that accepts its type; raises as :meth:`send`."""
        self._runtime.send(message, Sending(to_all=True))

    def report(self, name: str, result: str) -> None:
        """Tell the outcome of a decision, such as ``ctx.report("review", "passed")``: an event, and a count.

        Both become labels of a metric, so they should be few fixed words; text that varies is counted as ``other``.
        It leaves when the handler finishes, so a run that fails has reported nothing.

        Raises:
            ConfigError: If one of them is empty or longer than 64 characters.
        """
        for text in (name, result):
            arguments.text(text, "a report's name or result", empty=False)
            if len(text) > REPORT_MAX:
                raise ConfigError(f"a report's name and result have up to {REPORT_MAX} characters: {shown(text)}")
        self._runtime.report(name, result)

    async def ask(self, recipient: str, message: Message, *, timeout_s: float = 60.0) -> Message:
        """Send a question now and wait for the reply. It runs on this thread and its budget.

        A handler that is run again (after a failure, or parked and resumed) gets the reply to a question it has
        asked before, not a second run of it: the one in the same place among its questions and spawns. For questions
        side by side :meth:`asking` and :meth:`gather` fix the place.

        Raises:
            AskTimeoutError: No reply came in time.
            AskCycleError: The agent asked waits for this one.
            AskFailedError: The agent asked failed, or ended without a reply.
            DeliveryError: The question cannot be delivered.
        """
        arguments.text(recipient, "the recipient", empty=False)
        return await self._runtime.ask(recipient, message, arguments.seconds(timeout_s, "timeout_s"))()

    def asking(self, recipient: str, message: Message, *, timeout_s: float = 60.0) -> Callable[[], Awaitable[Message]]:
        """Give a question its place among this handler's now; calling what comes back asks it: see :meth:`ask`.

        For questions that are asked side by side, whose order would differ from run to run. They are handled side by
        side, too, if one agent is asked all of them.
        """
        arguments.text(recipient, "the recipient", empty=False)
        return self._runtime.ask(recipient, message, arguments.seconds(timeout_s, "timeout_s"), beside=True)

    def charge(self, *, usd: Dollars = 0, what: str | None = None, tokens: int = 0) -> Awaitable[None]:
        """Record a cost that has happened: ``ctx.charge(usd="0.02", what="ocr")``.

        It counts on the thread and on all else that limits it, as a model call does; nothing is refused that has
        happened already, so it may pass a limit, and what follows is refused then. The same charge of a message counts
        once, however often its handler is run; two alike in one run are two.

        Args:
            usd: Dollars.
            what: What they were spent for, in a few fixed words: sums are kept by it. The agent's name unless given.
            tokens: Tokens that count as well.

        Returns:
            What may be awaited: it waits until the charge is durable.

        Raises:
            ConfigError: If one of these is wrong; an :class:`~organism.errors.AmountError` if it is no amount.
        """
        return self._runtime.spending.charge(arguments.expense(usd, tokens, what, self.agent))

    def hold(self, *, usd: Dollars = 0, what: str | None = None, tokens: int = 0) -> BudgetHold:
        """Hold the most that something may cost while it is done, and charge what it has cost.

        ``async with ctx.hold(usd="0.50", what="render") as hold: ...; hold.settle(usd="0.31")``; ``with`` in a plain
        function. Where it does not fit, it waits and is refused exactly as a model call is: see :meth:`LLM.complete`. A
        block that does not say what it has cost, or fails, is charged all that it held. One that came to its own end is
        paid for: a second run of the handler goes through it again with ``hold.paid`` set and is charged nothing, so
        put the work itself into :meth:`once`.

        Args:
            usd: Dollars, at most.
            what: What they are spent for, in a few fixed words: sums are kept by it. The agent's name unless given.
            tokens: Tokens, at most.

        Raises:
            ConfigError: If one of these is wrong.
            BudgetExhaustedError: On entering the block, if a limit refuses it and the organism is set to fail then.
        """
        return self._runtime.spending.hold(arguments.expense(usd, tokens, what, self.agent, "hold"), parks=True)

    def holding(self, expense: Expense) -> BudgetHold:
        """Make a block for an expense that is spelled out already; a refusal is always raised: see :meth:`wait_for`."""
        return self._runtime.spending.hold(expense, parks=False)

    async def wait_for(self, error: BudgetExhaustedError) -> NoReturn:
        """Let the message wait for the budget that was refused; raises it where the organism is set to fail then."""
        await self._runtime.exhausted(error)

    def has_done(self, key: str) -> bool:
        """Whether a piece of work of this message is done; see :meth:`once`."""
        return self._runtime.kept(key) is not None

    async def approval(self, what: str, detail: str = "") -> Decision:
        """Ask a person whether something may be done.

        Until one answers, the message waits: this call does not return, nothing of the thread's time passes, and the
        handler runs again from its start when the answer is there, getting what it has already paid for.

        Args:
            what: What is to be done, in a few words.
            detail: All that a person needs to decide.

        Raises:
            ConfigError: If one of them is no text, or ``what`` is empty.
        """
        arguments.text(what, "what is asked", most=arguments.KEY_MAX, empty=False)
        arguments.text(detail, "the detail of what is asked")
        return await self._runtime.approval(what, detail)

    async def request_budget(
        self, *, usd: Dollars = 0, tokens: int = 0, reason: str = "", seconds: int | None = None
    ) -> BudgetGrant:
        """Ask a person for more budget for this thread, and return what was granted; it waits as :meth:`approval` does.

        What is granted raises the thread's limits, and those of the threads above whose budget it shares.

        Args:
            usd: So many dollars more.
            tokens: So many tokens more.
            reason: What for; the person reads it.
            seconds: For how long: what is not spent by then goes back. Until the thread ends unless given.

        Returns:
            What was granted: less or more than was asked for, or nothing, which is false.

        Raises:
            ConfigError: If an argument is no amount, or nothing is asked for.
        """
        request = arguments.budget_request(usd, tokens, seconds)
        arguments.text(reason, "the reason")
        detail = f"{request}: {reason}" if reason else str(request)
        return (await self._runtime.approval(MORE_BUDGET, detail, request)).grants(request)

    async def once(self, key: str, work: Callable[[], Awaitable[T]], result_type: type[T]) -> T:
        """Do a piece of work once for this message, however often its handler is run.

        A handler that is run again, after a failure or because it waited, gets what the work gave before. If the
        process dies between the work and the next commit, it is done again.

        Args:
            key: Names the piece of work among all of this message.
            work: Does it.
            result_type: What it gives, as JSON can say it.

        Raises:
            ConfigError: If an argument is wrong, or what the work gives is not of the type or cannot be kept.
        """
        arguments.text(key, "the key of a piece of work", most=arguments.KEY_MAX, empty=False)
        if is_decision_key(key) or key == BEGAN or key.startswith(PAID_STEP):
            raise ConfigError(f"the key {shown(key)} is kept for the runtime's own use; choose another")
        if not callable(work):
            raise ConfigError(f"the work {key!r} must be a function without arguments, not {shown(work)}")
        if (kept := self._runtime.kept(key)) is not None:
            return _read_back(key, kept, result_type)
        begun = work()
        if not inspect.isawaitable(begun):
            raise ConfigError(f"the work {key!r} must be an async function; it returned {shown(begun)}")
        result = await begun
        try:
            raw = msgspec.json.encode(result)
        except Exception as error:  # noqa: BLE001 - it may hold a stranger's objects
            raise ConfigError(f"what the work {key!r} gave cannot be kept as JSON: {describe(error)}") from None
        _read_back(key, raw, result_type)
        self._runtime.keep(key, raw)
        return result

    def on_tool(self, place: int, name: str, arguments: str, result: str) -> str | None:
        """Count what a tool has given for the breakers, as the tool loop of an LLM agent does.

        Args:
            place: Its number among the runs of tools for this message; one counted before is passed over.
            name: The tool.
            arguments: Its arguments, as JSON.
            result: What it gave.

        Returns:
            What its model has to read, if a breaker has tripped that says so.
        """
        return self._runtime.on_tool(place, name, arguments, result)

    async def gather(
        self, questions: Sequence[tuple[str, Message]], *, timeout_s: float = 60.0, limit: int | None = None
    ) -> list[Message | AskFailedError]:
        """Ask several at once and return their replies in the order of the questions.

        They are handled side by side, also those that one agent is asked. Each run of it then has a copy of its
        :attr:`state`; what a run has changed is kept by key, and of what two have changed the last. A question that
        fails does not spoil the others: its place holds the error. A handler that is run again gets the replies that
        were there, and only the rest is asked.

        Args:
            questions: Pairs of recipient and message.
            timeout_s: Seconds that each may take from when it is asked.
            limit: How many may be on their way at once; all unless given.

        Raises:
            ConfigError: An argument is wrong.
        """
        return await ask_all(self._runtime.ask, questions, timeout_s=timeout_s, limit=limit)

    async def for_each(
        self, recipient: str, items: Iterable[Message | str], *, limit: int = 8, timeout_s: float = 60.0
    ) -> list[Message | AskFailedError]:
        """Have one agent handle each of many messages, some of them at once; return the replies in their order.

        All run on this thread and its budget. As :meth:`gather` otherwise; a second run asks for the rest.

        Args:
            recipient: The agent, one of the peers.
            items: The messages; text becomes :class:`~organism.messages.Text`.
            limit: How many may be on their way at once.
            timeout_s: Seconds that each may take from when it is asked.

        Raises:
            ConfigError: An argument is wrong.
        """
        return await self.gather(each_for(recipient, items), timeout_s=timeout_s, limit=limit)

    async def spawn(
        self, recipient: str, message: Message, *, limits: Limits | None = None, budget: ChildBudget = "shared"
    ) -> ThreadResult:
        """Open a child thread with its own cap and wait for its end.

        A handler that is run again (after a failure, or parked and resumed) gets back the children that it has opened
        before, by their place among its questions and spawns: each run must open them in the same order. Tasks of a
        handler that wait for anything else before they spawn do not keep to one.

        Args:
            recipient: The agent its first message goes to, one of the peers.
            message: The first message.
            limits: The child's own limits.
            budget: ``shared`` counts its calls on all above; ``carved`` takes its limits from them until its end.

        Raises:
            BoundExceededError: Too deep, or too many descendants.
            BudgetExhaustedError: A carved child's limits do not fit what is left.
            ConfigError: A carved child has no limit of its own where an ancestor has one.
        """
        arguments.text(recipient, "the recipient", empty=False)
        arguments.child_budget(limits, budget)
        return await self._runtime.spawn(recipient, message, limits, budget)

    async def on_thread(self, function: Callable[[], T]) -> T:
        """Call a plain function on a worker thread of the agent's, so that it may block.

        If the wait for it is cut short it is left behind, and counts as given up on until it returns.
        """
        return await self._runtime.on_thread(function)


def _read_back(key: str, raw: bytes, result_type: type[T]) -> T:
    """Read what was kept: when it is kept too, so that no later run finds what it cannot read.

    Raises:
        ConfigError: If it is not of the type.
    """
    if nests_too_deep(raw):
        raise ConfigError(f"what the work {key!r} gave is nested too deep")
    try:
        return msgspec.json.decode(raw, type=result_type)
    except Exception as error:  # noqa: BLE001 - annotations and structs are a stranger's code
        raise ConfigError(f"what the work {key!r} gave is not of its type: {describe(error)}") from None
