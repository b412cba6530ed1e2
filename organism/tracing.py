"""Which trace a piece of work belongs to, and what the present task works on.

A trace context is the text of a W3C ``traceparent`` header (https://www.w3.org/TR/trace-context/, version 00):
``00-<trace id>-<span id>-<flags>``. Threads and envelopes carry it as they are stored, so a thread that goes on after
a crash keeps its trace. Nothing here needs a tracing library; without one, a context from outside is handed on.
"""

import re
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

import msgspec

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LENGTH_MAX = 512


class TraceContext(msgspec.Struct, frozen=True):
    """One span's place in its trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        sampled: Whether the trace is recorded.
    """

    trace_id: str
    span_id: str
    sampled: bool = True

    def __str__(self) -> str:
        """Write it as a ``traceparent``."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_trace(traceparent: str | None) -> TraceContext | None:
    """Read a ``traceparent``; ``None`` when it is missing or not one, which is nobody's error."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent and len(traceparent) <= _LENGTH_MAX else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    # The standard: version ff is invalid, version 00 has no fifth part, and an id of zeros is none.
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the trace id inside a context that this package has made or checked."""
    return None if traceparent is None else traceparent[3:35]


class Work(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a task works on: the ids that its log lines and its HTTP requests carry.

    Attributes:
        thread_id: The conversation.
        agent: Who handles a message of it.
        message_id: The message.
        call_id: The model call being made; empty outside of one.
        trace: The trace context of the innermost span.
    """

    thread_id: str
    agent: str
    message_id: str
    call_id: str = ""
    trace: str | None = None


_WORK: ContextVar[Work | None] = ContextVar("organism_work", default=None)


class working:  # noqa: N801 - reads as a statement: `with working(on): ...`
    """Says for the length of a ``with`` block, and for tasks begun in it, what is worked on; ``None`` is nothing."""

    __slots__ = ("_token", "work")

    def __init__(self, work: Work | None) -> None:
        self.work = work
        self._token: Token[Work | None] | None = None

    def __enter__(self) -> Self:
        self._token = _WORK.set(self.work)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _WORK.reset(self._token)


work_on: Callable[[Work], object] = _WORK.set
"""Says for as long as the present context lasts what is worked on in it."""


def current_work() -> Work | None:
    """Return what the present task works on."""
    return _WORK.get()


def current_trace() -> str | None:
    """Return the trace context of the present task, ready to be sent as a ``traceparent`` header."""
    work = _WORK.get()
    return None if work is None else work.trace
