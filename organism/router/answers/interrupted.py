"""What a streamed answer has cost that was closed in the middle, at a provider that stops working then. Pure.

The input is known where the provider has counted it with its first event (Anthropic does), and else taken as held. The
output is counted generously from what has come, and a little is added for what was on its way. Thinking that does not
show, or only in summary, is billed too: it is bounded by the time there was for it.
"""

import math

from organism.amounts import TokenUsage
from organism.budget.estimate import output_tokens_from_text
from organism.llm.deltas import Delta, ReasoningDelta, ToolCallDelta, UsageDelta
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest, VendorItem
from organism.router.answers.partial_usage import thinks_unasked

ON_ITS_WAY = 32
"""Tokens that a provider may have made, and not delivered, when its stream is closed: a third of a second's."""

HIDDEN_PER_S = 500
"""Tokens a second that a model thinks unseen, at most: twice what the fastest of vendors write that hide thoughts."""


class InterruptedStream:
    """Keeps what is needed to charge an answer that is cut short.

    Args:
        request: What was asked.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._text: list[str] = []
        self._counted = TokenUsage()
        self.is_begun = False

    def add(self, piece: Delta | UsageDelta) -> None:
        """Take note of what came."""
        match piece:
            case UsageDelta(usage=usage):
                self.is_begun, self._counted = True, usage
            case str(text) | ReasoningDelta(text=text) | ToolCallDelta(arguments=text):
                self.is_begun = True
                self._text.append(text)
            case VendorItem(value=value):  # what a tool of the vendor's was given is output, what it gave is not
                self.is_begun = True
                self._text.append(str(value.get("input") or value.get("action") or ""))

    @property
    def is_countable(self) -> bool:
        """Whether what came tells what was billed: the answer has begun, so that the server writes and sees the end."""
        return self.is_begun and isinstance(self._request, CompletionRequest)

    def _hidden_tokens(self, elapsed_s: float) -> int:
        """Bound the thinking that does not show: by the time there was for it, and by the bound that was asked for."""
        request = self._request
        if not isinstance(request, CompletionRequest) or not (request.asks_to_think or thinks_unasked(request.model)):
            return 0
        thought = math.ceil(elapsed_s * HIDDEN_PER_S)
        return thought if request.reasoning_tokens is None else min(thought, request.reasoning_tokens)

    def usage(self, input_tokens: int, output_cap: int, elapsed_s: float) -> TokenUsage:
        """Return what to charge, at most the hold.

        Args:
            input_tokens: What was held for the input.
            output_cap: The most the answer could have.
            elapsed_s: Seconds from the request until it was closed.
        """
        seen = output_tokens_from_text("".join(self._text)) + ON_ITS_WAY + self._hidden_tokens(elapsed_s)
        output = min(output_cap, max(seen, self._counted.output_total))
        if not self._counted.input_total:
            return TokenUsage(input=input_tokens, output=output)
        return TokenUsage(
            input=self._counted.input,
            cached_input=self._counted.cached_input,
            cache_write=self._counted.cache_write,
            output=output,
        )
