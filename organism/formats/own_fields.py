"""Fields of chat completions that only some servers have. Pure.

They reach a server that knows them unchanged. Where the server does not know them, those that change an answer are
refused by name; the rest are hints, or wishes that every format expresses in its own way.

Sources: the public references of vLLM, llama.cpp's server, SGLang, OpenRouter, Groq, DeepSeek, Qwen and Gemini.
"""

from collections.abc import Iterable
from typing import Any

from organism.llm.requests import CompletionRequest

CACHE_KEYS = frozenset({"prompt_cache_key", "prompt_cache_retention", "safety_identifier"})
"""Distinguish conversations in a vendor's cache, and end users."""

THINKING = frozenset({
    "reasoning", "thinking", "enable_thinking", "thinking_budget", "include_reasoning", "reasoning_format",
    "separate_reasoning", "extra_body",
})  # fmt: skip
"""Say whether and how much to think, and what to show of it; elsewhere that is ``reasoning_effort`` and the like."""

_SAMPLING = frozenset({"top_k", "min_p", "repetition_penalty"})
_TEMPLATE = frozenset({"chat_template_kwargs", "add_generation_prompt", "continue_final_message"})

VLLM = _SAMPLING | _TEMPLATE | {
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "regex", "ebnf",
    "min_tokens", "length_penalty", "stop_token_ids", "bad_words", "allowed_token_ids", "ignore_eos",
    "include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens", "include_reasoning",
    "truncate_prompt_tokens", "separate_reasoning",
}  # fmt: skip
"""Fields of vLLM and of SGLang, which share most of them."""

LLAMA_CPP = _SAMPLING | _TEMPLATE | {
    "grammar", "typical_p", "repeat_penalty", "repeat_last_n", "dynatemp_range", "dynatemp_exponent", "mirostat",
    "mirostat_tau", "mirostat_eta", "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n",
    "dry_sequence_breakers", "xtc_probability", "xtc_threshold", "samplers", "ignore_eos", "reasoning_format",
    "thinking_forced_open", "parse_tool_calls",
}  # fmt: skip

OPENROUTER = _SAMPLING | {"top_a", "reasoning", "include_reasoning", "transforms"}

UNKNOWN_MAKE = VLLM | LLAMA_CPP | {"top_a", "thinking", "enable_thinking", "thinking_budget"}
"""Fields sent to a server of unknown make, which refuses by itself what it does not take."""

OWN = (UNKNOWN_MAKE | OPENROUTER | CACHE_KEYS | THINKING) - {"top_k"}
"""All of these fields but ``top_k``, which Anthropic's format has as well."""

_HINTS = CACHE_KEYS | THINKING | {"reasoning_effort", "transforms"}
_SWITCHES = frozenset({"enable_thinking", "thinking"})


def split_off(raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a request into its common fields and those that are one server's own."""
    own = {name: value for name, value in raw.items() if name in OWN}
    rest = {name: value for name, value in raw.items() if name not in own} if own else raw
    return rest, {name: value for name, value in own.items() if value is not None}


def template_switch(own: dict[str, Any]) -> bool | None:
    """Return whether template arguments turn thinking on; ``None`` if they say nothing, or anything else."""
    kwargs = own.get("chat_template_kwargs")
    if not isinstance(kwargs, dict) or not kwargs or not kwargs.keys() <= _SWITCHES:
        return None
    return all(value is True for value in kwargs.values())


def own_field_untaken(request: CompletionRequest, takes: Iterable[str]) -> str | None:
    """Return, quoted, a field that changes the answer and that a server does not take; ``None`` if there is none."""
    own = _own(request)
    known = _HINTS.union(takes, ["chat_template_kwargs"] if template_switch(own) is not None else ())
    return next((repr(name) for name in own if name not in known), None)


def own_fields(request: CompletionRequest, takes: frozenset[str]) -> dict[str, Any]:
    """Return the fields that a server gets unchanged.

    The effort is sent once: a server that takes the client's own field for it gets no other.
    """
    own = {name: value for name, value in _own(request).items() if name in takes}
    if not THINKING.isdisjoint(own) or "chat_template_kwargs" in own:
        own["reasoning_effort"] = _own(request).get("reasoning_effort")
    return own


def _own(request: CompletionRequest) -> dict[str, Any]:
    fields = request.vendor_fields
    return {} if fields is None or fields.format != "chat" else fields.value
