"""What a model answers to a conversation. Pure."""

from typing import Any

import msgspec
from msgspec.structs import replace

from organism.amounts import TokenUsage, UsageSide
from organism.llm.requests import ChatMessage, Part, Reasoning, TextPart, ToolCall, VendorItem, texts_of

TRUNCATED = "stopped_at_the_budget"
"""The ``provider_reason`` of an answer whose stream was closed at its hold."""


class Completion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="completion"):
    """The answer of one attempt.

    Attributes:
        text: The visible answer; lone surrogates already replaced.
        model: The model the provider says it used, which may differ from the one asked for.
        finish_reason: ``stop`` and ``tool_calls`` are whole; ``length``, ``pause_turn``, ``content_filter`` (refused,
            too) and ``error`` are not. See :mod:`organism.formats.answers.finish_reasons`.
        usage: The provider's own count in disjoint buckets; ``None`` when it sent none or an insane one.
        usage_missing: The sides of :attr:`usage` that the provider has left out, or has counted before the end of the
            answer: what is there of them is a lower bound, and the router estimates the rest.
        usage_note: How the usage was read where that was not plain; empty where it was.
        usage_elsewhere: What of :attr:`usage` other models have used, such as one asked for advice; by the model.
        usage_error: Why :attr:`usage` is ``None`` although the provider sent something: the offending field and value.
        tool_calls: The tools it wants run before it goes on.
        reasoning: What it thought, as far as it is shown.
        cost_nanousd: What the provider says the call has cost; ``None`` when it does not say.
        is_cost_assumed: Whether nothing documents that the server bills by :attr:`cost_nanousd`: it holds where it is
            more than the tokens cost by their prices.
        refusal: What the model said in place of an answer, where its provider tells the two apart; in :attr:`text` too.
        provider_reason: The provider's own word for why it ended, where it has another; :data:`TRUNCATED` where the
            router has ended it.
        unused: What it has written beside the answer, such as a choice that nobody asked for.
        vendor_items: What its format has for it beside all that, such as a search that the vendor has run; a
            conversation in the same format has them again.
        service_tier: At which tier the provider says it has served the call; empty when it does not say.
        surcharges: What else it says that it has served the call with and takes more for; see
            :mod:`organism.pricing.service_tiers`.
        keeps_for_an_hour: Whether it says that it keeps any of the input for an hour instead of five minutes.
        parts: All of it in the provider's order, where that tells more than the fields above one after another: where
            items of the vendor's stand between words, or words say what they rest on. Else empty.
        tool_uses: How often the vendor has run tools of its own that it takes a fee for; see
            :mod:`organism.llm.server_tools`.
        logprobs: How likely each token of the text was, in OpenAI's words; where that was asked for.
        alternatives: The other answers, where several were asked for; what they cost is in :attr:`usage`.
        vendor_fields: What else the provider has said in its format, that only clients of the same have a word for.
        truncated: Whether its stream was closed because it had passed what the budget holds for it: this is what had
            come until then, and its :attr:`finish_reason` is ``length``.
    """

    text: str
    model: str
    finish_reason: str
    usage: TokenUsage | None
    usage_missing: tuple[UsageSide, ...] = ()
    usage_note: str = ""
    usage_elsewhere: dict[str, TokenUsage] = {}
    usage_error: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: tuple[Reasoning, ...] = ()
    cost_nanousd: int | None = None
    is_cost_assumed: bool = False
    refusal: str = ""
    provider_reason: str = ""
    unused: str = ""
    service_tier: str = ""
    surcharges: tuple[str, ...] = ()
    keeps_for_an_hour: bool = False
    vendor_items: tuple[VendorItem, ...] = ()
    parts: tuple[Part, ...] = ()
    tool_uses: dict[str, int] = {}
    logprobs: tuple[dict[str, Any], ...] = ()
    alternatives: tuple["Completion", ...] = ()
    vendor_fields: VendorItem | None = None
    truncated: bool = False
    is_last_word: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether it is whole: not cut, filtered, refused, paused or broken."""
        return self.finish_reason in {"stop", "tool_calls"}

    @property
    def turn(self) -> ChatMessage:
        """The answer as a turn of the conversation, for the next request."""
        if self.parts:
            return ChatMessage("assistant", self.parts)
        if not self.tool_calls and not self.reasoning and not self.vendor_items:
            return ChatMessage("assistant", self.text)
        words = (TextPart(self.text),) if self.text else ()
        return ChatMessage("assistant", (*self.reasoning, *self.vendor_items, *words, *self.tool_calls))

    def without_calls(self) -> "Completion":
        """Return the answer without its tool calls, as one that was cut short."""
        parts = tuple(part for part in self.parts if not isinstance(part, ToolCall))
        return replace(self, tool_calls=(), parts=parts, finish_reason="length")

    @property
    def generated(self) -> str:
        """All text that the model has visibly written, for an estimate where the provider has not counted."""
        others = (each.generated for each in self.alternatives)
        return "\n".join(text for text in (*texts_of(self.turn.parts), *others, self.unused) if text)
