"""Bodies that come compressed, unpacked no further than they may be large. Pure.

Source: RFC 9110, 8.4.1; ``deflate`` is the zlib format there, and without its frame what many send.
"""

import zlib
from importlib.util import find_spec
from typing import Any, Protocol

_GZIP = 16 + zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
PLAIN = frozenset({"", "identity"})


class UnreadableError(ValueError):
    """A body is compressed in a way that is not known here, or is not what its header says."""


class BodyTooLargeError(ValueError):
    """A body is larger than it may be once it is unpacked."""


class _Unpacker(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """Return a body as it was before it was compressed.

    Args:
        body: As it came.
        encoding: The header ``content-encoding``.
        most: The most bytes that it may have once it is unpacked.

    Raises:
        UnreadableError: Its encoding is not known here, or it is not what its header says.
        BodyTooLargeError: There is more of it.
    """
    name = encoding.strip().lower()
    if name in PLAIN:
        return body
    try:
        if name == "deflate":
            return _whole(body, lambda: zlib.decompressobj(_RAW if _is_bare(body) else zlib.MAX_WBITS), most)
        if name in {"gzip", "x-gzip"}:
            return _whole(body, lambda: zlib.decompressobj(_GZIP), most)
        if name == "zstd" and (make := _zstd()) is not None:
            return _whole(body, make, most)
    except BodyTooLargeError:
        raise
    except Exception as error:  # noqa: BLE001 - each library has its own for bytes that are none of its format
        raise UnreadableError(f"the body is not in {name}: {error}") from None
    known = "gzip, deflate" + (", zstd" if _zstd() is not None else "")
    raise UnreadableError(f"a body in {encoding[:40]!r} cannot be read; send it plain, or in one of {known}")


def _whole(body: bytes, make: Any, most: int) -> bytes:
    """Unpack all members that follow each other."""
    parts: list[bytes] = []
    left = most + 1
    while body:
        unpacker: _Unpacker = make()
        part = unpacker.decompress(body, left)
        left -= len(part)
        if left <= 0:
            raise BodyTooLargeError
        if not unpacker.eof:
            raise UnreadableError("it breaks off in the middle")
        parts.append(part)
        body = unpacker.unused_data
    return b"".join(parts)


def _is_bare(body: bytes) -> bool:
    """Whether there is no frame of zlib around what is compressed."""
    return len(body) < 2 or body[0] & 15 != 8 or int.from_bytes(body[:2]) % 31 != 0  # noqa: PLR2004


def _zstd() -> Any:
    """Return what makes an unpacker: the standard library's, or of the package that has it for older Pythons."""
    for package, module in (("compression", "compression.zstd"), ("backports", "backports.zstd")):
        if find_spec(package) is not None and find_spec(module) is not None:
            from importlib import import_module

            return import_module(module).ZstdDecompressor
    return None
