"""Reads and writes ``data:`` URLs. Pure."""

from base64 import b64decode, b64encode
from typing import NoReturn

from organism.formats.errors.faults import bad_request


def unpack(url: str, param: str) -> tuple[str, bytes]:
    """Return the media type and the bytes of a ``data:`` URL in base64.

    Raises:
        FaultError: If it is not such a URL.
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


def data_url(media_type: str, data: bytes) -> str:
    """Return bytes as a ``data:`` URL."""
    return f"data:{media_type};base64,{b64encode(data).decode()}"
