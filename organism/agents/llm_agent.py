"""The agent that is a model with a system prompt: it reads a message, asks the model and sends the answer on."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from organism.agents import arguments
from organism.agents.agent import Agent
from organism.agents.budget_notes import budget_left, note_for
from organism.agents.context import Context
from organism.agents.structured import complete_as
from organism.agents.tools.function_tool import function_tool
from organism.agents.tools.tool import AgentTool, ServedTools, ToolSource, open_tools
from organism.agents.tools.tool_loop import DEFAULT_ROUNDS, ToolLoop
from organism.amounts import format_usd
from organism.amounts.units import limit_of
from organism.budget.estimate import input_tokens_tight
from organism.concurrency.foreign_code import failure_of
from organism.errors import AnswerError
from organism.llm.answers import Completion
from organism.llm.provider import TextSink
from organism.llm.requests import DEFAULT_OUTPUT_TOKENS, ChatMessage, CompletionRequest, Effort
from organism.llm.server_tools import VendorTools
from organism.messages import AgentFailed, BudgetWarning, Gathered, LoopWarning, Message, Text, as_text
from organism.router.call import LastWord
from organism.usage.listeners import Failures, check_callback

_HISTORY = "history"
_NOTES = "notes"
_NOTED_LIMITS = "noted_limits"
_SHOWN = "budget"
_ASK_AGAIN = "Your answer was empty. Answer in words."


TextListener = Callable[[str, str, str], None]
"""Told the thread, the agent and each piece of an answer while it is written."""


class LLMSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an LLM agent is made of.

    Attributes:
        model: A model of the configuration; ``None`` takes the only one.
        system: Its instructions.
        max_output_tokens: Cap of an answer.
        memory_tokens: How much of its own conversation in this thread it is shown again; 0 for none.
        temperature: Sampling temperature.
        stop: Texts that end an answer.
        seed: Makes sampling repeatable where the provider supports it.
        reasoning_effort: How much the model is to think; ``None`` leaves the provider's default.
        tools: What the model may have run before it answers.
        vendor_tools: Tools that the model's vendor runs, by type, and how often each may be used for one answer; see
            :func:`organism.llm.server_tools.asked_tools`. Their fees are held and charged with the call.
        tool_rounds: The most model calls for one message; the last one must answer.
        response_type: What its answers are, instead of :class:`Text`.
        budget: ``show`` tells the model in every round what is left of the budget.
        cache: Whether the provider is asked to keep instructions and conversation for a cheaper next call.
    """

    model: str | None = None
    system: str = ""
    max_output_tokens: int = DEFAULT_OUTPUT_TOKENS
    memory_tokens: int = 2000
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: Effort | None = None
    tools: tuple[ToolSource, ...] = ()
    vendor_tools: VendorTools = ()
    tool_rounds: int = DEFAULT_ROUNDS
    response_type: type[Message] | None = None
    budget: Literal["show"] | None = None
    cache: bool = False


