"""Reads JSON-RPC messages as servers write them, a line or a body at a time. Pure.

Source: JSON-RPC 2.0 and the transports of the Model Context Protocol (one message a line; revision 2025-03-26 also
lists of messages). Malformed answers are repaired so that the SDK takes them: one that it dropped would leave the call
waiting until its timeout.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from organism.formats.json_reading import loads

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""A larger message is not read; the call that it answers fails."""

NOT_SENT = -31001
"""Error code of our own: the request was not sent, and may be sent again."""
SESSION_LOST = -31002
"""The server does not know the session; the request may be sent again in a new one."""
UNCERTAIN = -31003
"""The request was sent and its fate is unknown; it must not be sent again."""
TOO_LARGE = -31004
"""The answer is too large to be read."""
UNREADABLE = -31005
"""The answer is not a message of the protocol."""

_SERVER_ERROR = -32000
_HEAD = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15}|"[^"\\]{1,80}")\s*,')
_SAID_CHARACTERS = 300
_HEAD_CHARACTERS = 1024


def read_messages(text: bytes | str) -> Iterator[dict[str, Any]]:
    """Yield the messages of a line or a body; anything else in it is ignored.

    A broken answer whose id can be read is yielded as a failure, so that its call does not wait for its timeout.
    """
    plain = (text.decode("utf-8", "replace") if isinstance(text, bytes) else text).lstrip("\ufeff \t\r\n")
    if not plain.startswith(("{", "[")):
        return  # usually a log line: parsing each would take longer than a talkative server takes to write it
    try:
        document = document_of(plain)
    except ValueError as error:
        if (number := id_of_head(plain[:_HEAD_CHARACTERS].encode("utf-8", "replace"))) is not None:
            yield failure(number, UNREADABLE, f"the answer cannot be read: {error}")
        return
    for message in document if isinstance(document, list) else [document]:
        if isinstance(message, dict) and (known := _plain(message)) is not None:
            yield known


def document_of(text: str) -> Any:
    """Read JSON as programs write it, with Python's ``NaN`` and lone surrogates, which JavaScript escapes.

    Raises:
        ValueError: If it is not JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return loads(text)


def is_answer(message: dict[str, Any]) -> bool:
    """Whether a message answers a request."""
    return "method" not in message


def _plain(message: dict[str, Any]) -> dict[str, Any] | None:
    method, number = message.get("method"), message.get("id")
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    params = {"params": message["params"]} if isinstance(message.get("params"), dict) else {}
    if isinstance(method, str):
        named = {"id": number} if _is_id(number) else {}
        return {"jsonrpc": "2.0", **named, "method": method, **params}
    if not _is_id(number):
        return None
    if message.get("error") is not None:
        return {"jsonrpc": "2.0", "id": number, "error": _error(message["error"])}
    if "result" in message:
        result = message["result"]
        shaped = result if isinstance(result, dict) else {} if result is None else {"content": result}
        return {"jsonrpc": "2.0", "id": number, "result": shaped}
    return {"jsonrpc": "2.0", "id": number, "error": _error("the answer has neither a result nor an error")}


def _is_id(number: Any) -> bool:
    return isinstance(number, str | int) and not isinstance(number, bool)


def _error(error: Any) -> dict[str, Any]:
    said = error if isinstance(error, dict) else {"message": error}
    code, message, more = said.get("code"), said.get("message", error), said.get("data")
    if isinstance(code, str) and re.fullmatch(r"-?\d{1,9}", code):
        code = int(code)
    if not isinstance(code, int) or isinstance(code, bool):
        code = _SERVER_ERROR
    words = message if isinstance(message, str) else msgspec.json.encode(message).decode()
    return {"code": code, "message": words} | ({} if more is None else {"data": more})


def id_of_head(head: bytes) -> int | str | None:
    """Return the request id in the first bytes of an answer; ``None`` if it is not there."""
    found = _HEAD.match(head)
    try:
        return None if found is None else msgspec.json.decode(found[1], type=int | str)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # bytes in it that are no text
        return None


def failure(number: int | str, code: int, words: str) -> dict[str, Any]:
    """Return an error answer of our own."""
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": words[:_SAID_CHARACTERS]}}


def too_large(number: int | str) -> dict[str, Any]:
    """Return the failure of a request whose answer is larger than :data:`MESSAGE_BYTES_MAX`."""
    return failure(number, TOO_LARGE, f"its answer is larger than {MESSAGE_BYTES_MAX:,} bytes")


class LineReader:
    """Splits a program's output into lines of bounded length.

    Args:
        line_bytes: The longest line; of a longer one only the head is returned, from which the request id can be read.
    """

    def __init__(self, line_bytes: int) -> None:
        self._line_bytes = line_bytes
        self._buffer = bytearray()
        self._overlong = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Take more output; yield each line, and whether it is only the head of one that is too long.

        The head is yielded as soon as the line is too long: its end may never come.
        """
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            if not self._overlong:
                self._buffer += data[start:end]
                if len(self._buffer) > self._line_bytes:
                    yield bytes(self._buffer[:1024]), True
                else:
                    yield bytes(self._buffer), False
            self._overlong = False
            self._buffer.clear()
            start = end + 1
        if self._overlong:
            return
        self._buffer += data[start:]
        if len(self._buffer) > self._line_bytes:
            self._overlong = True
            head = bytes(self._buffer[:1024])
            self._buffer = bytearray()
            yield head, True
