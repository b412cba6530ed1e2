"""Answers of vendors' endpoints that count input. Pure."""

import msgspec

from organism.formats.counts import TOKENS_MAX


def said_input_tokens(body: bytes) -> int | None:
    """Return the tokens of input in a vendor's answer; ``None`` if there is no sane count in it.

    Source: the references of ``POST /v1/messages/count_tokens`` and ``POST /v1/responses/input_tokens``.
    """
    try:
        said: object = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    count: object = said.get("input_tokens") if isinstance(said, dict) else None
    return count if type(count) is int and 0 < count <= TOKENS_MAX else None
