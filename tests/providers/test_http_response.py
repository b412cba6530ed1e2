"""Responses are read the same however their bytes are cut, and what is no response is told from one that is."""

import pytest

from organism.providers.http_response import HEAD_MAX, ResponseParser, UnreadableResponseError

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
READABLE = {
    "a length": (OK + b"Content-Length: 5\r\n\r\nhello", b"hello", True, True),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", b"", True, True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True, True),
    "chunks": (CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello", True, True),
    "sizes in capitals, with zeros": (CHUNKED + b"0A\r\nhellohello\r\n000\r\n\r\n", b"hellohello", True, True),
    "extensions and trailers": (CHUNKED + b"5;a=b\r\nhello\r\n0;c\r\nX: y\r\nZ: w\r\n\r\n", b"hello", True, True),
    "chunks win over a length": (
        OK + b"content-length: 1\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"hello",
        True,
        True,
    ),
    "to the end": (OK + b"\r\nhello", b"hello", False, True),
    "the connection ends": (OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", b"hello", True, False),
    "of several options one is to close": (
        OK + b"connection: x, Close\r\ncontent-length: 5\r\n\r\nhello",
        b"hello",
        True,
        False,
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello", True, False),
    "HTTP/1.0 that goes on": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
        b"hello",
        True,
        True,
    ),
    "hints before": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + OK + b"content-length: 2\r\n\r\nok",
        b"ok",
        True,
        True,
    ),
    "lines without returns": (b"HTTP/1.1 200\nContent-Length: 2\n\nok", b"ok", True, True),
}


@pytest.mark.parametrize("step", [1, 2, 7, 100_000])
@pytest.mark.parametrize(("raw", "body", "ended", "keeps"), READABLE.values(), ids=READABLE)
def test_response_is_the_same_however_it_is_cut(
    raw: bytes, body: bytes, *, ended: bool, keeps: bool, step: int
) -> None:
    """Body, end and whether the connection goes on do not depend on what arrives together."""
    parser = ResponseParser()
    pieces = [piece for at in range(0, len(raw), step) for piece in parser.feed(raw[at : at + step])]
    assert (b"".join(pieces), parser.ended, parser.keeps) == (body, ended, keeps)
    assert parser.end()  # all of them are whole if the connection ends here


UNREADABLE = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n",
    "a status that is none": b"HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "no header": OK + b"what is this\r\n\r\n",
    "a header without a name": OK + b": x\r\n\r\n",
    "a length that is no number": OK + b"content-length: 5x\r\n\r\n",
    "a length below nothing": OK + b"content-length: -5\r\n\r\n",
    "two lengths": OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
    "an unknown coding": OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
    "a size that is none": CHUNKED + b"x\r\n",
    "a size with a sign": CHUNKED + b"+5\r\nhello\r\n",
    "a size without end": CHUNKED + b"5" * (HEAD_MAX + 1),
    "a head without end": OK + b"x: y\r\n" * HEAD_MAX,
    "a protocol to switch to": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
}


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_response_is_told(raw: bytes) -> None:
    """Nothing is guessed about where a body ends: the next answer would begin in the middle of this one."""
    with pytest.raises(
        UnreadableResponseError,
        match=r"does not begin an HTTP response|is no |a body |a line or a head of more than|another protocol",
    ):
        ResponseParser().feed(raw)


CUT = {
    "nothing": b"",
    "half a head": OK + b"content-le",
    "half a body": OK + b"content-length: 5\r\n\r\nhel",
    "half a chunk": CHUNKED + b"5\r\nhel",
    "no last chunk": CHUNKED + b"5\r\nhello\r\n",
    "no end of the trailers": CHUNKED + b"5\r\nhello\r\n0\r\nx: y\r\n",
}


@pytest.mark.parametrize("raw", CUT.values(), ids=CUT)
def test_response_that_is_cut_is_not_whole(raw: bytes) -> None:
    """A connection that ends before the response does is no end of it."""
    parser = ResponseParser()
    parser.feed(raw)
    assert not parser.end()


def test_connection_with_more_than_was_asked_for_is_not_used_again() -> None:
    """What comes behind a response would be taken for the next one."""
    parser = ResponseParser()
    assert parser.feed(OK + b"content-length: 2\r\n\r\nokHTTP/1.1 200") == [b"ok"]
    assert (parser.ended, parser.keeps) == (True, False)
