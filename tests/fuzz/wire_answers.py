"""HTTP responses and errors of providers, broken as heads, lengths, words and bytes, and what must hold of them."""

# ruff: noqa: E501 - a row of a table on a line

import json
import math
import random
from collections.abc import Iterator

from organism.errors import RejectedError, UncertainError
from organism.formats.answers.event_stream import EventStreamParser, EventTooLargeError, ServerSentEvent
from organism.formats.errors.refusals import refused_or_uncertain
from organism.formats.errors.retry_after import RETRY_AFTER_MAX_S
from organism.formats.media.image_size import size_of_image
from organism.providers.http_response import ResponseParser, UnreadableResponseError
from tests.formats.dialects.refusals import OF_RESPONSES, REFUSALS
from tests.fuzz.junk import broken, damaged, written

STATUSES = (
    0,
    100,
    200,
    204,
    301,
    304,
    400,
    401,
    402,
    403,
    404,
    408,
    409,
    413,
    422,
    429,
    451,
    499,
    500,
    502,
    503,
    504,
    529,
    999,
)
LENGTHS = ("5", "0", "-1", "+5", "5,5", "5, 6", "0x5", "99999999999999999999", "5.0", "", "\xb2", " 5 ")
CODINGS = ("chunked", "Chunked", "gzip, chunked", "identity", "chunked, chunked", "xchunked", "")
WAITS = (
    "1", "0", "-1", "1e9", "NaN", "inf", "1.5", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 99 Oct 99999999999 07:28:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359", "2026-11-24T00:00:00Z", "9999-12-31T23:59:59-23:59",
    "6m0s", "1h", "100ms", "\x00", "٣", "Wed, 21 Oct 2026", "1,2", " 7 ", "0001-01-01T00:00:00+23:59", "",
)  # fmt: skip
NAMES = (
    "retry-after", "retry-after-ms", "date", "x-ratelimit-reset", "x-ratelimit-remaining", "ratelimit-reset",
    "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset", "x-request-id", "request-id",
)  # fmt: skip
PAGES = (
    b"<html><head><title>502</title></head>", b"upstream connect error", b"\x1f\x8b\x08", b"\xff\xfe<", b"", b"null",
    b"error: rate limit", b'data: {"error": "x"}', b"<" * 5000, b"<title>" * 2000, b"&#x110000;" * 500, b"[" * 70_000,
)  # fmt: skip


def some_response(chance: random.Random) -> bytes:
    """Return an HTTP response."""
    body = bytes(chance.choice(b"abc{}\r\n\x00\xff:0123456789 ") for _ in range(chance.randrange(60)))
    lines = [
        chance.choice(
            ("HTTP/1.1 200 OK", "HTTP/1.0 200", "HTTP/1.1 429 Too many", "HTTP/2 200", "ICY 200 OK", "HTTP/1.1 20")
        )
    ]
    if chance.randrange(2):
        length = str(len(body)) if chance.randrange(2) else chance.choice(LENGTHS)
        lines.append(f"Content-Length: {length}")
    if chance.randrange(2):
        lines.append(f"Transfer-Encoding: {chance.choice(CODINGS)}")
        sizes = [f"{len(body):x}", f"{len(body):X};ext=1", "0", "-1", "zz", "fffffffffffffff", "10000000000000000", ""]
        body = (
            chance.choice(sizes).encode()
            + b"\r\n"
            + body
            + b"\r\n0\r\n"
            + chance.choice((b"", b"Trailer: x\r\n"))
            + b"\r\n"
        )
    lines += chance.sample(
        ("X: y", " folded", "Connection: close", "no colon", ": empty", "A: \xff", "Connection: keep-alive"), 2
    )
    end = chance.choice(("\r\n", "\r\n", "\n"))
    early = chance.choice(
        ("", "", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", "HTTP/1.1 101 Other\r\n\r\n")
    )
    raw = early.encode() + end.join([*lines, "", ""]).encode("latin-1") + body
    return damaged(raw, chance) if chance.randrange(3) == 0 else raw


def response_faults(raw: bytes, chance: random.Random) -> Iterator[str]:
    """Say what is wrong with how a response is read: by the split, or in any other way than the house's errors."""
    size = chance.choice((1, 2, 5, 30))
    told = [_parsed([raw]), _parsed([raw[at : at + size] for at in range(0, len(raw), size)])]
    if told[0] != told[1]:
        yield f"whole: {told[0]}, in pieces: {told[1]}"


def _parsed(pieces: list[bytes]) -> object:
    parser, body = ResponseParser(), b""
    try:
        for piece in pieces:
            body += b"".join(parser.feed(piece))
        ended = parser.end()
    except UnreadableResponseError:
        return "unreadable"
    return parser.status, dict(parser.headers), body, ended


def event_faults(raw: bytes, chance: random.Random) -> Iterator[str]:
    """Say what is wrong with how an event stream is read: it is the same however it is split."""
    size = chance.choice((1, 2, 5, 30))
    whole, pieces = _events([raw]), _events([raw[at : at + size] for at in range(0, len(raw), size)])
    if whole != pieces:
        yield f"whole: {whole}, in pieces: {pieces}"


def _events(pieces: list[bytes]) -> list[ServerSentEvent] | str:
    parser = EventStreamParser(2000)
    found: list[ServerSentEvent] = []
    try:
        for piece in pieces:
            found += parser.feed(piece)
    except EventTooLargeError:
        return "too large"
    last = parser.end()
    return found if last is None else [*found, last]


def some_error(chance: random.Random) -> tuple[int, bytes, dict[str, str]]:
    """Return an answer that is an error: status, body and headers."""
    error = chance.choice((*REFUSALS, *OF_RESPONSES))
    for _ in range(chance.choice((0, 1, 2))):
        error = broken(error, chance)
    body = written(error, chance).encode("utf-8", "surrogatepass") if chance.randrange(4) else chance.choice(PAGES)
    headers = {name: chance.choice(WAITS) for name in chance.sample(NAMES, chance.randrange(4))}
    return chance.choice(STATUSES), damaged(body, chance) if chance.randrange(4) == 0 else body, headers


def error_faults(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    """Say what is wrong with how an error is read: its words are short text, its wait is short, its meaning known."""
    error = refused_or_uncertain("p", status, body, headers)
    json.dumps(str(error), ensure_ascii=False).encode()
    if len(str(error)) > 2000:
        yield f"says {len(str(error))} characters"
    if not isinstance(error, RejectedError | UncertainError):
        yield f"is {error!r}"
    wait_s = getattr(error, "retry_after_s", None)
    if wait_s is not None and not (math.isfinite(wait_s) and 0 <= wait_s <= RETRY_AFTER_MAX_S):
        yield f"waits {wait_s} s"
    if isinstance(error, RejectedError) and status in {408, 499, 502, 504, 520, 524} and not error.detail:
        yield f"free by a status behind which work may have been done: {status}"


def image_faults(chance: random.Random) -> Iterator[str]:
    """Say what is wrong with how large a picture is taken for."""
    head = chance.choice((b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03", b"GIF89a\1\0\2\0", b"\xff\xd8\xff\xe0\0\4\0\0\xff\xc0\0\x11\x08\0\1\0\2",
        b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0\1\0\0\2\0\0", b"RIFF\0\0\0\0WEBPVP8L\5\0\0\0\x2f\0\0\0\0", b"\xff\xd8" + b"\xff" * 500))  # fmt: skip
    size = size_of_image(damaged(head, chance))
    if size is not None and (min(size) < 1 or max(size) > 2**32):
        yield f"{size}"
