"""Tracks a streamed answer: whether it has passed its cap, and what it costs if it is closed in the middle. Pure.

The input is known if the provider counts it before the end, as Anthropic does; otherwise it is estimated. The output is
counted generously from what has come, plus a little for what was on its way. Hidden thinking is billed, too: it is
bounded by the time there was for it.
"""

import math

from organism.amounts import TokenUsage
from organism.llm.answers import TRUNCATED, Completion
from organism.llm.deltas import (
    ProviderPiece,
    ReasoningDelta,
    RefusalDelta,
    ServerToolUse,
    StreamEnd,
    ToolCallDelta,
    Unshown,
    UsageDelta,
)
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest, Reasoning, ToolCall, VendorItem
from organism.router.answers.output_count import OutputCount, RangeOf
from organism.router.answers.partial_usage import thinks_unasked

ON_ITS_WAY = 32
"""Tokens generated but not delivered when a stream is closed: those of a third of a second."""

HIDDEN_PER_S = 500
"""The most hidden tokens a second: twice the speed of the fastest vendor that hides thinking."""

COUNTS_MORE = 16
"""Tokens that providers count beyond an answer's own, such as the end mark."""


class StreamedAnswer:
    """Collects what has come of an answer.

    Args:
        range_of: Returns how many tokens text takes with the model.
    """

    def __init__(self, request: Request, range_of: RangeOf = lambda _kind: None) -> None:
        self._request = request
        self._range_of = range_of
        self._count = OutputCount()
        self._unshown: dict[int, OutputCount] = {}
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._thoughts: dict[int, list[ReasoningDelta]] = {}
        self._calls: dict[int, list[ToolCallDelta]] = {}
        self._items: list[VendorItem] = []
        self._counted = TokenUsage()
        self._has_ended = False
        self.is_begun = False
        self.has_used_tools = False
        """Whether the vendor has visibly run tools of its own."""

    def add(self, piece: ProviderPiece) -> None:
        """Add a piece."""
        self.is_begun = True
        match piece:
            case str(text):  # the first that is asked for, since nearly all pieces are
                self._text.append(text)
                if isinstance(piece, RefusalDelta):
                    self._refusal.append(text)
                self._count.add(text)
            case UsageDelta(usage=usage):
                self._counted = usage
            case ReasoningDelta(text=text):
                self._thoughts.setdefault(piece.place, []).append(piece)
                self._count.add(text)
            case ToolCallDelta(arguments=text):
                self._unshown.pop(piece.place, None)  # this shows it
                calls = self._calls.setdefault(piece.place, [])
                calls.append(piece)
                self._count.add(text if len(calls) > 1 else f"{piece.name} {text}")
            case Unshown(text=text, place=place):
                (self._count if place is None else self._unshown.setdefault(place, OutputCount())).add(text)
            case VendorItem(value=value):  # what a tool of the vendor's was given is output, what it gave is not
                self._items.append(piece)
                self.has_used_tools = True
                self._count.add(str(value.get("input") or value.get("action") or ""))
            case ServerToolUse():
                self.has_used_tools = True
            case StreamEnd():
                self._has_ended = True

    @property
    def is_countable(self) -> bool:
        """Whether the charge can be determined from what came: the answer has begun."""
        return self.is_begun and isinstance(self._request, CompletionRequest)

    def passes(self, output_cap: int) -> bool:
        """Whether the answer has more tokens than its cap for certain, by its text or by the provider's own count.

        Never once it has ended: there is nothing left to stop, and its usage is there.
        """
        if self._has_ended:
            return False
        if self._counted.output_total > output_cap + COUNTS_MORE:
            return True
        count = sum(self._unshown.values(), self._count) if self._unshown else self._count
        return count.passes(output_cap, self._range_of)

    def _hidden_tokens(self, elapsed_s: float) -> int:
        """Return the most hidden thinking: by the time since the request, and by the bound that was asked for."""
        request = self._request
        if not isinstance(request, CompletionRequest) or not (request.asks_to_think or thinks_unasked(request.model)):
            return 0
        thought = math.ceil(elapsed_s * HIDDEN_PER_S)
        return thought if request.reasoning_tokens is None else min(thought, request.reasoning_tokens)

    def usage(self, input_tokens: int, output_cap: int, elapsed_s: float, tool_tokens: int = 0) -> TokenUsage:
        """Return the usage to charge; output at most the cap, unless that has been passed for certain.

        Args:
            input_tokens: The input to charge if the provider has not counted it.
            output_cap: The most the answer could have.
            elapsed_s: Seconds from the request until it was closed.
            tool_tokens: Input that the vendor's tools have added since the provider counted the input.
        """
        count = sum(self._unshown.values(), self._count)
        seen = count.at_most(self._range_of) + ON_ITS_WAY
        output = max(seen + self._hidden_tokens(elapsed_s), self._counted.output_total)
        if not self.passes(output_cap):
            output = min(output_cap, output)
        if not self._counted.input_total:
            return TokenUsage(input=input_tokens, output=output)
        return TokenUsage(
            input=self._counted.input + tool_tokens,
            cached_input=self._counted.cached_input,
            cache_write=self._counted.cache_write,
            output=output,
        )

    def completion(self) -> Completion:
        """Return what has come, as an answer that was cut at its hold."""
        thoughts = (pieces for _, pieces in sorted(self._thoughts.items()))
        calls = (pieces for _, pieces in sorted(self._calls.items()))
        return Completion(
            text="".join(self._text),
            model=self._request.model,
            finish_reason="length",
            provider_reason=TRUNCATED,
            usage=None,
            refusal="".join(self._refusal),
            reasoning=tuple(map(_thought, thoughts)),
            tool_calls=tuple(map(_call, calls)),
            vendor_items=tuple(self._items),
            truncated=True,
        )


def _thought(pieces: list[ReasoningDelta]) -> Reasoning:
    return Reasoning(
        text="".join(piece.text for piece in pieces),
        signature="".join(piece.signature for piece in pieces),
        id=next((piece.id for piece in pieces if piece.id), ""),
        redacted=any(piece.redacted for piece in pieces),
    )


def _call(pieces: list[ToolCallDelta]) -> ToolCall:
    first = pieces[0]
    return ToolCall(first.id, first.name, "".join(piece.arguments for piece in pieces), first.extra)
