"""Finish reasons: every vendor's word, and what it means. Pure.

An answer that was cut, filtered, refused, paused or failed is not whole, and must never look as if it were. A word in
no table is guessed from what it contains; one that cannot be guessed counts as an error.
"""

from collections.abc import Iterable
from typing import Literal

FinishReason = Literal["stop", "tool_calls", "length", "pause_turn", "content_filter", "error"]
"""``stop``: said all it would. ``tool_calls``: wants tools run. ``length``: cut off by a cap or the window.
``pause_turn``: the provider has paused in the middle of a turn. ``content_filter``: filtered or refused, by the model
or by what watches it. ``error``: it broke, was cancelled, or ended for a reason nobody knows."""

_WORDS: dict[FinishReason, tuple[str, ...]] = {
    "stop": (
        "stop",  # OpenAI and all who speak its chat completions; llama.cpp; Vertex writes STOP
        "end_turn",  # Anthropic
        "stop_sequence",  # Anthropic
        "eos",  # Together, text-generation-inference's older streams
        "eos_token",  # text-generation-inference
        "end_of_text",
        "completed",  # OpenAI's responses
        "complete",  # Cohere writes COMPLETE
        "finished",
        "done",
        "finish_reason_stop",
        "finish",
    ),
    "tool_calls": (
        "tool_calls",  # OpenAI
        "tool_call",  # Cohere writes TOOL_CALL
        "tool_use",  # Anthropic, Bedrock
        "function_call",  # OpenAI before tools
        "function_calls",
    ),
    "length": (
        "length",  # OpenAI, text-generation-inference
        "max_tokens",  # Anthropic, Cohere, Gemini (MAX_TOKENS)
        "max_output_tokens",  # OpenAI's responses
        "max_length",
        "model_length",  # Mistral: the window is full
        "model_context_window_exceeded",  # Anthropic
        "context_length_exceeded",
        "context_window_exceeded",
        "truncated",
        "incomplete",  # OpenAI's responses, where nothing says why
        "limit",  # llama.cpp's older servers
    ),
    "pause_turn": (
        "pause_turn",  # Anthropic
        "pause",
    ),
    "content_filter": (
        "content_filter",  # OpenAI, Azure
        "content_filtered",  # Bedrock
        "guardrail_intervened",  # Bedrock
        "refusal",  # Anthropic
        "safety",  # Gemini
        "recitation",  # Gemini: it was quoting
        "blocklist",  # Gemini
        "prohibited_content",  # Gemini
        "spii",  # Gemini: personal data
        "image_safety",  # Gemini
        "language",  # Gemini: a language it does not speak
        "sensitive",  # GLM (z.ai)
        "risk_control",
        "error_toxic",  # Cohere
    ),
    "error": (
        "error",  # OpenRouter, Cohere
        "error_limit",  # Cohere
        "abort",  # vLLM
        "aborted",
        "cancelled",  # OpenAI's responses
        "canceled",
        "user_cancel",
        "failed",  # OpenAI's responses
        "insufficient_system_resource",  # DeepSeek
        "network_error",  # GLM (z.ai)
        "timeout",
        "malformed_function_call",  # Gemini
        "unexpected_tool_call",  # Gemini
        "malformed_response",  # Gemini
        "other",  # Gemini
        "unknown",
        "finish_reason_unspecified",  # Gemini
    ),
}
"""Sources: the references of each vendor's answers, named beside its words; Gemini's are those of ``FinishReason``."""

_MEANING: dict[str, FinishReason] = {word: reason for reason, words in _WORDS.items() for word in words}

_HINTS: tuple[tuple[FinishReason, tuple[str, ...]], ...] = (
    ("error", ("error", "fail", "abort", "cancel", "interrupt", "timeout", "timed_out", "resource", "malformed")),
    (
        "content_filter",
        ("safety", "filter", "block", "refus", "sensitiv", "prohibit", "moderat", "policy", "guard"),
    ),
    ("length", ("length", "max", "limit", "trunc", "window", "context", "exceed", "budget")),
    ("pause_turn", ("pause",)),
    ("tool_calls", ("tool", "function")),
    ("stop", ("stop", "eos", "end_of", "end_turn", "complete", "finish", "done")),
)
"""What words in no table are likely to mean, the worst first: ``TOOL_CALL_LIMIT_REACHED`` is a limit."""

_NONE = frozenset({"", "null", "none", "undefined", "in_progress", "nil"})

_GRAVITY: tuple[FinishReason, ...] = ("stop", "tool_calls", "pause_turn", "length", "content_filter", "error")


def reason_of(word: object) -> FinishReason | None:
    """Return what a vendor's word means; ``None`` for a word that says nothing, such as ``null``."""
    if not isinstance(word, str):
        return None
    plain = word.strip().lower().replace("-", "_").replace(" ", "_").removeprefix("finish_reason_")
    if plain in _NONE:
        return None
    if (known := _MEANING.get(plain)) is not None:
        return known
    return next((reason for reason, hints in _HINTS if any(hint in plain for hint in hints)), "error")


def gravest(reasons: Iterable[FinishReason]) -> FinishReason | None:
    """Return the reason that an answer is judged by: the one furthest from a whole answer."""
    return max(reasons, key=_GRAVITY.index, default=None)


def is_whole(reason: str) -> bool:
    """Whether an answer with this finish reason is complete."""
    return reason in {"stop", "tool_calls"}
