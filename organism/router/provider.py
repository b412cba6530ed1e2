"""The port to a model provider: what a call asks, what it answers, and what an adapter must tell of a failure.

An adapter makes **one** attempt a call: no retry of its own, because each attempt holds budget of its own. It raises
:class:`~organism.errors.RejectedError` only when it knows that no work was done, and
:class:`~organism.errors.UncertainError` whenever the provider may have worked and billed. Everything that the router
decides about money rests on that one distinction.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from organism.amounts import TokenUsage

Role = Literal["system", "user", "assistant"]

TextSink = Callable[[str], None]
"""Called with each piece of text as it arrives. Must not block; what it raises is the caller's own error."""


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn of the conversation sent to a model."""

    role: Role
    content: str


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt sends.

    Attributes:
        model: The model's name at the provider.
        messages: The conversation, oldest first, never empty.
        max_output_tokens: The cap on everything generated, reasoning included. Always sent: the hold relies on it.
        temperature: Sampling temperature; ``None`` leaves the provider's default.
        stop: Texts that end the answer.
        seed: Makes sampling repeatable where the provider supports it.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    max_output_tokens: int
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt answered.

    Attributes:
        text: The visible answer; lone surrogates already replaced.
        model: The model the provider says it used, which may differ from the one asked for.
        finish_reason: ``stop``, ``length``, ``content_filter`` or the provider's own word.
        usage: The provider's own count in disjoint buckets; ``None`` when it sent none or an insane one.
        usage_error: Why :attr:`usage` is ``None`` although the provider sent something: the offending field and value.
    """

    text: str
    model: str
    finish_reason: str
    usage: TokenUsage | None
    usage_error: str | None = None


class Provider(Protocol):
    """A foreign system that completes conversations."""

    @property
    def name(self) -> str:
        """The provider's name in the configuration."""
        ...

    async def complete(self, request: CompletionRequest, on_text: TextSink | None = None) -> Completion:
        """Make one attempt.

        The router bounds the time by cancelling; an adapter needs no deadline of its own. With ``on_text`` the
        answer is streamed and each piece handed over as it arrives.

        Raises:
            RejectedError: No work was done and nothing was billed.
            UncertainError: The work may have been done and billed.
        """
        ...

    async def aclose(self) -> None:
        """Free connections and child processes. May be called twice."""
        ...
