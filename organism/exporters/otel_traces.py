"""Spans for OpenTelemetry: one per thread, per run of a handler and per model call, written when each has ended.

Every span's place in its trace was fixed before it began and travels in envelopes and threads; here it only gets its
numbers. So a thread that goes on in another process, after a crash too, still ends up as one span of the same trace.
"""

import secrets
from collections import OrderedDict
from typing import Any

import msgspec
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from organism.exporters.instruments import GenAINames
from organism.exporters.span_attributes import (
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


class _GivenIds(IdGenerator):
    """Hands the SDK the ids that a span was given when its work began."""

    def __init__(self) -> None:
        self.place = TraceContext("0" * 32, "0" * 16)

    def generate_span_id(self) -> int:
        return int(self.place.span_id, 16)

    def generate_trace_id(self) -> int:
        return int(self.place.trace_id, 16)


def tracer_provider(resource: Resource, exporter: SpanExporter) -> TracerProvider:
    """Make a provider whose spans can be given their ids; its sampler and batches are set by the environment."""
    provider = TracerProvider(resource=resource, id_generator=_GivenIds())
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class _PendingCall(msgspec.Struct):
    """A call that is not yet known whole: how it ended, and the usage of its attempts so far."""

    attempts: list[UsageEvent] = msgspec.field(default_factory=list)
    ended: CallEnded | None = None

    @property
    def whole(self) -> bool:
        return self.ended is not None and len(self.attempts) >= self.ended.attempts


class TraceWriter:
    """Gives spans their places as a :class:`~organism.usage.activity.Tracer`, and writes them.

    Args:
        provider: Made by :func:`tracer_provider`.
        workflow: What the organism is called.
        names: Which GenAI names to use.
    """

    def __init__(self, provider: TracerProvider, *, workflow: str, names: GenAINames) -> None:
        self._tracer = provider.get_tracer("organism")
        self._sampler = provider.sampler
        ids = provider.id_generator
        if not isinstance(ids, _GivenIds):
            raise TypeError("the provider must come from tracer_provider()")
        self._ids = ids
        self._workflow = workflow
        self._names: GenAINames = names
        self._calls: OrderedDict[str, _PendingCall] = OrderedDict()

    # -- the Tracer port ------------------------------------------------------------------------------------------

    def begin(self, parent: str | None) -> str:
        """Return the context of a thread's span; the sampler decides here, once for all spans below."""
        outer = parse_trace(parent)
        trace_id = outer.trace_id if outer is not None else secrets.token_hex(16)
        decision = self._sampler.should_sample(_context(outer), int(trace_id, 16), self._thread_name).decision
        return str(TraceContext(trace_id, _span_id(), decision is Decision.RECORD_AND_SAMPLE))

    def child(self, parent: str) -> str:
        """Return the context of a span below another: the same trace and flags."""
        return f"{parent[:36]}{_span_id()}{parent[52:]}"

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
            case UsageEvent(call_id=call_id):
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
        span = self._start(event.trace, event.parent_trace, self._thread_name, event.opened_ns)
        if span is not None:
            span.set_attributes(thread_attributes(event, self._workflow, self._names))
            if event.outcome == "failed":
                span.set_status(Status(StatusCode.ERROR))
            span.end(event.time_ns)

    def _write_run(self, run: HandlerRan) -> None:
        cause = parse_trace(run.cause_trace)
        links = [Link(_span_context(cause))] if cause is not None else []
        span = self._start(run.trace, run.parent_trace, f"invoke_agent {run.agent}", run.started_ns, links=links)
        if span is not None:
            span.set_attributes(handler_attributes(run))
            if run.outcome == "failed":
                span.set_status(Status(StatusCode.ERROR))
            span.end(run.started_ns + run.duration_ns)

    def _write_call(self, call: _PendingCall) -> None:
        ended = call.ended
        if ended is None:
            return
        last = call.attempts[-1] if call.attempts else None
        name = f"chat {last.request_model if last is not None else ended.model}"
        span = self._start(ended.trace, ended.parent_trace, name, ended.started_ns, kind=SpanKind.CLIENT)
        if span is None:
            return
        span.set_attributes(call_attributes(ended, call.attempts, self._names))
        if ended.content is not None:
            span.set_attributes(content_attributes(ended.content, ended.finish_reason))
        for attempt in call.attempts:
            span.add_event("organism.llm.attempt", attempt_attributes(attempt), timestamp=attempt.time_ns)
        if ended.error is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end(max([ended.started_ns + ended.duration_ns, *(attempt.time_ns for attempt in call.attempts)]))

    def _start(
        self,
        place: str | None,
        parent: str | None,
        name: str,
        start_ns: int,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: list[Link] | None = None,
    ) -> Any:
        own = parse_trace(place)
        if own is None or not own.sampled:
            return None
        self._ids.place = own
        return self._tracer.start_span(
            name, _context(parse_trace(parent)), kind=kind, links=links or [], start_time=start_ns
        )


def _span_id() -> str:
    return secrets.token_hex(8)


def _span_context(place: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if place.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(place.trace_id, 16), int(place.span_id, 16), is_remote=True, trace_flags=flags)


def _context(parent: TraceContext | None) -> Context:
    if parent is None:
        return Context()
    return otel.set_span_in_context(NonRecordingSpan(_span_context(parent)), Context())
