"""Messages that a program writes over several lines, put together again. Pure.

By the protocol a message is one line. Servers written by hand print their JSON indented all the same, and each of their
answers would be lost. A line that stops where JSON goes on begins such a message; it ends where its brackets do, or
where a line is a message by itself: what came before was none, or broke off.
"""

import re
from collections.abc import Iterator

from organism.formats.tool_calls import Nesting
from organism.tool_servers.messages import document_of

_BEGINNING = re.compile(rb'(?:\{\s*(?:".*[{\[,:])?|\[\s*(?:\{(?:.*[{\[,:])?)?)', re.DOTALL)
"""The first line of one: nothing but brackets, or JSON that stops where no message ends."""

_VERSION = b'"jsonrpc"'


class SplitMessages:
    """Takes lines, and gives those that are to be read.

    Args:
        message_bytes: The longest message; of a longer one its lines are given together as they came.
    """

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._begun: list[bytes] = []
        self._size = 0
        self._nesting = Nesting()
        self._has_version = False

    def feed(self, line: bytes) -> Iterator[bytes]:
        """Take a line; yield what is whole by it."""
        plain = line.strip()
        if not self._begun and not _BEGINNING.fullmatch(plain):
            yield line
            return
        if self._begun and _is_message(plain, has_version=self._has_version):
            yield from self.end()
            yield line
            return
        self._begun.append(line)
        self._has_version = self._has_version or _VERSION in line
        self._size += len(line)
        self._nesting.feed(plain.decode("utf-8", "replace"))
        if self._nesting.closed or self._size > self._message_bytes:
            yield from self.end()

    def end(self) -> Iterator[bytes]:
        """Yield what has begun, be it whole or not."""
        begun, self._begun, self._size, self._nesting = self._begun, [], 0, Nesting()
        self._has_version = False
        if begun:
            yield b"\n".join(begun)


def _is_message(plain: bytes, *, has_version: bool) -> bool:
    """Whether a line is a message, and no part of one: parts have no version, and rarely a result beside a number.

    Args:
        plain: The line.
        has_version: Whether what it may be a part of has a version: then all messages of its server have.
    """
    if not (plain.startswith(b"{") and plain.endswith(b"}")):
        return False
    try:
        value = document_of(plain.decode("utf-8", "replace"))
    except ValueError:
        return False
    if not isinstance(value, dict) or has_version:
        return isinstance(value, dict) and "jsonrpc" in value
    return "jsonrpc" in value or ("id" in value and bool({"result", "error"} & value.keys()))
