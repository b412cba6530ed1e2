"""Reads the answer to one HTTP request as messages: JSON, a list, a line each, or an event stream.

Servers announce one media type and write another, end an event without a blank line, and send another request's answer
on a stream. The SDK takes the first answer for the one it waits for, and after an unreadable one it waits for its
timeout, so it is given only messages in order.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Any

import msgspec

from organism.formats.answers.event_stream import EventStreamParser, EventTooLargeError, ServerSentEvent
from organism.tool_servers.messages import MESSAGE_BYTES_MAX, UNREADABLE, failure, is_answer, read_messages, too_large

_Message = dict[str, Any]

_SAID_CHARACTERS = 200
_OTHERS_MAX = 2
"""Answers with other ids that are kept: if there is more than one, none of them is the answer."""
_BLANK = b" \t\r\n\xef\xbb\xbf"


def answers_in(body: bytes) -> list[_Message]:
    """Return the answers in a body, whatever its media type."""
    whole = [message for message in read_messages(body) if is_answer(message)]
    if whole and not _is_unreadable(whole[0]):
        return whole
    parser = EventStreamParser(MESSAGE_BYTES_MAX * 2)
    events = [*parser.feed(body), parser.end()]
    parts: list[bytes | str] = [*body.split(b"\n"), *(event.data for event in events if event is not None)]
    found = [message for part in parts for message in read_messages(part) if is_answer(message)]
    return [message for message in found if not _is_unreadable(message)] or whole


def answer_to(number: int | str, answers: list[_Message]) -> _Message | None:
    """Return the answer to a request: the one with its id, or the only one there is."""
    found = next((one for one in answers if str(one["id"]) == str(number)), answers[0] if len(answers) == 1 else None)
    return None if found is None else {**found, "id": number}


async def readable_events(chunks: AsyncIterable[bytes], number: int | str | None) -> AsyncIterator[bytes]:
    """Yield the events of a stream, rewritten so that each has one message that the SDK can read.

    Args:
        chunks: The stream as the server wrote it.
        number: The id of the request that it answers; ``None`` for the stream of the server's own messages.
    """
    reader = _EventReader(number)
    try:
        async for chunk in chunks:
            for piece in reader.feed(chunk):
                yield piece
    except EventTooLargeError:
        if number is not None:
            yield _event(too_large(number))
        return
    for piece in reader.end():
        yield piece


class _EventReader:
    """Rewrites one stream; answers that had to wait are given at its end."""

    def __init__(self, number: int | str | None) -> None:
        self._number = number
        self._parser = EventStreamParser(MESSAGE_BYTES_MAX)
        self._head = bytearray()
        self._is_json: bool | None = None
        self._others: list[_Message] = []
        self._unread = ""
        self._is_answered = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self._is_json is None:
            self._head += chunk
            seen = self._head.lstrip(_BLANK)
            if not seen:
                self._head.clear()  # a server may write nothing else for as long as the call lasts
                return
            self._is_json = seen.startswith((b"{", b"["))
            chunk = bytes(self._head)
        elif self._is_json:
            self._head += chunk
        if self._is_json:
            if len(self._head) > MESSAGE_BYTES_MAX:
                raise EventTooLargeError
            return
        for event in self._parser.feed(chunk):
            yield from self._read(event)

    def end(self) -> Iterator[bytes]:
        """Yield what is left: without a proper answer, the only answer with another id is taken for it."""
        if self._is_json:
            self._others = answers_in(bytes(self._head))
        elif (last := self._parser.end()) is not None:
            yield from self._read(last)
        if self._number is None or self._is_answered:
            return
        if (answer := answer_to(self._number, self._others)) is not None:
            yield _event(answer)
        elif self._unread:
            yield _event(failure(self._number, UNREADABLE, f"answered what is no MCP message: {self._unread}"))

    def _read(self, event: ServerSentEvent) -> Iterator[bytes]:
        marks = f"id: {event.id}\n" if event.id else ""
        marks += f"retry: {self._parser.retry_ms}\n" if self._parser.retry_ms is not None else ""
        messages = list(read_messages(event.data))
        for message in messages:
            if self._number is None or not is_answer(message):
                yield _event(message, marks)
            elif str(message["id"]) == str(self._number):
                self._is_answered = True
                yield _event({**message, "id": self._number}, marks)
            elif len(self._others) < _OTHERS_MAX:
                self._others.append(message)
        if not messages:
            if event.data.strip() not in ("", "{}"):
                self._unread = " ".join(event.data.split())[:_SAID_CHARACTERS]
            if marks:  # the SDK resumes the stream from here
                yield f"{marks}data: \n\n".encode()


def _event(message: _Message, marks: str = "") -> bytes:
    return b"%bdata: %b\n\n" % (marks.encode(), msgspec.json.encode(message))


def _is_unreadable(message: _Message) -> bool:
    error = message.get("error")
    return isinstance(error, dict) and error.get("code") == UNREADABLE
