"""Decodes the bytes of a provider's answer, whether they are JSON or an event stream. Pure.

Some relays send JSON where a stream was asked for, or the reverse. So the shape is recognized by the first byte, not by
the request: JSON begins with a bracket, which no line of an event stream does.
"""

from collections.abc import Iterator
from typing import Protocol, cast

from organism.errors import ProviderError, RejectedError, UncertainError
from organism.formats.answers.collector import BROKE_OFF
from organism.formats.answers.event_stream import EventStreamParser, ServerSentEvent
from organism.formats.errors.error_words import words_of
from organism.formats.errors.refusals import error_in, refused_in, refused_text
from organism.formats.json_reading import JsonObject, choices_in, loads, part, text_of, values_in
from organism.llm.answers import Completion
from organism.llm.deltas import Ping, ProviderSink, StreamEnd

_COUNTS = '"usage"'
_DONE = "[DONE]"
_TYPES = ("response.", "message_", "content_block_")
"""How types of events begin where the formats that have types name their events by them."""

_PIECES = ("choices", "delta", "content_block", "response")
"""Fields that only pieces of answers have."""

_ENVELOPES = dict.fromkeys(("data", "result", "body", "payload"))
"""Fields in which relays put what their own server has answered; none of the formats has them at the top of a piece."""

_ENVELOPES_DEEP = 3

_PINGS = frozenset({"ping", "keepalive", "keep-alive", "heartbeat"})
"""Types of events that are only a sign of life: Anthropic's, OpenAI's, relays'."""

EVENTS_MAX = 400_000
"""The most events of one answer: at one token each, more than any model writes. Events are bounded as well as bytes,
because a small event takes as long to read as a large one."""

_PAGE_MAX = 4096
"""Bytes that are kept of an answer that is neither JSON nor an event stream, such as a proxy's error page."""

_SPACES = b" \t\r\n"
_BLANK = _SPACES + b"\xef\xbb\xbf"
"""What may stand before JSON: blanks, with which relays keep a connection alive, and a byte order mark."""


class AnswerReader(Protocol):
    """Reads the events, or the whole, of one answer in one vendor's format."""

    @property
    def is_begun(self) -> bool:
        """Whether any of the answer has come."""
        ...

    @property
    def is_started(self) -> bool:
        """Whether its head has come: the provider may have begun to work."""
        ...

    @property
    def is_ended(self) -> bool:
        """Whether the format's own end of an answer has come."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether it has ended properly, even if some of its end is missing."""
        ...

    @property
    def is_concluded(self) -> bool:
        """Whether it says that it has ended, or why, and no reason is an error."""
        ...

    @property
    def is_counted(self) -> bool:
        """Whether usage has come."""
        ...

    @property
    def is_void(self) -> bool:
        """Whether it says that no model has served it, so that nothing was billed."""
        ...

    def event(self, value: JsonObject) -> None:
        """Take one event of a stream."""
        ...

    def whole(self, value: JsonObject) -> None:
        """Take a whole answer."""
        ...

    def end(self) -> None:
        """Take the mark that a stream is over."""
        ...

    def counted(self, usage: JsonObject) -> Completion:
        """Return what has come before an error ended it, with the usage that the error carries."""
        ...

    def completion(self) -> Completion:
        """Return what has come as one answer."""
        ...


