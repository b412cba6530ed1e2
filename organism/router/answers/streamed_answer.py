"""A streamed answer while it comes: has it passed its cap, and what is owed for it if it is closed in the middle? Pure.

The input is known where the provider counts it before the end (Anthropic does), and else taken as it was worked out.
The output is counted generously from what has come, and a little is added for what was on its way. Thinking that does
not show, or only in summary, is billed too: it is bounded by the time there was for it.
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
"""Tokens that a provider may have made, and not delivered, when its stream is closed: a third of a second's."""

HIDDEN_PER_S = 500
"""Tokens a second that a model thinks unseen, at most: twice what the fastest of vendors write that hide thoughts."""

COUNTS_MORE = 16
"""Providers count a few tokens that are no part of an answer, such as the mark of its end."""


class StreamedAnswer:
    """Keeps what has come of an answer.

    Args:
        range_of: What text takes with the model that answers.
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
        """Whether the vendor is seen to have run tools of its own."""

    def add(self, piece: ProviderPiece) -> None:
        """Take note of what came."""
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
        """Whether what came tells what was billed: the answer has begun, so that the server writes and sees the end."""
        return self.is_begun and isinstance(self._request, CompletionRequest)

    def passes(self, output_cap: int) -> bool:
        """Whether there are more tokens than that for certain, by what has come or by the provider's own count.

        Once it has ended it is not: nothing is left to be stopped, and its usage is there.
        """
        if self._has_ended:
            return False
        if self._counted.output_total > output_cap + COUNTS_MORE:
            return True
        count = sum(self._unshown.values(), self._count) if self._unshown else self._count
        return count.passes(output_cap, self._range_of)

    def _hidden_tokens(self, elapsed_s: float) -> int:
        """Bound the thinking that does not show: by the time there was for it, and by the bound that was asked for."""
        request = self._request
        if not isinstance(request, CompletionRequest) or not (request.asks_to_think or thinks_unasked(request.model)):
            return 0
        thought = math.ceil(elapsed_s * HIDDEN_PER_S)
        return thought if request.reasoning_tokens is None else min(thought, request.reasoning_tokens)

    def usage(self, input_tokens: int, output_cap: int, elapsed_s: float, tool_tokens: int = 0) -> TokenUsage:
        """Return what to charge; for the output at most its cap, unless that is passed for certain.

        Args:
            input_tokens: What the input is taken for where the provider has not counted it.
            output_cap: The most the answer could have.
            elapsed_s: Seconds from the request until it was closed.
            tool_tokens: What tools of the vendor's have put before the model since its provider counted the input.
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
        """Return what has come as an answer that was cut at what is held for it."""
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
