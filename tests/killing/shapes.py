"""Answers and refusals as servers on the wire write them, for a provider that keeps its bill all the same."""

import random
from collections.abc import Callable

from organism.testing import HTTPStep
from organism.testing.http_formats import Said
from tests.formats.dialects import chat
from tests.formats.dialects.truth import Truth
from tests.formats.dialects.wire import sent

REFUSALS = (
    HTTPStep(body='{"error": {"code": 429, "message": "Rate limit reached"}}', billed=False),
    HTTPStep(body='{"id": null, "choices": null}', billed=False),
    HTTPStep(body='data: {"error": {"code": 503, "message": "no healthy upstream"}}\n\n', billed=False),
    HTTPStep(body='event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n', billed=False),
    HTTPStep(status=503, body="<html><title>503 Service Temporarily Unavailable</title></html>"),
    HTTPStep(status=500, body='[{"error": {"code": 500, "status": "UNAVAILABLE", "message": "overloaded"}}]'),
    HTTPStep(status=529, body='{"message": "Overloaded"}', compress="gzip"),
    HTTPStep(status=429, body='{"detail": "Too many requests"}'),
    HTTPStep(status=503, body="", headers={"retry-after": "0"}),
)
"""Nothing was worked on, in whatever words."""


def doubtful(text: str) -> tuple[HTTPStep, ...]:
    """Return what goes wrong after the work was done, and is billed."""
    chunk = 'data: {"choices": [{"index": 0, "delta": {"content": "word"}}]}\n\n'
    return (
        HTTPStep(text=text, status=504, body="<html><title>504 Gateway Time-out</title></html>"),
        HTTPStep(text=text, body=chunk + 'data: {"error": {"message": "Internal error"}}\n\n'),
        HTTPStep(text=text, body=chunk),
        HTTPStep(text=text, body='{"choices": [{"index": 0, "mess'),
    )


def shaped(seed: int) -> Callable[[Said], tuple[bytes, dict[str, str]]]:
    """Return a way to write an answer whole, with some of the oddities that servers have."""

    def write(said: Said) -> tuple[bytes, dict[str, str]]:
        chance = random.Random(seed)
        truth = Truth(thoughts="", text=said.text, is_refusal=False, calls=(), ended="stop", bill=said.usage)
        body = sent(chat.drafted(truth, chance, streamed=chance.random() < 0.5, known=False))
        return b"".join(body.chunks), body.headers

    return write