class AnswerDecoder:
    """Decodes the bytes of one answer as they come.

    Args:
        provider: Its name in the configuration, for errors.
        reader: Of the format.
        sink: Called when the server says that it is at work.
    """

    def __init__(self, provider: str, reader: AnswerReader, sink: ProviderSink | None = None) -> None:
        self._provider = provider
        self._sink = sink
        self._reader = reader
        self._events = EventStreamParser()
        self._head = bytearray()
        self._body: list[bytes] | None = None
        self._is_told = False
        self._has_events = False
        self._count = 0

    @property
    def is_ended(self) -> bool:
        """Whether the answer has said that it is over."""
        return self._reader.is_ended

    @property
    def is_complete(self) -> bool:
        """Whether it has ended in order."""
        return self._reader.is_complete

    @property
    def has_all(self) -> bool:
        """Whether all of it has come: its end, or complete JSON, whatever ``content-length`` announced."""
        return self.is_complete or (self._body is not None and _is_json(b"".join(self._body)))

    @property
    def is_counted(self) -> bool:
        """Whether its usage has come."""
        return self._reader.is_counted

    def feed(self, chunk: bytes) -> None:
        """Take more of the answer.

        Raises:
            RejectedError: It is an error instead, and nothing was worked on.
            UncertainError: It is an error after work that may be billed, or not in this format.
        """
        is_more = self._is_told
        if not is_more:
            self._head += chunk
            seen = self._head.lstrip(_BLANK)
            if not seen:
                # Only the mark is kept: looking through megabytes of blanks again with each piece would take minutes.
                self._head = self._head.strip(_SPACES)
                return
            self._is_told = True
            chunk = bytes(self._head)
            if seen.startswith((b"{", b"[")):
                self._body = []
        if self._body is not None:
            self._body.append(chunk)
            return
        if is_more and not self._has_events and len(self._head) < _PAGE_MAX:
            self._head += chunk
        comments = self._events.comments
        found = self._events.feed(chunk)
        self._note_events(len(found))
        for event in found:
            self._has_events = True
            try:
                self._take(event)
            except ProviderError:
                # An error after the end and the usage does not undo the answer.
                if not (self._reader.is_concluded and self._reader.is_counted):
                    raise
        if self._events.comments > comments:
            self._ping()

    def _note_events(self, count: int = 1) -> None:
        self._count += count
        if self._count > EVENTS_MAX:
            raise UncertainError(self._provider, f"an answer of more than {EVENTS_MAX:,} events")

    def _ping(self) -> None:
        if self._sink is not None:
            self._sink(Ping())

    def finish(self) -> Completion:
        """Return the answer when no more bytes come.

        Raises:
            RejectedError: It is an error instead, and nothing was worked on.
            UncertainError: It broke off, or is not in this format.
        """
        if self._sink is not None:
            self._sink(StreamEnd())
        if self._body is not None:
            self._take_whole(b"".join(self._body).lstrip(_BLANK))
        elif (last := self._events.end()) is not None:
            try:
                self._take(last)
            except ProviderError:
                # The event that was cut is not needed: the answer has ended already.
                if not self.is_complete:
                    raise
        if not self.is_complete:
            if self._reader.is_void:
                raise RejectedError(self._provider, "an answer without content: nobody has served it", meaning="failed")
            if self._body is None and not self._has_events:
                refused = refused_text(bytes(self._head), self._provider)
                if refused is not None:
                    raise refused
            raise UncertainError(self._provider, self._what_is_missing())
        return self._reader.completion()

    def _what_is_missing(self) -> str:
        """Return, in words, why what has come is no answer."""
        if self._reader.is_begun or self._reader.is_started:
            return BROKE_OFF
        if self._body is None and not self._has_events and (words := words_of(bytes(self._head)).text):
            return f"an answer that is neither JSON nor a stream of events: {words}"
        return "an answer without content"

    def _take(self, event: ServerSentEvent) -> None:
        data = event.data.strip()
        if not data:
            return
        if data.upper() == _DONE:
            self._reader.end()
            return
        values = values_in(data)
        if values is None:
            if event.name == "error":
                if _COUNTS in data:  # it may be the last piece of an answer, damaged on its way: not free
                    raise UncertainError(self._provider, f"an error that is no JSON and has counts: {data[:80]}")
                self._raise_if_error({"error": data})
            if data[:1] in "{[" and data[:6] != "[PING]":
                raise UncertainError(self._provider, f"an event that is no JSON: {data[:80]}")
            self._ping()  # words to keep the connection alive
            return
        for value in values:
            if event.name == "error" and error_in(value) is None and not _is_answer(value):
                value = {"error": value}  # noqa: PLW2901 - the name of the event says what it is
            told = _typed(value, event.name) if isinstance(value, dict) else value
            self._raise_if_error(told)
            if told == _DONE:
                self._reader.end()
            elif isinstance(told, dict) and _ENVELOPES.keys().isdisjoint(told):  # nearly all are
                self._take_piece(told, event.name)
            else:
                for piece in _pieces(value):  # by itself: the name of the event is that of what an envelope holds
                    self._note_events()
                    typed = _typed(piece, event.name)
                    self._raise_if_error(typed)
                    self._take_piece(typed, event.name)

    def _take_piece(self, piece: JsonObject, name: str) -> None:
        """Take a piece of a stream, which may say no more than that the server is at work."""
        if text_of(piece.get("type")) in _PINGS or (name in _PINGS and not piece):
            self._ping()
        else:
            self._reader.event(piece)

    def _take_whole(self, body: bytes) -> None:
        try:
            value: object = loads(body)
            values = [value]
        except ValueError as error:
            # One JSON a line, as some servers stream.
            found = values_in(body.decode("utf-8", "replace"))
            if found is None or len(found) < 2:  # noqa: PLR2004 - one would have been read already
                raise UncertainError(self._provider, f"an answer that is no JSON: {error}") from None
            value, values = found, found
        self._raise_if_error(value)
        pieces = [piece for each in values for piece in _pieces(each)]
        self._note_events(len(pieces))
        for piece in pieces:
            self._raise_if_error(piece)
            (self._reader.whole if isinstance(value, dict) and len(pieces) == 1 else self._reader.event)(piece)

    def _raise_if_error(self, value: object) -> None:
        begun, started = self._reader.is_begun, self._reader.is_started
        for carrier in _carriers(value):
            if (error := refused_in(carrier, self._provider, begun=begun, started=started)) is not None:
                usage = part(carrier, "usage")
                if isinstance(error, UncertainError) and isinstance(usage, dict) and usage:
                    error.counted = self._reader.counted(cast("JsonObject", usage))
                raise error


