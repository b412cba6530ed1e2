"""Reasoning in chat completions beyond its text: typed, sealed, and sent back as it was. Pure.

Source: "Reasoning tokens", the guide to OpenRouter's API, whose ``reasoning_details`` several relays and clients speak.
What other vendors seal (Anthropic's signatures, OpenAI's encrypted reasoning) is sent to clients in the same way, so
that it comes back to its vendor with the next request.
"""

from collections.abc import Iterable, Iterator

from organism.formats.json_reading import JsonObject, text_of
from organism.llm.requests import Reasoning

FIELD = "reasoning_details"

KEPT_FIELDS = frozenset({"extra_content"})
"""Fields of a call or a message that a vendor wants back as they are: Gemini's thought signatures."""

_KEPT = ("type", "format", "index")
_SEALED = "reasoning.encrypted"
_SUMMARY = "reasoning.summary"


def kept_of(detail: JsonObject) -> JsonObject:
    """Return what of a detail is kept beside its text and its seal, for it to be written again."""
    return {FIELD: {name: detail[name] for name in _KEPT if name in detail}}


def is_sealed(detail: JsonObject) -> bool:
    """Whether there is nothing but unreadable content."""
    return detail.get("type") == _SEALED


def words_of_detail(detail: JsonObject) -> str:
    """Return its text, which stands under the name of its type."""
    return text_of(detail.get("text")) or text_of(detail.get("summary"))


def seal_of(detail: JsonObject) -> str:
    """Return its unreadable content, or the seal on what can be read."""
    return text_of(detail.get("data")) if is_sealed(detail) else text_of(detail.get("signature"))


def read_details(details: Iterable[JsonObject]) -> Iterator[Reasoning]:
    """Translate details that a client gives back."""
    for detail in details:
        thought_id, extra = text_of(detail.get("id")), kept_of(detail)
        yield Reasoning(words_of_detail(detail), seal_of(detail), thought_id, is_sealed(detail), extra)


def write_details(thoughts: Iterable[Reasoning]) -> list[JsonObject]:
    """Write reasoning that has more to it than its text; nothing where none has."""
    told = list(thoughts)
    if not any(thought.signature or thought.redacted or FIELD in thought.extra for thought in told):
        return []
    return [_detail(place, thought) for place, thought in enumerate(told)]


def _detail(place: int, thought: Reasoning) -> JsonObject:
    kept = thought.extra.get(FIELD)
    known = kept if isinstance(kept, dict) else {"format": "unknown", "index": place}
    named = {"id": thought.id} if thought.id else {}
    if thought.redacted:
        return {**known, "type": _SEALED, "data": thought.signature, **named}
    kind = known.get("type", "reasoning.text")
    words = {"summary" if kind == _SUMMARY else "text": thought.text}
    seal = {"signature": thought.signature} if thought.signature else {}
    return {**known, "type": kind, **words, **seal, **named}
