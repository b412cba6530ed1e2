"""Read a file that somebody names: no more of it than it may have, and without waiting for what never comes."""

import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path

_SILENT_S = 5.0
"""Seconds for which a pipe may say nothing: the shell's ``<(...)`` is one, whose program needs a moment."""

_READ_BYTES = 65_536
_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a disk"))


def read_bounded(path: Path, most: int) -> bytes:
    """Return what a file or a pipe holds, and one byte above the bound where it holds more.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If it is something else, cannot be read, or is a pipe that nobody writes to; ``strerror`` says so.
    """
    try:
        # Without O_NONBLOCK a pipe that nobody writes to, and some devices, would be waited for here without end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        if path.is_socket():
            raise OSError(0, "it is a socket, and not a file") from None
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return _all_of(lambda size: os.read(descriptor, size), most)
        if stat.S_ISFIFO(mode):
            return _all_of(lambda size: _written(descriptor, size), most)
    finally:
        os.close(descriptor)
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    raise OSError(0, f"it is {kind}, and not a file")


def _all_of(read: Callable[[int], bytes], most: int) -> bytes:
    found = bytearray()
    while len(found) <= most and (piece := read(min(_READ_BYTES, most + 1 - len(found)))):
        found += piece
    return bytes(found)


def _written(descriptor: int, size: int) -> bytes:
    """Return what is written to a pipe next; nothing at its end."""
    until_s = time.monotonic() + _SILENT_S
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while (left_s := until_s - time.monotonic()) > 0:
        if poll.poll(left_s * 1000):
            try:
                return os.read(descriptor, size)
            except BlockingIOError:
                continue
    raise OSError(0, f"it is a pipe, and nobody has written to it for {_SILENT_S:g} s")
