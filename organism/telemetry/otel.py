"""OpenTelemetry, switched on and configured by its own environment variables; without them nothing of it is imported.

Read here: ``OTEL_SDK_DISABLED``, ``OTEL_TRACES_EXPORTER`` and ``OTEL_METRICS_EXPORTER`` (``otlp``, ``console`` or
``none``), the ``OTEL_EXPORTER_OTLP_*ENDPOINT`` that switch them on, ``OTEL_EXPORTER_OTLP_*PROTOCOL``,
``OTEL_SEMCONV_STABILITY_OPT_IN`` and ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``. All others (headers,
resource, sampler, batches ...) are read by the SDK itself:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import importlib.util
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio
import msgspec
import structlog

from organism.concurrency.foreign_code import failure_of
from organism.concurrency.own_threads import OwnThreads
from organism.errors import ConfigError, MissingExtraError
from organism.telemetry.conventions import Conventions, genai_names
from organism.telemetry.metrics.gauges import ObservedOrganism
from organism.text.error_text import with_type
from organism.usage.events import STORED

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import SpanProcessor

OTelSignal = Literal["traces", "metrics"]
OTelTarget = Literal["otlp", "console", "none"]

_CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CONTENT_WORDS = frozenset({"true", "span_only", "span_and_event"})


class OTelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment asks for.

    Attributes:
        traces: Where traces go.
        metrics: Where metrics go.
        content: Whether spans carry prompts and answers.
    """

    traces: OTelTarget = "none"
    metrics: OTelTarget = "none"
    content: bool = False

    @property
    def on(self) -> bool:
        """Whether anything is asked for."""
        return self.traces != "none" or self.metrics != "none"


def read_settings(environment: Mapping[str, str]) -> OTelSettings:
    """Read the environment.

    Raises:
        ConfigError: If it asks for an exporter or a protocol that is not there.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return OTelSettings()
    return OTelSettings(
        traces=_target(environment, "traces"),
        metrics=_target(environment, "metrics"),
        content=environment.get(_CONTENT_VARIABLE, "").strip().lower() in _CONTENT_WORDS,
    )


def _target(environment: Mapping[str, str], signal: OTelSignal) -> OTelTarget:
    upper = signal.upper()
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT")
    default = "otlp" if any(environment.get(name) for name in endpoints) else "none"
    name = f"OTEL_{upper}_EXPORTER"
    target = environment.get(name, "").strip() or default
    if target not in ("otlp", "console", "none"):
        raise ConfigError(f"{name} is {target!r}; there are: otlp, console, none")
    if target == "otlp":
        _check_protocol(environment, upper)
    return cast("OTelTarget", target)


def _check_protocol(environment: Mapping[str, str], upper: str) -> None:
    general, own = "OTEL_EXPORTER_OTLP_PROTOCOL", f"OTEL_EXPORTER_OTLP_{upper}_PROTOCOL"
    name = own if environment.get(own) else general
    protocol = environment.get(name) or "http/protobuf"
    if protocol != "http/protobuf":
        raise ConfigError(
            f"{name} is {protocol!r}, but only 'http/protobuf' is spoken here; its port is 4318 as a rule"
        )


class OTelExporter:
    """Sends what a running organism does; made by :func:`start_otel`."""

    def __init__(self, organism: ObservedOrganism, settings: OTelSettings, environment: Mapping[str, str]) -> None:
        from opentelemetry.sdk.resources import Resource

        conventions = Conventions(genai_names(environment), organism.provider_kinds)
        # The environment's OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before this default.
        named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        resource = Resource.create({} if named else {"service.name": organism.name})
        self._stops: list[Callable[[], None]] = []
        self._spans: SpanProcessor | None = None
        self._meter_provider: MeterProvider | None = None
        if settings.traces != "none":
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            from organism.telemetry.traces.otel_traces import TraceWriter

            self._spans = BatchSpanProcessor(_span_exporter(settings.traces))
            sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler  # as the environment sets it
            writer = TraceWriter(self._spans, sampler, resource, workflow=organism.name, conventions=conventions)
            organism.activity.trace_with(writer, content=settings.content)
            self._stops += [
                organism.activity.observe(writer.on_activity),
                organism.usage.subscribe(writer.on_event, *STORED),
                writer.flush,
            ]
        if settings.metrics != "none":
            from organism.telemetry.metrics.otel_metrics import MetricWriter, meter_provider

            self._meter_provider = meter_provider(resource, _metric_exporter(settings.metrics))
            meters = MetricWriter(self._meter_provider, organism, conventions)
            self._stops += [
                organism.activity.observe(meters.on_activity),
                organism.usage.subscribe(meters.on_event, *STORED),
            ]

    def close(self) -> None:
        """Send what is left and stop; call it in a worker thread.

        Where nobody answers it takes ``OTEL_EXPORTER_OTLP_TIMEOUT``, ten seconds unless set, for both signals at once.
        """
        for stop in self._stops:
            _tell(stop)
        ends = [end.shutdown for end in (self._spans, self._meter_provider) if end is not None]
        threads = [threading.Thread(target=_tell, args=(end,)) for end in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _tell(step: Callable[[], object]) -> None:
    """Take a step of the end; one that fails keeps no other from being taken, and the organism not from ending."""
    if (failure := failure_of(step)) is not None:
        structlog.get_logger("organism.exporters").warning("otel_not_closed", error=with_type(failure))


def asked_of_otel(environment: Mapping[str, str]) -> OTelSettings | None:
    """Return what the environment asks for, if anything; nothing is made of it yet.

    Raises:
        ConfigError: If it asks for something that is not there.
        MissingExtraError: If OpenTelemetry's packages are not installed.
    """
    settings = read_settings(environment)
    if not settings.on:
        return None
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        raise MissingExtraError("OpenTelemetry", "otel")
    return settings


def start_otel(organism: ObservedOrganism, environment: Mapping[str, str]) -> OTelExporter | None:
    """Send traces and metrics of an organism if the environment asks for it.

    Args:
        organism: Whose; call this before it runs, in the event loop it will run in.

    Raises:
        ConfigError: If it asks for something that is not there.
        MissingExtraError: If OpenTelemetry's packages are not installed.
    """
    settings = asked_of_otel(environment)
    return OTelExporter(organism, settings, environment) if settings is not None else None


@asynccontextmanager
async def otel_exporting(organism: ObservedOrganism, environment: Mapping[str, str]) -> AsyncIterator[None]:
    """Send traces and metrics of an organism that runs within the block; see :func:`start_otel`.

    The end sends what is left, in a worker thread, however the block was left.
    """
    exporter = start_otel(organism, environment)
    try:
        yield
    finally:
        if exporter is not None:
            with anyio.CancelScope(shield=True):
                await OwnThreads().run(exporter.close)


def _span_exporter(target: OTelTarget) -> Any:
    if target == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _metric_exporter(target: OTelTarget) -> Any:
    if target == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

        return ConsoleMetricExporter()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter()
