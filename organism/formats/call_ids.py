"""Call ids that carry a provider's own fields, where a format has no other place for them. Pure.

Clients give back the id of a call with its result, whatever else they drop. So what must come back (Gemini's thought
signatures) is appended to the id in formats whose calls have no field for it: Anthropic's messages and OpenAI's
responses. Anthropic's ids are letters, digits, ``_`` and ``-``; what is appended has only these.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec

from organism.llm.requests import ToolCall

_MARK = "__with_"


def id_with_extra(call: ToolCall) -> str:
    """Return the call's id as the client sees it, with the provider's fields appended."""
    if not call.extra:
        return call.id
    return f"{call.id}{_MARK}{urlsafe_b64encode(msgspec.json.encode(call.extra)).decode().rstrip('=')}"


def split_id(told: str) -> tuple[str, dict[str, Any]]:
    """Return a call's own id and the fields appended to it; unreadable ones are left in the id."""
    plain, mark, carried = told.rpartition(_MARK)
    if not mark:
        return told, {}
    try:
        extra = msgspec.json.decode(urlsafe_b64decode(carried + "=" * (-len(carried) % 4)), type=dict[str, Any])
    except (ValueError, RecursionError):
        return told, {}
    return plain, extra
