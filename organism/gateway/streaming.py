"""An answer on its way out in pieces. Nothing is sent before there is some of it, so that a refusal is a status."""

from collections.abc import Callable
from functools import partial

import anyio

from organism.api.gate import Send
from organism.formats.faults import Fault
from organism.formats.server_format import EventWriter
from organism.gateway.headers import Headers, encoded
from organism.llm.answers import Completion

_HEAD = encoded([("content-type", "text/event-stream; charset=utf-8"), ("x-accel-buffering", "no")])
"""The second keeps a reverse proxy from collecting pieces until there are many."""

_BEGUN_ANEW = Fault(
    status=502,
    kind="upstream",
    code="upstream_error",
    message="the provider failed in the middle and the answer was begun anew; both are charged as usual",
    retry=False,
)


class Streamed:
    """Sends an answer as server-sent events.

    Args:
        writer: Writes the events.
        send: Sends them.
        headers: What is said beside the answer; asked when it begins.
    """

    def __init__(self, writer: EventWriter, send: Send, headers: Callable[[], Headers]) -> None:
        self._writer = writer
        self._send = send
        self._headers = headers
        self._begun = False
        self._said = ""
        self._pieces: list[str] = []
        self._more = anyio.Event()
        self._sending = anyio.Lock()

    def add(self, piece: str) -> None:
        """Take a piece; an empty one is a sign of life, which begins the answer."""
        self._pieces.append(piece)
        self._more.set()

    async def carry(self) -> None:
        """Send pieces as they come, until cancelled."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            async with self._sending:
                await self._flush()

    async def end(self, answer: Completion) -> None:
        """Send the rest of an answer and its end."""
        async with self._sending:
            said = self._said + "".join(self._pieces)
            if not answer.text.startswith(said):
                await self._flush(partial(self._writer.fail, _BEGUN_ANEW))
                return
            self._pieces.append(answer.text[len(said) :])
            await self._flush(partial(self._writer.end, answer))

    async def fail(self, fault: Fault) -> bool:
        """End an answer that broke off; ``False`` if nothing of it was sent, so that it can be an answer of its own."""
        async with self._sending:
            if self._begun:
                await self._flush(partial(self._writer.fail, fault))
            return self._begun

    async def _flush(self, last: Callable[[], bytes] | None = None) -> None:
        """Send what has come, and after the last of it the end; events are written in the order they are sent in."""
        pieces, self._pieces = self._pieces, []
        self._said += "".join(pieces)
        data = b""
        if not self._begun:
            self._begun = True
            data = self._writer.begin()
            await self._send({"type": "http.response.start", "status": 200, "headers": _HEAD + self._headers()})
        data += b"".join(self._writer.text(piece) for piece in pieces if piece)
        if last is not None:
            data += last()
        if data or last is not None:
            await self._send({"type": "http.response.body", "body": data, "more_body": last is None})
