"""What vendors answer that are asked how many tokens an input has. Pure."""

import msgspec

from organism.formats.counts import TOKENS_MAX


def said_input_tokens(body: bytes) -> int | None:
    """Read the answer of a vendor that was asked how many tokens an input has; ``None`` if there is no count in it.

    Source: the references of ``POST /v1/messages/count_tokens`` and ``POST /v1/responses/input_tokens``.
    """
    try:
        said: object = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    count: object = said.get("input_tokens") if isinstance(said, dict) else None
    return count if type(count) is int and 0 < count <= TOKENS_MAX else None
