"""Server-sent events are read as the standard has them, however their bytes are split."""

import itertools
import random

import pytest

from organism.formats.answers.event_stream import EventStreamParser, EventTooLargeError

STREAMS: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "line feeds": (b"data: a\n\ndata: b\n\n", [("message", "a"), ("message", "b")]),
    "carriage returns": (b"data: a\r\rdata: b\r\r", [("message", "a"), ("message", "b")]),
    "both": (b"data: a\r\n\r\ndata: b\r\n\r\n", [("message", "a"), ("message", "b")]),
    "mixed ends": (b"data: a\r\n\ndata: b\n\r\n", [("message", "a"), ("message", "b")]),
    "byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [("message", "a")]),
    "several lines": (b"data: a\ndata:  b\ndata\n\n", [("message", "a\n b\n")]),
    "empty data": (b"data:\n\n", [("message", "")]),
    "one space is taken": (b"data:a\n\ndata:  a\n\n", [("message", "a"), ("message", " a")]),
    "comments": (b": hello\n\n:\ndata: a\n: in between\n\n", [("message", "a")]),
    "names": (b"event: ping\ndata: {}\n\ndata: a\n\n", [("ping", "{}"), ("message", "a")]),
    "name without data": (b"event: ping\n\ndata: a\n\n", [("message", "a")]),
    "unknown fields": (b"foo: bar\nid: 7\nretry: 10\nretry: x\ndata: a\n\n", [("message", "a")]),
    "separators that end no line": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\n\n".encode(),
        [("message", "a\u2028b\u2029c\u0085d\x0be\x0cf")],
    ),
    "wide characters": ("data: mä\U0001f30a\n\n".encode(), [("message", "mä\U0001f30a")]),
    "invalid bytes": (b"data: a\xff\xc3\n\n", [("message", "a\ufffd\ufffd")]),
    "no blank line at the end": (b"data: a\n\ndata: b\n", [("message", "a"), ("message", "b")]),
    "no end at all": (b"data: a\n\ndata: b", [("message", "a"), ("message", "b")]),
    "nothing": (b"\n\n\r\n: only words\n\n", []),
}


def events_of(chunks: list[bytes]) -> list[tuple[str, str]]:
    parser = EventStreamParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    last = parser.end()
    return [(event.name, event.data) for event in (*found, *([last] if last is not None else []))]


@pytest.mark.parametrize("name", STREAMS)
def test_stream_is_read_as_the_standard_has_it(name: str) -> None:
    """Marks, ends of lines, comments and fields mean what the standard says, and nothing else ends a line."""
    raw, expected = STREAMS[name]
    assert events_of([raw]) == expected


@pytest.mark.parametrize("name", STREAMS)
def test_where_bytes_are_split_does_not_matter(name: str) -> None:
    """A stream says the same byte by byte, and cut anywhere: in a character, or between CR and LF."""
    raw, expected = STREAMS[name]
    assert events_of([raw[at : at + 1] for at in range(len(raw))]) == expected
    chance = random.Random(name)
    for _ in range(40):
        cuts = sorted(chance.choices(range(len(raw) + 1), k=3))
        places = [0, *cuts, len(raw)]
        assert events_of([raw[a:b] for a, b in itertools.pairwise(places)]) == expected


@pytest.mark.parametrize("raw", [b"data: " + b"a" * 200, b"data: a\n" * 40, b": " + b"a" * 200])
def test_event_that_does_not_end_is_given_up(raw: bytes) -> None:
    """A server cannot fill the memory with one event, whatever it is made of."""
    parser = EventStreamParser(most=100)
    with pytest.raises(EventTooLargeError, match="an event of more than"):
        parser.feed(raw)


def test_ids_and_retry_are_kept() -> None:
    """The id holds until another is named, a NUL in it is refused, and retry is a number."""
    parser = EventStreamParser()
    events = parser.feed(b"id: 1\ndata: a\n\ndata: b\n\nid: x\x00\nretry: 250\ndata: c\n\n")
    assert [event.id for event in events] == ["1", "1", "1"]
    assert parser.retry_ms == 250