def _typed(value: JsonObject, name: str) -> JsonObject:
    """Return an event with its type, taken from its name in the stream where the JSON has none."""
    return {**value, "type": name} if not value.get("type") and name.startswith(_TYPES) else value


def _is_answer(value: object) -> bool:
    """Whether JSON is a piece of an answer, whatever its event is called."""
    if not isinstance(value, dict):
        return False
    return text_of(value.get("type")).startswith(_TYPES) or any(value.get(name) for name in _PIECES)


def _pieces(value: object, depth: int = 0) -> Iterator[JsonObject]:
    """Yield what a format's reader is to see: relays put pieces into lists, or into an envelope of their own."""
    if isinstance(value, list):
        for each in value if depth < _ENVELOPES_DEEP else ():
            yield from _pieces(each, depth + 1)
    elif isinstance(value, dict):
        inner = next((value[name] for name in _ENVELOPES if value.get(name)), None)
        is_own = depth == _ENVELOPES_DEEP or _is_answer(value) or bool({"type", "usage", "object"} & value.keys())
        if is_own or not isinstance(inner, dict | list):
            yield value
        else:
            yield from _pieces(inner, depth + 1)


def _is_json(body: bytes) -> bool:
    try:
        loads(body.lstrip(_BLANK))
    except ValueError:
        return False
    return True


def _carriers(value: object) -> Iterator[object]:
    """Yield the places where an error may be: the value itself, a choice of it, a response that has failed."""
    yield value
    if not isinstance(value, dict):
        return
    if value.get("type") == "response.failed":
        yield value.get("response")
    for choice in choices_in(value):
        if isinstance(choice.get("error"), dict) and choice["error"]:
            yield {"error": choice["error"]}
