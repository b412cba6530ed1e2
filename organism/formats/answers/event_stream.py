"""Server-sent events read from bytes, however they are split. Pure.

Source: WHATWG HTML, "Server-sent events", 9.2.5 "Parsing an event stream" and 9.2.6 "Interpreting an event stream": a
byte order mark is passed over; CR, LF and CRLF end lines, and nothing else does, so U+2028, U+2029 and U+0085 are text;
several ``data`` lines are one text with line feeds between; one space after the colon is no part of the value.

One departure: at the end of the stream the standard throws away an event that no blank line has ended. Servers leave
that line out, and what they wrote has been billed, so it is read; who reads it decides whether it is whole.
"""

import msgspec

EVENT_BYTES_MAX = 16 * 1024 * 1024
"""No event of an answer comes near this many bytes."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """An event, or a line of one, that does not end."""


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event.

    Attributes:
        data: Its text.
        name: Its type; ``message`` unless it names one.
        id: The last id that the stream has named, for a client that would go on from there.
    """

    data: str
    name: str = "message"
    id: str = ""


class EventStreamParser:
    """Parses an event stream from bytes, incrementally.

    Args:
        most: The most bytes of one event.
    """

    def __init__(self, most: int = EVENT_BYTES_MAX) -> None:
        self.retry_ms: int | None = None
        self.comments = 0
        """How many comments have come; servers send them to keep a connection alive while they work."""
        self._most = most
        self._begun = False
        self._rest = bytearray()
        self._searched = 0
        self._after_cr = False
        self._size = 0
        self._data: list[str] = []
        self._name = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take more bytes and return the events that they complete.

        Raises:
            EventTooLargeError: An event has more than the allowed bytes.
        """
        self._rest += chunk
        if not self._begun and not self._pass_byte_order_mark():
            return []
        events: list[ServerSentEvent] = []
        while (line := self._next_line()) is not None:
            if line:
                self._take(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        if self._size + len(self._rest) > self._most:
            raise EventTooLargeError(f"an event of more than {self._most:,} bytes")
        return events

    def end(self) -> ServerSentEvent | None:
        """Return the event that the end of the stream cut off, if there is one."""
        if not self._begun:
            self._rest = self._rest.removeprefix(_BYTE_ORDER_MARK)
        if line := bytes(self._rest.removeprefix(b"\n") if self._after_cr else self._rest):
            self._take(line)
        self._rest.clear()
        return self._dispatch()

    def _pass_byte_order_mark(self) -> bool:
        """Skip the mark; ``False`` while too few bytes have come to know whether there is one."""
        if len(self._rest) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(self._rest):
            return False
        if self._rest.startswith(_BYTE_ORDER_MARK):
            del self._rest[: len(_BYTE_ORDER_MARK)]
        self._begun = True
        return True

    def _next_line(self) -> bytes | None:
        """Remove and return the next complete line; ``None`` if there is none. CRLF ends one line.

        A carriage return ends its line at once, without waiting for what follows: a server that ends lines with it
        alone may send nothing more for minutes.
        """
        rest = self._rest
        if self._after_cr and rest:
            self._after_cr = False
            if rest[0] == 0x0A:  # noqa: PLR2004 - the line feed
                del rest[0]
        feed = rest.find(b"\n", self._searched)
        ret = rest.find(b"\r", self._searched, feed if feed >= 0 else len(rest))
        if feed < 0 and ret < 0:
            self._searched = len(rest)
            return None
        at = feed if ret < 0 else ret
        line = bytes(rest[:at])
        del rest[: at + 1]
        self._searched = 0
        self._after_cr = at == ret
        return line

    def _take(self, line: bytes) -> None:
        """Read a line; a field without a colon has an empty value, a line that begins with one is a comment."""
        self._size += len(line)
        if self._size > self._most:
            raise EventTooLargeError(f"an event of more than {self._most:,} bytes")
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            case "":
                self.comments += 1
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdecimal():
                self.retry_ms = int(value[:9])
            case _:
                pass

    def _dispatch(self) -> ServerSentEvent | None:
        data, name = self._data, self._name
        self._data, self._name, self._size = [], "", 0
        if not data:
            return None
        return ServerSentEvent("\n".join(data), name or "message", self._id)
