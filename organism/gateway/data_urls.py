"""Bytes in a request: addresses that carry what they point to. Pure."""

from base64 import b64decode
from typing import NoReturn

from organism.gateway.faults import bad_request


def unpack(url: str, param: str) -> tuple[str, bytes]:
    """Return the media type and the bytes of a ``data:`` address in base 64.

    Raises:
        FaultError: If it is none.
    """
    head, comma, data = url.partition(",")
    kind = head.removeprefix("data:").removesuffix(";base64")
    if not (comma and head.startswith("data:") and head.endswith(";base64") and "/" in kind):
        _no_data(param)
    try:
        return kind.partition(";")[0], b64decode(data, validate=True)
    except ValueError:
        _no_data(param)


def _no_data(param: str) -> NoReturn:
    raise bad_request(f"{param}: give the bytes as 'data:TYPE;base64,...'", param)