class LLMAgent:
    """Handles any message by asking a model; keeps its conversation and pending notes in the thread's state.

    Args:
        settings: What it is made of.
        on_text: Follows answers while they are written; what it raises is logged and harms nobody.

    Raises:
        TypeError: If that is no plain function.
        ConfigError: If its vendor's tools are none by name, or of two vendors.
    """

    def __init__(self, settings: LLMSettings, on_text: TextListener | None = None) -> None:
        self.settings = settings
        self._vendor_tools, self._vendor_fields = arguments.vendor_tools(settings.vendor_tools)
        if on_text is not None:
            check_callback(on_text)
        self._on_text = on_text
        self._failures = Failures(on_text, "text_listener_failed")

    async def handle(self, message: Message, ctx: Context) -> Message | None:
        """Answer a message; keep a runtime message as a note for the next prompt.

        Raises:
            AnswerError: If the model twice answers nothing, or nothing of the type that is wanted.
        """
        if isinstance(message, BudgetWarning | LoopWarning | AgentFailed):
            _take_down(message, ctx.state)
            return None
        began = ctx.state_at_first
        if began is ctx.state:  # else what was paid for was asked with all of them
            _drop_outdated(began, ctx)
            if self.settings.budget == "show":
                began[_SHOWN] = budget_left(ctx.budgets)
            ctx.keep_state_at_first()  # limits may be other ones, and other notes outdated, when it is run again
        question = self._question(as_text(message), began)
        asked = replace(question, content="\n\n".join(filter(None, (question.text, began.get(_SHOWN)))))
        answer = await self._answer((*self._before(began), asked), ctx)
        ctx.state.pop(_SHOWN, None)
        self._remember(ctx.state, question, answer)
        if began is ctx.state:  # else there may be notes that this prompt did not have
            ctx.state.pop(_NOTES, None)
            ctx.state.pop(_NOTED_LIMITS, None)
        return answer

    def _before(self, state: dict[str, Any]) -> tuple[ChatMessage, ...]:
        """What the model is shown before the question: its instructions and what it remembers."""
        system = self.settings.system
        instructions = (ChatMessage("system", system, cache=self.settings.cache),) if system else ()
        return (*instructions, *_history(state))

    def _question(self, text: str, state: dict[str, Any]) -> ChatMessage:
        notes: dict[str, str] = state.get(_NOTES, {})
        return ChatMessage("user", "\n\n".join((text, *notes.values())), cache=self.settings.cache)

    async def _answer(self, prompt: tuple[ChatMessage, ...], ctx: Context) -> Message:
        """Ask, by way of tools if there are any; what comes back must be words, or of the type that is wanted."""

        async def send(request: CompletionRequest, last_word: LastWord | None = None) -> Completion:
            return await ctx.llm.send(self.settings.model, request, self._sink(ctx), last_word)

        tools = await open_tools(self.settings.tools)
        loop = ToolLoop(send, tools, ctx, self.settings.tool_rounds, ctx.take_warnings, self._shown(ctx))
        request = self._request(prompt)
        if (wanted := self.settings.response_type) is not None:
            return (await complete_as(loop.answer, request, wanted)).parsed
        completion = await loop.answer(request)
        if not completion.text.strip():
            completion = await send(self._request((*loop.messages, ChatMessage("user", _ASK_AGAIN))))
            if not completion.text.strip():
                raise AnswerError(f"agent {ctx.agent!r}: the model {completion.model!r} gave two empty answers")
        return Text(completion.text.strip(), "" if completion.is_complete else completion.finish_reason)

    def _shown(self, ctx: Context) -> Callable[[], str] | None:
        return (lambda: budget_left(ctx.budgets)) if self.settings.budget == "show" else None

    def _request(self, messages: tuple[ChatMessage, ...]) -> CompletionRequest:
        return CompletionRequest(
            model="",
            messages=messages,
            max_output_tokens=self.settings.max_output_tokens,
            temperature=self.settings.temperature,
            stop=self.settings.stop,
            seed=self.settings.seed,
            reasoning_effort=self.settings.reasoning_effort,
            vendor_tools=self._vendor_tools,
            vendor_fields=self._vendor_fields,
        )

    def _sink(self, ctx: Context) -> TextSink | None:
        if (listener := self._on_text) is None:
            return None

        def pass_on(piece: str) -> None:
            if (failure := failure_of(listener, ctx.thread_id, ctx.agent, piece)) is not None:
                self._failures.add(failure)

        return pass_on

    def _remember(self, state: dict[str, Any], question: ChatMessage, answer: Message) -> None:
        """Keep the newest turns that fit the memory; question and answer stay together."""
        said = ChatMessage("assistant", as_text(answer))
        history = (*_history(state), replace(question, cache=False), said)
        while history and input_tokens_tight(turn.text for turn in history) > self.settings.memory_tokens:
            history = history[2:]
        state[_HISTORY] = msgspec.to_builtins(history)


