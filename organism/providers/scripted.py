"""The public double: a provider that answers from a script, counts tokens by words, and keeps its own bill.

The bill is what makes it worth testing with: it holds what a real provider would charge, also for calls that fail
after the work was done or are cancelled half way, so a test can compare it with what the ledger has recorded.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import cycle
from typing import Any

import anyio
import msgspec

from organism.amounts import TokenUsage
from organism.errors import OrganismError, ProviderError, RejectedError
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink, ReasoningDelta
from organism.llm.embeddings import EmbeddingRequest, Embeddings, pack
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest, Reasoning, ToolCall

ATTACHMENT_TOKENS = 50
"""What this provider publishes, and bills, for an image or a file."""


VECTOR_LENGTH = 8
"""How many numbers a vector has here, unless the request says."""


class ScriptedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of the script.

    Attributes:
        text: What the model says; cut to the output cap.
        tool_calls: The tools it wants run.
        reasoning: What it thinks first, at one token a word.
        cost_nanousd: What the provider says the call has cost.
        usage: What the provider reports; counted by words when not given.
        report_usage: Whether usage is reported at all.
        usage_error: What the adapter would say of insane usage.
        latency_s: Seconds until the answer is whole.
        error: Raised at the end instead of answering; billed unless it is a :class:`RejectedError`.
        model: The model the answer claims to be of.
        finish_reason: Why the answer ends, unless it is cut.
        tool_uses: How often the vendor has run tools of its own that it takes a fee for.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    cost_nanousd: int | None = None
    usage: TokenUsage | None = None
    report_usage: bool = True
    usage_error: str | None = None
    latency_s: float = 0.0
    error: ProviderError | None = None
    model: str | None = None
    finish_reason: str = "stop"
    tool_uses: dict[str, int] = {}


class BilledCall(msgspec.Struct, frozen=True):
    """One line of the provider's bill."""

    model: str
    usage: TokenUsage


class ScriptExhaustedError(OrganismError):
    """The script has no answer left."""

    def __init__(self, answers: int) -> None:
        super().__init__(f"the script's {answers} answers are used up; give more, or set repeat=True")


Script = Iterable[str | ScriptedAnswer] | Callable[[Any], str | ScriptedAnswer]
"""Answers in order, or a function of the request."""


