"""Fields of chat completions that are one server's own, and who has a word for them. Pure.

They reach a server that knows them as the client has written them. What changes an answer is refused by its name where
the server has no word for it; the rest are hints, or wishes that every format has a word of its own for.

Sources: the public references of vLLM, llama.cpp's server, SGLang, OpenRouter, Groq, DeepSeek, Qwen and Gemini.
"""

from collections.abc import Iterable
from typing import Any

from organism.llm.requests import CompletionRequest

CACHE_KEYS = frozenset({"prompt_cache_key", "prompt_cache_retention", "safety_identifier"})
"""Tell conversations apart in a vendor's cache, and people from each other."""

THINKING = frozenset({
    "reasoning", "thinking", "enable_thinking", "thinking_budget", "include_reasoning", "reasoning_format",
    "separate_reasoning", "extra_body",
})  # fmt: skip
"""Say whether and how much to think, and what of it is shown: elsewhere that is ``reasoning_effort`` and its kin."""

_SAMPLING = frozenset({"top_k", "min_p", "repetition_penalty"})
_TEMPLATE = frozenset({"chat_template_kwargs", "add_generation_prompt", "continue_final_message"})

VLLM = _SAMPLING | _TEMPLATE | {
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "regex", "ebnf",
    "min_tokens", "length_penalty", "stop_token_ids", "bad_words", "allowed_token_ids", "ignore_eos",
    "include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens", "include_reasoning",
    "truncate_prompt_tokens", "separate_reasoning",
}  # fmt: skip
"""Those of vLLM and of SGLang, which have most of them in common."""

LLAMA_CPP = _SAMPLING | _TEMPLATE | {
    "grammar", "typical_p", "repeat_penalty", "repeat_last_n", "dynatemp_range", "dynatemp_exponent", "mirostat",
    "mirostat_tau", "mirostat_eta", "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n",
    "dry_sequence_breakers", "xtc_probability", "xtc_threshold", "samplers", "ignore_eos", "reasoning_format",
    "thinking_forced_open", "parse_tool_calls",
}  # fmt: skip

OPENROUTER = _SAMPLING | {"top_a", "reasoning", "include_reasoning", "transforms"}

UNKNOWN_MAKE = VLLM | LLAMA_CPP | {"top_a", "thinking", "enable_thinking", "thinking_budget"}
"""What a server of unknown make is given: it says itself what it does not take."""

OWN = (UNKNOWN_MAKE | OPENROUTER | CACHE_KEYS | THINKING) - {"top_k"}
"""All of them but the one that Anthropic's format has as well."""

_HINTS = CACHE_KEYS | THINKING | {"reasoning_effort", "transforms"}
_SWITCHES = frozenset({"enable_thinking", "thinking"})


def split_off(raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a request without the fields that are one server's own, and these."""
    own = {name: value for name, value in raw.items() if name in OWN}
    rest = {name: value for name, value in raw.items() if name not in own} if own else raw
    return rest, {name: value for name, value in own.items() if value is not None}


def template_switch(own: dict[str, Any]) -> bool | None:
    """Return whether a template is to let the model think, where that is all that is said to it."""
    kwargs = own.get("chat_template_kwargs")
    if not isinstance(kwargs, dict) or not kwargs or not kwargs.keys() <= _SWITCHES:
        return None
    return all(value is True for value in kwargs.values())


def own_field_untaken(request: CompletionRequest, takes: Iterable[str]) -> str | None:
    """Return which of the fields changes the answer and is no word of a server's, quoted; ``None`` for none."""
    own = _own(request)
    known = _HINTS.union(takes, ["chat_template_kwargs"] if template_switch(own) is not None else ())
    return next((repr(name) for name in own if name not in known), None)


def own_fields(request: CompletionRequest, takes: frozenset[str]) -> dict[str, Any]:
    """Return the fields that a server is given as the client has written them.

    How much to think is said once: a server that has the client's own word for it is given no other.
    """
    own = {name: value for name, value in _own(request).items() if name in takes}
    if not THINKING.isdisjoint(own) or "chat_template_kwargs" in own:
        own["reasoning_effort"] = _own(request).get("reasoning_effort")
    return own


def _own(request: CompletionRequest) -> dict[str, Any]:
    fields = request.vendor_fields
    return {} if fields is None or fields.format != "chat" else fields.value
