"""Spans for OpenTelemetry: one per thread, per run of a handler and per model call, written when each has ended.

Every span's place in its trace was fixed before it began and travels in envelopes and threads; here it only gets its
numbers. So a thread that goes on in another process, after a crash too, still ends up as one span of the same trace.
"""

import random
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from organism.telemetry.conventions import Conventions
from organism.telemetry.traces.span_attributes import (
    Attributes,
    attempt_attributes,
    call_attributes,
    content_attributes,
    handler_attributes,
    thread_attributes,
)
from organism.tracing import TraceContext, parse_trace
from organism.usage.activity import Activity, CallEnded, HandlerRan
from organism.usage.events import AnyEvent, ThreadClosed, UsageEvent

_PENDING_MAX = 10_000
"""Calls whose attempts are not all resolved; the oldest beyond is written as it is."""


class _PendingCall(msgspec.Struct):
    """A call that is not yet known whole: how it ended, and the usage of its attempts so far."""

    attempts: list[UsageEvent] = msgspec.field(default_factory=list)
    ended: CallEnded | None = None

    @property
    def whole(self) -> bool:
        return self.ended is not None and len(self.attempts) >= self.ended.attempts


class _Placed(msgspec.Struct, frozen=True):
    """Where and when a span is: its own and its parent's trace context, its beginning and its end."""

    trace: str | None
    parent: str | None
    start_ns: int
    end_ns: int


class TraceWriter:
    """Gives spans their places as a :class:`~organism.usage.activity.Tracer`, and writes them.

    The SDK's own spans get their ids when they begin and are filled while they last. These are handed to its processor
    as what they are by then: whole, and not to be changed.

    Args:
        sampler: Decides which threads are traced.
        resource: What the spans are of.
        workflow: What the organism is called.
        conventions: How things are named.
    """

    def __init__(
        self, processor: SpanProcessor, sampler: Sampler, resource: Resource, *, workflow: str, conventions: Conventions
    ) -> None:
        self._processor = processor
        self._sampler = sampler
        self._resource = resource
        self._scope = InstrumentationScope("organism")
        self._text_max = SpanLimits().max_span_attribute_length
        self._workflow = workflow
        self._conventions = conventions
        self._calls: OrderedDict[str, _PendingCall] = OrderedDict()
        # Ids need to be unique, not secret, and asking the system for each would cost more than all the rest of a span.
        self._random = random.Random(secrets.randbits(128))  # noqa: S311

    # -- the Tracer port ------------------------------------------------------------------------------------------

    def begin(self, parent: str | None) -> str:
        """Return the context of a thread's span; the sampler decides here, once for all spans below."""
        outer = parse_trace(parent)
        trace_id = outer.trace_id if outer is not None else self._new_id(128)
        decision = self._sampler.should_sample(_context(outer), int(trace_id, 16), self._thread_name).decision
        return str(TraceContext(trace_id, self._new_id(64), decision is Decision.RECORD_AND_SAMPLE))

    def child(self, parent: str) -> str:
        """Return the context of a span below another: the same trace and flags."""
        return f"{parent[:36]}{self._new_id(64)}{parent[52:]}"

    def _new_id(self, bits: int) -> str:
        return f"{self._random.getrandbits(bits) or 1:0{bits // 4}x}"

    # -- listening ------------------------------------------------------------------------------------------------

    def on_activity(self, activity: Activity) -> None:
        """Write the span of a run, or of a call whose attempts are all resolved."""
        match activity:
            case HandlerRan():
                self._write_run(activity)
            case CallEnded(call_id=call_id):
                self._pending(call_id).ended = activity
                self._settle(call_id)

    def on_event(self, event: AnyEvent) -> None:
        """Write the span of a thread, or take the usage of an attempt."""
        match event:
            case ThreadClosed():
                self._write_thread(event)
            case UsageEvent(call_id=call_id) if not event.tool:  # no call ends that its usage belongs to
                self._pending(call_id).attempts.append(event)
                self._settle(call_id)
            case _:
                pass

    def flush(self) -> None:
        """Write calls whose last attempts have not told their usage."""
        while self._calls:
            _, call = self._calls.popitem(last=False)
            self._write_call(call)

    def _pending(self, call_id: str) -> _PendingCall:
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = _PendingCall()
            if len(self._calls) > _PENDING_MAX:
                self._write_call(self._calls.popitem(last=False)[1])
        return call

    def _settle(self, call_id: str) -> None:
        call = self._calls.get(call_id)
        if call is not None and call.whole:
            del self._calls[call_id]
            self._write_call(call)

    # -- writing --------------------------------------------------------------------------------------------------

    @property
    def _thread_name(self) -> str:
        return f"invoke_workflow {self._workflow}"

    def _write_thread(self, event: ThreadClosed) -> None:
        self._write(
            _Placed(event.trace, event.parent_trace, event.opened_ns, event.time_ns),
            self._thread_name,
            lambda: thread_attributes(event, self._workflow, self._conventions),
            failed=event.outcome == "failed",
        )

    def _write_run(self, run: HandlerRan) -> None:
        cause = parse_trace(run.cause_trace)
        self._write(
            _Placed(run.trace, run.parent_trace, run.started_ns, run.started_ns + run.duration_ns),
            f"invoke_agent {run.agent}",
            lambda: handler_attributes(run),
            failed=run.outcome == "failed",
            links=[Link(_span_context(cause))] if cause is not None else (),
        )

    def _write_call(self, call: _PendingCall) -> None:
        ended, attempts = call.ended, call.attempts
        if ended is None:
            return
        end_ns = max([ended.started_ns + ended.duration_ns, *(attempt.time_ns for attempt in attempts)])

        def attributes() -> Attributes:
            found = call_attributes(ended, attempts, self._conventions)
            return found if ended.content is None else found | content_attributes(ended.content, ended.finish_reason)

        self._write(
            _Placed(ended.trace, ended.parent_trace, ended.started_ns, end_ns),
            f"chat {attempts[-1].request_model if attempts else ended.model}",
            attributes,
            failed=ended.error is not None,
            kind=SpanKind.CLIENT,
            events=[
                Event("organism.llm.attempt", attempt_attributes(a, self._conventions), timestamp=a.time_ns)
                for a in attempts
            ],
        )

    def _write(
        self,
        placed: _Placed,
        name: str,
        attributes: Callable[[], Attributes],
        *,
        failed: bool,
        kind: SpanKind = SpanKind.INTERNAL,
        events: Sequence[Event] = (),
        links: Sequence[Link] = (),
    ) -> None:
        own, parent = parse_trace(placed.trace), parse_trace(placed.parent)
        if own is None or not own.sampled:
            return
        self._processor.on_end(
            ReadableSpan(
                name,
                context=_span_context(own),
                parent=_span_context(parent) if parent is not None else None,
                resource=self._resource,
                attributes=self._cut(attributes()),
                events=events,
                links=links,
                kind=kind,
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                start_time=placed.start_ns,
                end_time=placed.end_ns,
                instrumentation_scope=self._scope,
            )
        )

    def _cut(self, attributes: Attributes) -> Attributes:
        """Cut long texts where the environment sets a limit on them."""
        if self._text_max is None:
            return attributes
        return {k: v[: self._text_max] if isinstance(v, str) else v for k, v in attributes.items()}


def _span_context(place: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if place.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(place.trace_id, 16), int(place.span_id, 16), is_remote=True, trace_flags=flags)


def _context(parent: TraceContext | None) -> Context:
    if parent is None:
        return Context()
    return otel.set_span_in_context(NonRecordingSpan(_span_context(parent)), Context())
