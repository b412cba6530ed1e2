"""How deep and how crowded JSON is, told before any parser sees it. Pure.

No Python is run for each byte, so a body of many megabytes holds nobody up for long.
"""

from array import array
from itertools import accumulate

_ALL_BUT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_UP_AND_DOWN = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")
"""An opening bracket is a step of 1, a closing one of -1, as signed bytes."""


def more_values_than(body: bytes, values_max: int) -> bool:
    """Whether JSON has more strings, or more values beside each other and in each other, than so many."""
    plain = _without_escapes(body)
    if plain.count(b'"') > 2 * values_max:
        return True
    outside = _outside_strings(plain)
    return sum(map(outside.count, (b",", b"[", b"{"))) > values_max


def deeper_than(body: bytes, depth_max: int) -> bool:
    """Whether JSON is nested deeper than so many levels; what stands in strings does not count, if they end."""
    steps = _outside_strings(_without_escapes(body)).translate(_UP_AND_DOWN, _ALL_BUT_BRACKETS)
    return max(accumulate(array("b", steps)), default=0) > depth_max


def _without_escapes(body: bytes) -> bytes:
    return body.replace(b"\\\\", b"").replace(b'\\"', b"")


def _outside_strings(plain: bytes) -> bytes:
    """Return what stands outside of strings; one that does not end is none."""
    pieces = plain.split(b'"')
    return b"".join(pieces[::2] if len(pieces) % 2 else [*pieces[::2], pieces[-1]])
