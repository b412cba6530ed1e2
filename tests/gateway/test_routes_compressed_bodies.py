"""Requests whose bodies come compressed: read within the bounds that hold for all, or refused with what to send."""

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import pytest

from organism.gateway.routes import BOUNDS

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
BODY = msgspec.json.encode({"model": "main", "messages": [{"role": "user", "content": "hi"}]})


def bare(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


async def post(gateway: Any, body: bytes, encoding: str) -> Any:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    return await gateway.http.post("/v1/chat/completions", content=body, headers=headers)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress), ("x-gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress),
        ("deflate", bare), ("identity", bytes), ("", bytes),
        ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
        ("", lambda body: BOM_UTF8 + body), ("gzip", lambda body: gzip.compress(BOM_UTF8 + body)),
    ],
)  # fmt: skip
async def test_compressed_bodies_are_read(served: Serve, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """A client may pack what it sends in the ways that every HTTP library knows; a byte order mark does no harm."""
    async with served() as gateway:
        answer = await post(gateway, pack(BODY), encoding)

        assert answer.status_code == 200, answer.text
        assert gateway.provider.requests[0].body["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415), ("gzip, gzip", gzip.compress(gzip.compress(BODY)), 415), ("gzip", b"no gzip", 415),
        ("gzip", gzip.compress(BODY)[:-9], 415), ("deflate", b"\x00no deflate", 415),
        ("gzip", gzip.compress(b" " * (BOUNDS.body + 1)), 413), ("deflate", bare(b" " * (BOUNDS.body + 1)), 413),
        ("gzip", gzip.compress(b"[" * 1_000 + b"]" * 1_000), 400),
    ],
    ids=["unknown", "twice", "none", "cut", "none either", "bomb", "bare bomb", "deep"],
)  # fmt: skip
async def test_what_cannot_be_read_within_the_bounds_is_refused(
    served: Serve, encoding: str, body: bytes, status: int
) -> None:
    """A few bytes that unpack to very many cost the daemon no more than the bound; the answer says what is read."""
    async with served() as gateway:
        answer = await post(gateway, body, encoding)

        assert answer.status_code == status
        assert answer.json()["error"]["message"]
        assert gateway.provider.requests == []
