"""The agent that is a model with a system prompt: it reads a message, asks the model and sends the answer on."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from organism.agents.agent import Agent
from organism.agents.context import DEFAULT_OUTPUT_TOKENS, Context
from organism.amounts import format_amount
from organism.budget.estimate import input_tokens_tight
from organism.errors import AnswerError
from organism.messages import AgentFailed, BudgetWarning, Gathered, Message, Text, as_text
from organism.router.provider import ChatMessage, Completion, CompletionRequest, TextSink

_HISTORY = "history"
_NOTES = "notes"
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
    """

    model: str | None = None
    system: str = ""
    max_output_tokens: int = DEFAULT_OUTPUT_TOKENS
    memory_tokens: int = 2000
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


class LLMAgent:
    """Handles any message by asking a model; keeps its conversation and pending notes in the thread's state.

    Args:
        settings: What it is made of.
        on_text: Follows answers while they are written.
    """

    def __init__(self, settings: LLMSettings, on_text: TextListener | None = None) -> None:
        self.settings = settings
        self._on_text = on_text

    async def handle(self, message: Message, ctx: Context) -> Text | None:
        """Answer a message; keep a runtime message as a note for the next prompt.

        Raises:
            AnswerError: If the model twice answers nothing.
        """
        if isinstance(message, BudgetWarning | AgentFailed):
            about = message.account if isinstance(message, BudgetWarning) else message.agent
            ctx.state.setdefault(_NOTES, {})[about] = note_for(message)  # the newest word on each matter is enough
            return None
        prompt = self._prompt(as_text(message), ctx.state)
        completion = await self._ask(prompt, ctx)
        if not completion.text.strip():
            again = (*prompt, ChatMessage("user", _ASK_AGAIN))
            completion = await self._ask(again, ctx)
            if not completion.text.strip():
                raise AnswerError(f"agent {ctx.agent!r}: the model {completion.model!r} gave two empty answers")
        self._remember(ctx.state, prompt[-1], ChatMessage("assistant", completion.text))
        ctx.state.pop(_NOTES, None)
        return Text(completion.text.strip())

    def _prompt(self, text: str, state: dict[str, Any]) -> tuple[ChatMessage, ...]:
        notes: dict[str, str] = state.get(_NOTES, {})
        content = "\n\n".join((text, *notes.values()))
        system = (ChatMessage("system", self.settings.system),) if self.settings.system else ()
        return (*system, *state.get(_HISTORY, ()), ChatMessage("user", content))

    async def _ask(self, prompt: tuple[ChatMessage, ...], ctx: Context) -> Completion:
        request = CompletionRequest(
            model="",
            messages=prompt,
            max_output_tokens=self.settings.max_output_tokens,
            temperature=self.settings.temperature,
            stop=self.settings.stop,
            seed=self.settings.seed,
        )
        sink: TextSink | None = None
        if (listener := self._on_text) is not None:

            def sink(piece: str) -> None:
                listener(ctx.thread_id, ctx.agent, piece)

        return await ctx.llm.send(self.settings.model, request, sink)

    def _remember(self, state: dict[str, Any], question: ChatMessage, answer: ChatMessage) -> None:
        """Keep the newest turns that fit the memory; question and answer stay together."""
        history = (*state.get(_HISTORY, ()), question, answer)
        while history and input_tokens_tight(turn.text for turn in history) > self.settings.memory_tokens:
            history = history[2:]
        state[_HISTORY] = history


def llm_agent(
    name: str,
    *,
    model: str | None = None,
    system: str = "",
    next: str | tuple[str, ...] = (),  # noqa: A002 - the word of organism.yaml
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
        accepts: The message types it takes.
        settings: Everything else; ``model`` and ``system`` given here win.
        on_text: Follows answers while they are written.
    """
    settings = settings or LLMSettings()
    whole = replace(settings, model=model or settings.model, system=system or settings.system)
    return Agent(
        name=name,
        handler=LLMAgent(whole, on_text).handle,
        accepts=accepts,
        next=(next,) if isinstance(next, str) else tuple(next),
        notes=True,
    )


def note_for(message: BudgetWarning | AgentFailed) -> str:
    """Say a runtime message in words a model can act on."""
    if isinstance(message, AgentFailed):
        return f"[Note: {message.agent} could not do its part: {message.reason}]"
    left = format_amount(message.dimension, message.remaining)
    urge = {
        "warning": "Be brief.",
        "critical": "Be very brief.",
        "final": "Give your final answer now, in one or two sentences.",
    }[message.level]
    return f"[Note: {message.threshold} % of the budget is used; {left} left. {urge}]"
