"""The way of an event over HTTP: what is read of an answer, and no more."""

from collections.abc import AsyncIterator

import pytest

from organism.billing import webhook

pytestmark = pytest.mark.anyio


class Talking:
    """A response whose body goes on and on."""

    pieces = 0

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        while self.pieces < 1_000:
            self.pieces += 1
            yield b"x" * 4_096


async def test_system_that_never_stops_talking_is_left() -> None:
    """Of an answer the beginning is read, which says whether the event was taken; the rest costs nothing."""
    response = Talking()

    body = await webhook._beginning(response)

    assert len(body) == 65_536
    assert response.pieces == 16
