"""A provider that answers at once, in a process of its own, so that all the time measured is on our side.

It writes what OpenAI's chat completions write, and streams as a model does: a piece, a pause, a piece.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PAUSE_S = 0.01

_USAGE = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@contextmanager
def stub(chunks: int = 1) -> Iterator[str]:
    """Run it and give its address.

    Args:
        chunks: Pieces of a streamed answer.
    """
    command = [sys.executable, "-m", "bench.stub", str(chunks)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.terminate()


def _whole() -> bytes:
    message = {"role": "assistant", "content": "ok"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "stub"}
    body = json.dumps(answer | {"choices": [choice], "usage": _USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _event(choices: list[object], usage: object = None) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": choices}
    return _chunked(b"data: " + json.dumps(chunk | {"usage": usage}).encode() + b"\n\n")


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _pieces(count: int) -> list[bytes]:
    """Return what a stream is made of, as it is written."""
    texts = [_event([{"index": 0, "delta": {"content": f" word{n}"}, "finish_reason": None}]) for n in range(count)]
    end = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    usage = _USAGE | {"completion_tokens": count, "total_tokens": 5 + count}
    return [*texts, end + _event([], usage) + _chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"]


async def _serve(chunks: int) -> None:
    whole, pieces = _whole(), _pieces(chunks)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
                if not json.loads(await reader.readexactly(length) or b"{}").get("stream"):
                    writer.write(whole)
                    continue
                writer.write(_STREAM_HEAD)
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(PAUSE_S)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
