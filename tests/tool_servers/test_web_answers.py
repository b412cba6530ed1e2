"""What a server on the web streams is read in bounded memory, however long it goes on."""

import tracemalloc
from collections.abc import AsyncIterator, Iterable

import msgspec
import pytest

from organism.tool_servers.web_answers import readable_events

pytestmark = pytest.mark.anyio

MEGABYTE = 1_048_576
ANSWER = b'data: {"jsonrpc": "2.0", "id": 7, "result": {"said": "yes"}}\n\n'


def of_another(number: int) -> bytes:
    return b'data: {"jsonrpc": "2.0", "id": %d, "result": {"said": "%b"}}\n\n' % (number, b"x" * MEGABYTE)


@pytest.mark.parametrize(
    "before",
    [(b"\n" * MEGABYTE for _ in range(60)), (of_another(number) for number in range(100, 160))],
    ids=["blank lines", "answers to requests of others"],
)
async def test_what_is_no_answer_takes_no_memory(before: Iterable[bytes]) -> None:
    """A server that writes on and on has its call wait, and the process does not grow by it."""

    async def stream() -> AsyncIterator[bytes]:
        for piece in before:
            yield piece
        yield ANSWER

    tracemalloc.start()
    try:
        (event,) = [piece async for piece in readable_events(stream(), 7)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert msgspec.json.decode(event.removeprefix(b"data: "))["result"] == {"said": "yes"}
    assert peak < 30 * MEGABYTE