class ScriptedProvider:
    """Answers from a script.

    Args:
        script: What to answer.
        name: The provider's name in the configuration.
        repeat: Whether a script of answers begins again at its end.
        latency_s: Seconds each answer takes, unless it says otherwise.
        ignores_cap: Whether it says all of its text, whatever cap it is sent.
        stops_when_closed: Whether it bills no more than it has said when a stream of it is closed.
    """

    def __init__(
        self,
        script: Script = ("ok",),
        *,
        name: str = "scripted",
        repeat: bool = True,
        latency_s: float = 0.0,
        ignores_cap: bool = False,
        stops_when_closed: bool = False,
    ) -> None:
        self.name = name
        self.ignores_cap = ignores_cap
        self.stops_when_closed = stops_when_closed
        self.bill: list[BilledCall] = []
        self.requests: list[CompletionRequest] = []
        self.embedded: list[EmbeddingRequest] = []
        self._function = script if callable(script) else None
        answers = () if callable(script) else tuple(script)
        self._answer_count = len(answers)
        self._answers: Iterator[str | ScriptedAnswer] = cycle(answers) if repeat else iter(answers)
        self._latency_s = latency_s

    @property
    def billed(self) -> TokenUsage:
        """All tokens on the bill."""
        total = TokenUsage()
        for line in self.bill:
            total += line.usage
        return total

    def extra_tokens(self, request: Request) -> int:
        """Bound images and files at :data:`ATTACHMENT_TOKENS` each; see the port."""
        if isinstance(request, EmbeddingRequest):
            return request.tokens
        return ATTACHMENT_TOKENS * sum(1 for _ in request.attachments())

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        """Make one attempt; see :class:`organism.llm.provider.Provider`.

        Raises:
            ScriptExhaustedError: If no answer is left.
        """
        self.requests.append(request)
        answer = self._next(request)
        if isinstance(answer.error, RejectedError):
            raise answer.error
        words = answer.text.split(" ") if answer.text else []
        kept = words if self.ignores_cap else words[: request.max_output_tokens]
        usage = answer.usage or TokenUsage(
            input=input_words(request),
            output=len(kept) + sum(len(f"{call.name} {call.arguments}".split()) for call in answer.tool_calls),
            reasoning=len(answer.reasoning.split()),
        )
        # Billed from here on, however the call ends, as providers do.
        line = len(self.bill)
        self.bill.append(BilledCall(request.model, usage))
        if on_text is not None and answer.reasoning:
            on_text(ReasoningDelta(answer.reasoning))
        said: list[str] = []
        try:
            await self._speak(kept, answer.latency_s or self._latency_s, on_text, said)
        except BaseException:
            if on_text is not None and self.stops_when_closed:
                self.bill[line] = BilledCall(request.model, msgspec.structs.replace(usage, output=len(said)))
            raise
        if answer.error is not None:
            raise answer.error
        return Completion(
            text=" ".join(kept),
            model=answer.model or request.model,
            finish_reason=_reason(answer, cut=len(kept) < len(words)),
            usage=usage if answer.report_usage and answer.usage_error is None else None,
            usage_error=answer.usage_error,
            tool_calls=answer.tool_calls,
            reasoning=(Reasoning(answer.reasoning),) if answer.reasoning else (),
            cost_nanousd=answer.cost_nanousd,
            tool_uses=answer.tool_uses,
        )

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Make one attempt: the next answer of the script says how it goes, but its words are not used.

        Raises:
            ScriptExhaustedError: If no answer is left.
        """
        self.embedded.append(request)
        answer = self._next(request)
        if isinstance(answer.error, RejectedError):
            raise answer.error
        usage = answer.usage or TokenUsage(input=request.tokens + sum(len(text.split()) for text in request.texts()))
        self.bill.append(BilledCall(request.model, usage))
        await anyio.sleep(answer.latency_s or self._latency_s)
        if answer.error is not None:
            raise answer.error
        return Embeddings(
            packed=tuple(pack(scripted_vector(each, request.dimensions)) for each in request.inputs),
            model=answer.model or request.model,
            usage=usage if answer.report_usage and answer.usage_error is None else None,
            usage_error=answer.usage_error,
            cost_nanousd=answer.cost_nanousd,
        )

    async def aclose(self) -> None:
        """Do nothing: there is nothing to free."""

    def _next(self, request: Request) -> ScriptedAnswer:
        found: str | ScriptedAnswer | None
        found = self._function(request) if self._function is not None else next(self._answers, None)
        if found is None:
            raise ScriptExhaustedError(self._answer_count)
        return ScriptedAnswer(text=found) if isinstance(found, str) else found

    async def _speak(self, words: list[str], latency_s: float, on_text: ProviderSink | None, said: list[str]) -> None:
        """Take the time the answer takes, handing over a word at a time if somebody listens."""
        if on_text is None or not words:
            await anyio.sleep(latency_s)
            return
        for place, word in enumerate(words):
            await anyio.sleep(latency_s / len(words))
            said.append(word)
            on_text(word if place == 0 else f" {word}")


def scripted_vector(each: str | Sequence[int], dimensions: int | None = None) -> list[float]:
    """Return the vector of a text or of tokens: the same for the same, another for another, numbers from 0 to 1."""
    seed = msgspec.json.encode(each)
    places = range(dimensions or VECTOR_LENGTH)
    return [sha256(seed + place.to_bytes(4, "big")).digest()[0] / 255 for place in places]


def input_words(request: CompletionRequest) -> int:
    """Count the tokens of a request as this provider bills them: one a word, and so many for an image or a file."""
    words = sum(len(text.split()) for text in request.texts())
    return words + ATTACHMENT_TOKENS * sum(1 for _ in request.attachments())


def _reason(answer: ScriptedAnswer, *, cut: bool) -> str:
    if cut:
        return "length"
    return "tool_calls" if answer.tool_calls and answer.finish_reason == "stop" else answer.finish_reason
