"""HTTP/1.1 within bounds: so many connections at a time, and patience that ends, with those who send and who read."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from organism.api.auth_middleware import CALLER, HEAD_MAX
from organism.api.problems import MEDIA_TYPE, Problem
from organism.api.routes.system import OPEN_PATHS

CONNECTIONS_MAX = 128
BESIDE_MAX = 8
"""So many connections more are heard where all are taken: who asks whether the daemon is well is answered."""

HEAD_S = 10.0
UNREAD_S = 60.0
"""So long a client may leave what it is sent where it is; one that reads, however slowly, takes some of it in time."""

_WAITING_MAX = 32
"""So many requests of one connection may wait for the answer before theirs; they are in memory, unlike unread bytes."""

_CLOSING = b"connection: close\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"


class PatientProtocol(HttpToolsProtocol):
    """One connection.

    uvicorn bounds how long a connection may idle between requests, but not how slowly a request may come nor how long
    its head may grow, it lets idle connections keep others out, and it waits without limit for a client to read. So: a
    request whose line and headers are not there in time, or too long, ends its connection; so does an answer that
    nobody takes; and where all connections are taken, one makes room: only requests under way whose caller is known can
    keep others out. A stranger's request ends soon by itself (the gate waits for no body of theirs), but its answer may
    be left unread, and there may be many. Where none can make room, what asks whether the daemon is well is answered
    still: what watches it would otherwise end a daemon that has nothing but much to do.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    idle_since = 0.0
    known = False
    """Whether a request of this connection was let in by a token."""

    beside = False
    """Whether it came when all places were taken by others, and has none until one of them has ended."""

    _outside = 0
    """Bytes that have come since the last head, piece of a body or end of one: of a line that goes on and on."""

    def connection_made(self, transport: Any) -> None:
        """Take a place, and begin to wait for a request."""
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._await_head()
        if len(self.connections) > CONNECTIONS_MAX:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and stop waiting once they are a request."""
        if self.transport.is_closing():
            return
        was_idle, self._outside = self.idle, self._outside + len(data)
        super().data_received(data)
        if self._outside > HEAD_MAX:
            self.send_400_response(f"more than {HEAD_MAX} bytes of headers")
        if not self.idle:
            self._stop_waiting()
        elif was_idle and self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Hand the request on.

        Raises:
            ValueError: Too many wait for their turn, or all places are taken; the parser makes it an error of its own.
        """
        self._outside = 0
        if len(self.pipeline) >= _WAITING_MAX:
            raise ValueError("too many requests at a time")
        if self.beside and not self._may_be_heard():
            self._refuse_as_busy(f"{CONNECTIONS_MAX} requests are under way")
            raise ValueError("all places are taken")
        super().on_headers_complete()
        if self.beside:
            self.cycle.keep_alive = False
        # What follows a body (trailers) comes when the request has long been handed on, and is none of its headers.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._outside = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._outside = 0
        super().on_message_complete()

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
        """Wait for the client to read, with a limit: a request holds memory and a connection meanwhile."""
        super().pause_writing()
        self._unread_timer = self._unread_timer or self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or a head that grows too large, in the shape of every refusal."""
        if self.transport.is_closing():
            return  # it is refused for another reason
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
        """End a stranger's connection, or else the one that is idle for longest; if none can end, have no place."""
        others = [other for other in self.connections if isinstance(other, PatientProtocol) and other is not self]
        beside = [other for other in others if other.beside]
        if len(others) - len(beside) < CONNECTIONS_MAX:
            return
        ends = _first_to_end(other for other in others if not other.beside)
        if ends is None:
            self.beside = True
            ends = _first_to_end(beside) if len(beside) >= BESIDE_MAX else None
        if ends is not None:
            ends.give_way()
            self.connections.discard(ends)

    def _may_be_heard(self) -> bool:
        """Whether a place has become free meanwhile, or the request needs none: then its answer ends the connection."""
        placed = sum(isinstance(other, PatientProtocol) and not other.beside for other in self.connections)
        self.beside = placed >= CONNECTIONS_MAX
        return not self.beside or self.url.partition(b"?")[0].decode("latin-1") in OPEN_PATHS

    def give_way(self) -> None:
        """End for another connection; one whose request is under way, or may be on its way, gets the reason."""
        may_wait = self.cycle is None or not self.cycle.response_complete
        if may_wait and not self.transport.get_write_buffer_size():
            self._refuse_as_busy(f"more than {CONNECTIONS_MAX} connections were opened")
        else:
            self.transport.abort()  # not closed: that would wait for a client to read what it is sent

    def _refuse_as_busy(self, why: str) -> None:
        detail = f"{why}, and no more are taken at a time; try again in a moment"
        self._refuse(Problem(status=503, code="too_many_connections", title="busy", detail=detail))

    def _refuse(self, problem: Problem) -> None:
        """Answer outside of any request, and end the connection."""
        if not self.idle:
            if self.cycle.response_started:
                self.transport.close()  # in the middle of another answer there is no room for this
                return
            self.cycle.disconnected = True  # what is under way has been answered by this
            self.cycle.message_event.set()
        body = msgspec.json.encode(problem)
        kind = b"content-type: %b\r\ncontent-length: %d\r\n\r\n" % (MEDIA_TYPE.encode(), len(body))
        self.transport.write(STATUS_LINE[problem.status] + _CLOSING + kind + body)
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


def _first_to_end(connections: Iterable[PatientProtocol]) -> PatientProtocol | None:
    """Return the one that makes room for another; ``None`` if each has a request of somebody known under way."""
    ones = (one for one in connections if one.can_be_cut)
    return min(ones, key=lambda one: (one.known, one.idle_since), default=None)
