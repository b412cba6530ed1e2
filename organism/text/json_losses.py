"""What JSON does not keep although it can be written: it comes back as something else, and no error says so. Pure."""

import math
from typing import Any

import msgspec

_BYTES = (bytes, bytearray, memoryview)
_AS_THEY_ARE = (*_BYTES, msgspec.Raw)
"""What is not taken apart: bytes as they are differ from their base64, and a `msgspec.Raw` is JSON already."""


def loss(sent: object, read: object) -> str | None:
    """Say what of a value has become something else in what was read back of its JSON; ``None`` if nothing has.

    A number that is not finite is written as ``null``, and bytes as base64, whatever the field is for.
    """
    return _loss(*(msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE) for value in (sent, read)))


def _loss(sent: Any, read: Any) -> str | None:
    if isinstance(sent, float):
        is_lost = not (math.isfinite(sent) or isinstance(read, float))
        return f"{sent} is no number that JSON can say" if is_lost else None
    if isinstance(sent, _BYTES):
        return "there are bytes where text is read; decode them first" if isinstance(read, str) else None
    if isinstance(sent, dict) and isinstance(read, dict):
        pairs = ((each, read.get(key, read.get(str(key)))) for key, each in sent.items())
    elif isinstance(sent, list | tuple) and isinstance(read, list | tuple):
        pairs = zip(sent, read, strict=False)  # type: ignore[assignment]
    else:
        return None
    return next((lost for one, other in pairs if (lost := _loss(one, other)) is not None), None)
