"""Errors as providers write them in place of an answer, with status 200 or as an event of a stream."""

# ruff: noqa: E501 - an error on a line each is a table

import random
from typing import Any

from tests.formats.dialects.truth import Draft, Json

REFUSALS: tuple[Any, ...] = (
    {"error": {"message": "Rate limit reached", "type": "rate_limit_error", "code": None}},  # OpenAI, Groq
    {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "3s"}]}},  # Google
    [{"error": {"code": 503, "message": "The model is overloaded", "status": "UNAVAILABLE"}}],  # Google
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"},  # Anthropic
    {"error": "model 'x' not found, try pulling it first"},  # Ollama
    {"errors": [{"message": "no healthy upstream", "code": 7001}], "success": False},  # Cloudflare
    {"detail": "Too many requests"},  # FastAPI
    {"object": "error", "message": "Service unavailable", "type": "unavailable", "param": None, "code": 503},  # vLLM
    {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": '{"error": "rate limited"}'}}},  # OpenRouter
    {"message": "Insufficient balance", "success": False},  # relays
    {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}},
    {"error": {"message": "This model's maximum context length is 10", "code": "context_length_exceeded"}},
)  # fmt: skip
"""Nothing was worked on, as their words say; each with who writes so."""

OF_RESPONSES: tuple[Json, ...] = (
    {"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "x"}}},
    {"type": "error", "code": "rate_limit_exceeded", "message": "Rate limit reached", "param": None},
)  # fmt: skip


def refused(draft: Draft, name: str) -> None:
    """Put an error in the place of the answer."""
    shapes = REFUSALS + (OF_RESPONSES if name == "responses" and draft.streamed else ())
    draft.events = [dict(error) if isinstance(error := draft.chance.choice(shapes), dict) else error]
    draft.names, draft.oddities, draft.done = "none", [], draft.streamed and draft.chance.random() < 0.5


def broke(draft: Draft) -> bool:
    """Put an error behind what has come of the answer; whether there was a place for it."""
    if not draft.streamed or len(draft.events) < 4 or {"end": "[DONE]"} in draft.events:
        return False
    if {"whole as one event", "only the last event", "only item.done"} & set(draft.oddities) or not draft.truth.text:
        return False
    draft.events[-1:] = [_error(draft.chance)]
    draft.done = False
    return True


def _error(chance: random.Random) -> Json:
    while True:
        error = chance.choice(REFUSALS)
        if isinstance(error, dict) and "detail" not in error:
            return dict(error)
