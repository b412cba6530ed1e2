"""How clients of chat completions ask for reasoning, in the fields of several vendors. Pure.

Sources: the public references of OpenRouter (``reasoning``), Anthropic, DeepSeek, Moonshot and Zhipu (``thinking``),
Qwen (``enable_thinking``), Groq (``reasoning_format``) and Gemini (``extra_body``).
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from organism.formats.openai_chat.server_body import Body
from organism.formats.own_fields import THINKING, template_switch
from organism.formats.server_format import Json, OutputCap, convert
from organism.llm.requests import Effort

OPENROUTERS = frozenset({"reasoning", "include_reasoning"})
"""Fields that clients of OpenRouter write."""

REASONING = "reasoning"
"""The dialect of clients that read reasoning in this field; most read ``reasoning_content``."""

NO_REASONING = "no reasoning"
"""The dialect of clients that want no reasoning shown."""

_USUAL: Effort = "medium"
"""The effort where a request turns reasoning on and says no more."""

_Budget = Annotated[int, Meta(ge=-1, le=10_000_000)]


class OpenRouters(Body, frozen=True, kw_only=True):
    """OpenRouter's ``reasoning``."""

    effort: Effort | None = None
    max_tokens: OutputCap | None = None
    enabled: bool | None = None
    exclude: bool = False
    summary: str | None = None


class Switch(Body, frozen=True, kw_only=True):
    """The ``thinking`` of Anthropic, DeepSeek, Moonshot and Zhipu."""

    type: Literal["enabled", "disabled", "adaptive", "auto"]
    budget_tokens: OutputCap | None = None
    clear_thinking: bool | None = None
    display: str | None = None


class ThinkingConfig(Body, frozen=True, kw_only=True):
    """Gemini's ``thinking_config``; a budget of -1 leaves it to the model."""

    thinking_budget: _Budget | None = None
    thinking_level: str | None = None
    include_thoughts: bool | None = None


class Googles(Body, frozen=True, kw_only=True):
    """Gemini's own fields."""

    thinking_config: ThinkingConfig | None = None


class ExtraBody(Body, frozen=True, kw_only=True):
    """``extra_body``, in which Gemini's fields are."""

    google: Googles | None = None

    @property
    def thinking(self) -> ThinkingConfig | None:
        """Gemini's thinking config, if there is one."""
        return None if self.google is None else self.google.thinking_config


class ThinkingWords(Body, frozen=True, kw_only=True):
    """All fields about reasoning."""

    reasoning: OpenRouters | None = None
    thinking: Switch | None = None
    enable_thinking: bool | None = None
    thinking_budget: _Budget | None = None
    include_reasoning: bool | None = None
    reasoning_format: str | None = None
    separate_reasoning: bool | None = None
    extra_body: ExtraBody | None = None


class ThinkingWish(Body, frozen=True, kw_only=True):
    """What a request asks of reasoning, in terms that all formats have.

    Attributes:
        effort: How much to think.
        tokens: The most tokens to think with.
        shown: Whether the client wants to see it.
    """

    effort: Effort | None = None
    tokens: int | None = None
    shown: bool = True


def thinking_wish(own: Json, effort: Effort | None) -> ThinkingWish:
    """Return what a request asks of reasoning.

    Args:
        own: The fields of the request that are one server's own.
        effort: OpenAI's ``reasoning_effort``, which wins over all others.

    Raises:
        FaultError: A field has an unknown value.
    """
    said = {name: value for name, value in own.items() if name in THINKING}
    switch = template_switch(own)
    if not said and switch is None:
        return ThinkingWish(effort=effort)
    words = convert(said, ThinkingWords, conversation=tuple(said))
    tokens = _tokens(words)
    thinks = _thinks(words, switch)
    named = effort or (words.reasoning.effort if words.reasoning is not None else None)
    if thinks is False:
        named, tokens = named or "none", None
    elif thinks and named is None and tokens is None:
        named = _USUAL
    return ThinkingWish(effort=named, tokens=tokens, shown=_is_shown(words))


def _tokens(words: ThinkingWords) -> int | None:
    config = words.extra_body and words.extra_body.thinking
    listed: tuple[Any, ...] = (
        words.reasoning and words.reasoning.max_tokens,
        words.thinking and words.thinking.budget_tokens,
        words.thinking_budget,
        config and config.thinking_budget,
    )
    return next((tokens for tokens in listed if tokens is not None and tokens > 0), None)


def _thinks(words: ThinkingWords, switch: bool | None) -> bool | None:
    """Return whether the model is to think; ``None`` leaves it to the model."""
    said: list[bool | None] = [switch, words.enable_thinking]
    if words.reasoning is not None:
        said.append(words.reasoning.enabled)
    if words.thinking is not None:
        said.append({"enabled": True, "adaptive": True, "disabled": False}.get(words.thinking.type))
    return next((each for each in said if each is not None), None)


def _is_shown(words: ThinkingWords) -> bool:
    hidden = words.include_reasoning is False or words.reasoning_format == "hidden"
    return not hidden and not (words.reasoning is not None and words.reasoning.exclude)