def _take_down(message: BudgetWarning | LoopWarning | AgentFailed, state: dict[str, Any]) -> None:
    """Keep a runtime message as a note; the newest word on each matter is enough, and each unit of a limit is one."""
    match message:
        case BudgetWarning(account, dimension):
            about = f"{account} {dimension}"
            state.setdefault(_NOTED_LIMITS, {})[about] = [dimension, message.limit, account]
        case LoopWarning(breaker=about):
            pass
        case AgentFailed(agent=about):
            pass
    state.setdefault(_NOTES, {})[about] = note_for(message)


def _drop_outdated(state: dict[str, Any], ctx: Context) -> None:
    """Drop the warnings of limits that are other ones now, by a raise or a new day: who waited need not hurry."""
    limits = {each.account: each.limits for each in ctx.budgets}
    for about, (dimension, limit, *named) in state.get(_NOTED_LIMITS, {}).items():
        account = named[0] if named else about  # what organism 0.2 has noted bears the account's name
        if account not in limits or limit_of(limits[account], dimension) != limit:
            state.get(_NOTES, {}).pop(about, None)


def _history(state: dict[str, Any]) -> tuple[ChatMessage, ...]:
    """Read what is remembered; the state may have been JSON in the meantime."""
    return msgspec.convert(state.get(_HISTORY, ()), tuple[ChatMessage, ...])


def llm_agent(
    name: str,
    *,
    model: str | None = None,
    system: str = "",
    next: str | tuple[str, ...] = (),  # noqa: A002 - the word of organism.yaml
    tools: Sequence[Callable[..., Any] | ToolSource] = (),
    accepts: tuple[type[Message], ...] = (Text, Gathered),
    settings: LLMSettings | None = None,
    on_text: TextListener | None = None,
) -> Agent:
    """Make an agent of a model and a system prompt.

    Args:
        name: The agent's name.
        model: A model of the organism; the only one unless given.
        system: Its instructions.
        next: Where its answers go.
        tools: What the model may have run: functions, or what :mod:`organism.agents.tools.tool` makes tools of.
        accepts: The message types it takes.
        settings: Everything else; ``model`` and ``system`` given here win.
        on_text: Follows answers while they are written.
    """
    settings = settings or LLMSettings()
    made = (tool if isinstance(tool, AgentTool | ServedTools) else function_tool(tool) for tool in tools)
    whole = replace(
        settings,
        model=model or settings.model,
        system=system or settings.system,
        tools=(*settings.tools, *made),
    )
    return Agent(
        name=name,
        handler=LLMAgent(whole, on_text).handle,
        accepts=accepts,
        next=(next,) if isinstance(next, str) else tuple(next),
        peers=recipients_of(whole.tools) or None,
        notes=True,
    )


def tool_prices(agent: Agent) -> Iterator[tuple[str, str, str]]:
    """Yield what an agent's paid tools cost: the tool, its price in words, and the most that is held for a run."""
    owner = getattr(agent.handler, "__self__", None)
    for tool in owner.settings.tools if isinstance(owner, LLMAgent) else ():
        own = tool.spec.name if isinstance(tool, AgentTool) else f"{tool.server.name}: {_only(tool)}"
        single = tool.prices if isinstance(tool, ServedTools) else {}
        named = [
            (own, tool.rules.price),
            *((f"{own.partition(':')[0]}: {name}", price) for name, price in single.items()),
        ]
        for name, price in named:
            if price is not None:
                yield name, str(price), format_usd(price.worst_case(tool.rules.timeout_s))


def _only(tools: ServedTools) -> str:
    return "others" if tools.prices else "each" if tools.only is None else ", ".join(tools.only)


def recipients_of(tools: tuple[ToolSource, ...]) -> tuple[str, ...]:
    """Return the agents that tools write to."""
    return tuple(tool.recipient for tool in tools if isinstance(tool, AgentTool) and tool.recipient is not None)
