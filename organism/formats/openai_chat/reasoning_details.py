"""Reasoning in chat completions beyond its text: typed, signed, and sent back unchanged. Pure.

Source: "Reasoning tokens", the guide to OpenRouter's API, whose ``reasoning_details`` several relays and clients speak.
Anthropic's signatures and OpenAI's encrypted reasoning are sent to clients in the same form, so that they come back to
their vendor with the next request.
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
    """Return the fields of a detail, other than text and seal, that are needed to write it again."""
    return {FIELD: {name: detail[name] for name in _KEPT if name in detail}}


def is_sealed(detail: JsonObject) -> bool:
    """Whether a detail is encrypted, without readable text."""
    return detail.get("type") == _SEALED


def words_of_detail(detail: JsonObject) -> str:
    """Return the readable text of a detail."""
    return text_of(detail.get("text")) or text_of(detail.get("summary"))


def seal_of(detail: JsonObject) -> str:
    """Return the encrypted content of a detail, or the signature of its readable text."""
    return text_of(detail.get("data")) if is_sealed(detail) else text_of(detail.get("signature"))


def read_details(details: Iterable[JsonObject]) -> Iterator[Reasoning]:
    """Translate details that a client sends back."""
    for detail in details:
        thought_id, extra = text_of(detail.get("id")), kept_of(detail)
        yield Reasoning(words_of_detail(detail), seal_of(detail), thought_id, is_sealed(detail), extra)


def write_details(thoughts: Iterable[Reasoning]) -> list[JsonObject]:
    """Write details of reasoning; none where all of it is plain text."""
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
