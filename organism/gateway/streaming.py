"""Sends an answer as a stream, with signs of life while nothing comes."""

import asyncio
from collections.abc import Callable

import anyio

from organism.api.auth_middleware import ASGISend
from organism.concurrency.loop_time import loop_time
from organism.concurrency.wakeups import Wakeup
from organism.formats.errors.faults import Fault
from organism.formats.server_format import EventWriter
from organism.gateway.headers import Headers, encoded
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, DeltaRecord

_UNBUFFERED = ("x-accel-buffering", "no")
"""Keeps a reverse proxy from buffering the stream."""

BEGIN_AFTER_S = 2.0
"""Seconds after which a stream begins although nothing has come: clients give up on a request without a status. A
failure before that gets a status of its own, which more clients understand than an event."""

ALIVE_EVERY_S = 5.0
"""Seconds of silence after which a sign of life is sent; clients and proxies give up on silent streams."""

_BEGUN_ANEW = Fault(
    status=502,
    kind="upstream",
    code="upstream_error",
    message="the provider failed in the middle and the answer was begun anew; both are charged as usual",
    retry=False,
)


class Streamed:
    """Sends one answer as a stream.

    Args:
        writer: Writes the pieces in the client's format.
        media_type: The stream's media type.
        send: The ASGI send function.
        headers: Returns the headers; called when the stream begins.
    """

    def __init__(self, writer: EventWriter, media_type: str, send: ASGISend, headers: Callable[[], Headers]) -> None:
        self._head = encoded([("content-type", media_type), _UNBUFFERED])
        self._writer = writer
        self._send = send
        self._headers = headers
        self._begun = False
        self._record = DeltaRecord()
        self._coming: list[Delta] = []
        self._more = Wakeup()
        self._sending = anyio.Lock(fast_acquire=True)
        self._alive_s = loop_time() + BEGIN_AFTER_S
        """When the next sign of life is due, on the event loop's clock."""

    def add(self, delta: Delta) -> None:
        """Add a piece; an empty text is a sign of life, which begins the stream."""
        self._coming.append(delta)
        self._more.notify()

    async def carry(self) -> None:
        """Send pieces as they come, and signs of life while none do, until cancelled."""
        reminder = _Reminder(self._more, lambda: self._alive_s)
        try:
            while True:
                if not self._coming and loop_time() < self._alive_s:
                    await self._more.wait()
                # Even if something came: a provider's sign of life has no content for the client.
                silent = self._begun and loop_time() >= self._alive_s
                async with self._sending:
                    await self._flush(self._writer.alive() if silent else b"")
        finally:
            reminder.cancel()

    async def end(self, answer: Completion) -> None:
        """Send the rest of the answer and the end of the stream."""
        async with self._sending:
            coming, self._coming = self._coming, []
            data = self._written(coming)
            rest = self._record.rest_of(answer)
            if rest is None:
                data += self._writer.fail(_BEGUN_ANEW)
            else:
                data += self._written(rest) + self._writer.end(answer)
            await self._flush(data, more=False)

    async def fail(self, fault: Fault, *, begin: bool = False) -> bool:
        """End the stream with a fault; ``False`` if nothing was sent, so that the caller can send a status instead.

        Args:
            fault: What went wrong.
            begin: Begin the stream if it has not begun, only to send the fault.
        """
        async with self._sending:
            if self._begun or begin:
                await self._flush(self._writer.fail(fault), more=False)
            return self._begun

    async def _flush(self, data: bytes = b"", *, more: bool = True) -> None:
        """Send the head if it has not been sent, the pieces that wait, and then ``data``."""
        coming, self._coming = self._coming, []
        begin = b""
        if not self._begun:
            await self._send({"type": "http.response.start", "status": 200, "headers": self._head + self._headers()})
            self._begun = True
            begin = self._writer.begin()
        data = begin + self._written(coming) + data
        if data or not more:
            self._alive_s = loop_time() + ALIVE_EVERY_S
            await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def _written(self, deltas: list[Delta]) -> bytes:
        for delta in deltas:
            self._record.add(delta)
        return b"".join(self._writer.delta(delta) for delta in deltas if delta != "")


class _Reminder:
    """Wakes a waiter at a due time that every piece postpones, with one timer for the whole stream."""

    def __init__(self, wakeup: Wakeup, due_s: Callable[[], float]) -> None:
        self._wakeup = wakeup
        self._due_s = due_s
        self._timer = asyncio.get_running_loop().call_at(due_s(), self._look)

    def _look(self) -> None:
        due_s = self._due_s()
        if loop_time() >= due_s:
            self._wakeup.notify()
            due_s = loop_time() + ALIVE_EVERY_S
        self._timer = asyncio.get_running_loop().call_at(due_s, self._look)

    def cancel(self) -> None:
        """Stop the timer."""
        self._timer.cancel()
