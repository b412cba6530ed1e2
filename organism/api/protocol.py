"""HTTP/1.1 within bounds: so many connections at a time, and patience that ends, with those who send and who read."""

import asyncio
from typing import Any

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from organism.api.auth_middleware import CALLER
from organism.api.problems import MEDIA_TYPE, Problem

CONNECTIONS_MAX = 128
HEAD_S = 10.0
UNREAD_S = 60.0
"""So long a client may leave what it is sent where it is; one that reads, however slowly, takes some of it in time."""

_CLOSING = [("connection", "close"), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")]


class PatientProtocol(H11Protocol):
    """One connection.

    uvicorn bounds how long a connection may idle between requests, but not how slowly a request may come, and it lets
    idle connections keep others out, and it waits for ever for a client to read. So: a request whose line and headers
    are not there in time ends its connection; so does an answer that nobody takes; and where all connections are taken,
    one makes room: only requests under way whose caller is known can keep others out. A stranger's request ends soon by
    itself (the gate waits for no body of theirs), but its answer may be left unread, and there may be many.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    idle_since = 0.0
    known = False
    """Whether a request of this connection was let in by a token."""

    def connection_made(self, transport: Any) -> None:
        """Take a place, and begin to wait for a request."""
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._await_head()
        if len(self.connections) > CONNECTIONS_MAX:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and stop waiting once they are a request."""
        was_idle = self.idle
        super().data_received(data)
        if not self.idle:
            self._stop_waiting()
        elif was_idle and self._head_timer is None:
            self._await_head()

    def on_response_complete(self) -> None:
        """Be idle from here on."""
        self.idle_since = self.loop.time()
        self.known = self.known or self._has_caller
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever: its request would keep its memory and its connection."""
        super().pause_writing()
        self._unread_timer = self._unread_timer or self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or a head that grows too large, in the shape of every refusal."""
        self._refuse(Problem(status=400, code="not_http", title="no HTTP request", detail=msg))

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def can_be_cut(self) -> bool:
        """Whether its end would take nothing from anybody who has a token."""
        return self.idle or not self._has_caller

    @property
    def _has_caller(self) -> bool:
        return self.cycle is not None and CALLER in self.cycle.scope

    def _make_room(self) -> None:
        """End a stranger's connection, or else the one that is idle for longest; refuse this one if none can end."""
        others = (other for other in self.connections if isinstance(other, PatientProtocol) and other is not self)
        ends = min(
            (other for other in others if other.can_be_cut),
            key=lambda other: (other.known, other.idle_since),
            default=None,
        )
        if ends is not None:
            ends.transport.abort()  # not closed: that would wait for a client to read what it is sent
            self.connections.discard(ends)
            return
        detail = f"{CONNECTIONS_MAX} requests are under way, and no more are taken at a time; try again in a moment"
        self._refuse(Problem(status=503, code="too_many_connections", title="busy", detail=detail))

    def _refuse(self, problem: Problem) -> None:
        """Answer outside of any request, and end the connection."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # in the middle of another answer, or after the last one, there is no room for this
            return
        body = msgspec.json.encode(problem)
        headers = [*_CLOSING, ("content-type", MEDIA_TYPE), ("content-length", str(len(body)))]
        for event in (
            h11.Response(status_code=problem.status, headers=headers, reason=b""),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_waiting_for_reader(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self.idle:
            self.transport.close()
