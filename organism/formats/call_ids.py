"""Ids of calls that carry what a provider wants back with them, where a format has no other place for it. Pure.

Clients give back the id of a call with its result, whatever else they drop. So what must come back (Gemini's thought
signatures) rides on the id in formats whose calls have no fields of a vendor's own: Anthropic's messages and OpenAI's
responses. Ids of Anthropic's are letters, digits, ``_`` and ``-``, and so is what is added.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec

from organism.llm.requests import ToolCall

_MARK = "__with_"


def id_with_extra(call: ToolCall) -> str:
    """Return the id of a call that the client sees."""
    if not call.extra:
        return call.id
    return f"{call.id}{_MARK}{urlsafe_b64encode(msgspec.json.encode(call.extra)).decode().rstrip('=')}"


def split_id(told: str) -> tuple[str, dict[str, Any]]:
    """Return a call's own id, and what has come back on it; an id that carries nothing readable is as it is."""
    plain, mark, carried = told.rpartition(_MARK)
    if not mark:
        return told, {}
    try:
        extra = msgspec.json.decode(urlsafe_b64decode(carried + "=" * (-len(carried) % 4)), type=dict[str, Any])
    except (ValueError, RecursionError):
        return told, {}
    return plain, extra
