"""The port to a model provider: requests, answers, and what an adapter must tell of a failure.

There are two kinds of call: completing a conversation (:mod:`organism.llm.requests`, :mod:`organism.llm.answers`) and
embedding texts (:mod:`organism.llm.embeddings`). The router treats both alike.

An adapter makes **one** attempt a call: no retry of its own, because each attempt holds budget of its own. It raises
:class:`~organism.errors.RejectedError` only when it knows that no work was done, and
:class:`~organism.errors.UncertainError` whenever the provider may have worked and billed. Everything that the router
decides about money rests on that one distinction.
"""

from collections.abc import Callable
from typing import Protocol

from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.requests import CompletionRequest

TextSink = Callable[[str], None]
"""Called with each piece of text as it arrives. Must not block; what it raises is the caller's own error."""

Request = CompletionRequest | EmbeddingRequest
Answer = Completion | Embeddings


class Provider(Protocol):
    """A foreign system that completes conversations, and perhaps embeds texts.

    An adapter may also have ``async def warm_up(self) -> None``: it is called before the adapter's first call, when
    nothing is held or sent yet, and loads what takes long. Its time is none of the call's; when it fails, the call goes
    to another provider or fails, nothing is charged, and the next call tries it again.

    And it may have ``async def count_input(self, request: CompletionRequest) -> int | None``: the tokens of a request's
    input by its server's own count, at no cost; ``None`` where the server has no such thing.
    """

    @property
    def name(self) -> str:
        """The provider's name in the configuration."""
        ...

    def extra_tokens(self, request: Request) -> int:
        """Return the most tokens that the request's input can become beyond its texts.

        Images and files at the bound the provider publishes, and instructions it adds of its own accord. The hold
        relies on it.

        Raises:
            UnboundedError: Nothing published bounds it, so no hold could be large enough.
            UnsupportedError: The provider serves no requests of this kind.
        """
        ...

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        """Make one attempt.

        The router bounds the time by cancelling; an adapter needs no deadline of its own. With ``on_text`` the
        answer is streamed and each piece of it handed over as it arrives: text as it is, thoughts and calls of tools
        as :mod:`organism.llm.deltas` has them. An adapter that has nothing to show of them hands over an empty text
        instead: a sign of life, which keeps the attempt from being given up as silent. A
        :class:`~organism.llm.deltas.Ping` says that the provider says so itself (pings, comments): it is waited for
        longer, but not without end. Single bytes are no sign of life. What the provider counts before the end is handed
        over as a :class:`~organism.llm.deltas.UsageDelta`.

        All that is handed over is counted as it comes, and the adapter is cancelled when the answer has passed its
        output cap for certain; what has come then is the answer. What is written and not shown is to be handed over as
        :class:`~organism.llm.deltas.Unshown`, the beginning of a tool that the vendor runs as
        :class:`~organism.llm.deltas.ServerToolUse`, and :class:`~organism.llm.deltas.StreamEnd` before anything that
        shows only when all has come.

        An adapter may have an attribute ``stops_when_closed``: whether its provider stops working, and billing, when a
        streamed answer is no longer listened to. A cancelled call is then closed at once and charged what was seen.

        Raises:
            RejectedError: No work was done and nothing was billed.
            UncertainError: The work may have been done and billed.
        """
        ...

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Make one attempt, as :meth:`complete` does. Never called where ``extra_tokens`` refuses the request."""
        ...

    async def aclose(self) -> None:
        """Free connections and child processes. May be called twice."""
        ...
