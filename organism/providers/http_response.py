"""Parses one HTTP/1.1 response incrementally. Pure.

It follows RFC 9112, and tolerates what real servers do: lines that end without a carriage return, a repeated but equal
content length, folded header lines.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus

HEAD_MAX = 65_536
"""The most bytes of a head, or of one line between the chunks of a body."""

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) +([1-9][0-9]{2})(?: .*)?")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_LENGTH = re.compile(r"[0-9]{1,18}")
_TO_THE_END = -1


class UnreadableResponseError(ValueError):
    """The bytes are not an HTTP response."""


class ResponseParser:
    """Parses a response, and interim ones (status 1xx) before it.

    Attributes:
        status: Its status; 0 until its head has come.
        headers: Its headers, by lower-case names; one that comes twice is joined by a comma.
        ended: Whether all of its body has come.
        keeps: Whether its connection may be reused after it.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.ended = False
        self.keeps = False
        self._rest = b""
        self._left = 0
        """Bytes left of the body, or of the present chunk."""
        self._chunked = False
        self._in_trailers = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the parts of the body among them.

        Raises:
            UnreadableResponseError: If they are not HTTP.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        while not self.status:
            end = _HEAD_END.search(data, at)
            if end is None:
                self._keep(data[at:])
                return []
            self._read_head(data[at : end.start()])
            at = end.end()
        return self._body(data, at)

    def end(self) -> bool:
        """Note the end of the connection; return whether the response is complete."""
        if self.status and self._left == _TO_THE_END:
            self.ended = True
        return self.ended

    def _body(self, data: bytes, at: int) -> list[bytes]:
        pieces: list[bytes] = []
        size = len(data)
        while at < size and not self.ended:
            if self._left:
                end = size if self._left == _TO_THE_END else min(size, at + self._left)
                pieces.append(data[at:end])
                if self._left > 0:
                    self._left -= end - at
                    self.ended = not self._left and not self._chunked
                at = end
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._keep(data[at:])
                break
            self._take_line(data[at:end].strip())
            at = end + 1
        if self.ended and at < size:
            self.keeps = False  # unexpected bytes follow
        return pieces

    def _keep(self, rest: bytes) -> None:
        if len(rest) > HEAD_MAX:
            raise UnreadableResponseError(f"a line or a head of more than {HEAD_MAX:,} bytes")
        self._rest = rest

    def _take_line(self, line: bytes) -> None:
        """Take a line between chunks: the size of the next one, or a trailer."""
        if self._in_trailers:
            self.ended = not line
        elif line:  # an empty one ends the piece before
            size = line.partition(b";")[0].strip()
            if not _SIZE.fullmatch(size):
                raise UnreadableResponseError(f"{size[:20]!r} is no size of a piece")
            self._left = int(size, 16)
            self._in_trailers = not self._left

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\n")
        found = _STATUS_LINE.fullmatch(first.strip())
        if found is None:
            raise UnreadableResponseError(f"{first[:40]!r} does not begin an HTTP response")
        status = int(found[2])
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise UnreadableResponseError("the server wants to speak another protocol")
        if status < HTTPStatus.OK:
            return  # an interim response: hints, or 100 Continue
        self.headers = _headers(lines)
        self._frame(status, is_new=found[1] == b"1")
        self.status = status

    def _frame(self, status: int, *, is_new: bool) -> None:
        """Determine where the body ends (RFC 9112, 6.3)."""
        coding = self.headers.get("transfer-encoding", "").lower()
        length = {each.strip() for each in self.headers.get("content-length", "").split(",") if each.strip()}
        if status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            self.ended = True
        elif coding not in {"", "identity"}:
            if coding != "chunked":
                raise UnreadableResponseError(f"a body sent as {coding[:40]!r}")
            self._chunked = True
        elif length:
            if len(length) > 1 or not _LENGTH.fullmatch(said := length.pop()):
                raise UnreadableResponseError("a body whose length is no number, or two")
            self._left = int(said)
            self.ended = not self._left
        else:
            self._left = _TO_THE_END
        options = {each.strip() for each in self.headers.get("connection", "").lower().split(",")}
        self.keeps = "close" not in options if is_new else "keep-alive" in options


def _headers(lines: list[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        text = line.decode("latin-1").rstrip("\r")
        if text[:1] in {" ", "\t"} and name:
            found[name] = f"{found[name]} {text.strip()}"
            continue
        named, colon, value = text.partition(":")
        name, value = named.strip().lower(), value.strip()
        if not colon or not name:
            raise UnreadableResponseError(f"{text[:40]!r} is no header")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
