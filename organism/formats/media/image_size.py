"""Reads the size of an image from the head of its file: PNG, JPEG, GIF and WebP. Pure.

Sources: the PNG specification (IHDR), ITU-T T.81 (frame headers), GIF89a (screen descriptor) and RFC 9649 (VP8, VP8L
and VP8X).
"""

_PNG = b"\x89PNG\r\n\x1a\n"
_MARKER = 0xFF
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers without a length."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers of a frame; the three left out are tables."""

Size = tuple[int, int]
"""Width and height, in pixels."""


def size_of_image(data: bytes) -> Size | None:
    """Return the size of an image; ``None`` if its format is unknown or its head is cut short."""
    try:
        if data.startswith(_PNG):
            return _whole(data, 16, 20, 4, "big")
        if data[:6] in {b"GIF87a", b"GIF89a"}:
            return _whole(data, 6, 8, 2, "little")
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        return _jpeg(data) if data.startswith(b"\xff\xd8") else None
    except IndexError:
        return None


def _whole(data: bytes, width_at: int, height_at: int, length: int, order: str) -> Size | None:
    width, height = (_number(data, place, length, order) for place in (width_at, height_at))
    return (width, height) if width and height else None


def _number(data: bytes, place: int, length: int, order: str) -> int:
    raw = data[place : place + length]
    if len(raw) < length:
        raise IndexError
    return int.from_bytes(raw, "big" if order == "big" else "little")


def _jpeg(data: bytes) -> Size | None:
    place = 2
    while True:
        while data[place] != _MARKER:
            place += 1
        while data[place] == _MARKER:
            place += 1
        marker = data[place]
        place += 1
        if marker in _FRAMES:
            return _whole(data, place + 5, place + 3, 2, "big")
        if marker not in _STANDALONE:
            place += _number(data, place, 2, "big")


def _webp(data: bytes) -> Size | None:
    match data[12:16]:
        case b"VP8 ":
            return _number(data, 26, 2, "little") & 0x3FFF, _number(data, 28, 2, "little") & 0x3FFF
        case b"VP8L":
            bits = _number(data, 21, 4, "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return _number(data, 24, 3, "little") + 1, _number(data, 27, 3, "little") + 1
        case _:
            return None
