"""Metrics for Prometheus: what ``GET /metrics`` answers, in its text format or as OpenMetrics with exemplars."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from organism.telemetry.conventions import Conventions, GenAINames
from organism.telemetry.metrics.cardinality import SERIES_MAX, CardinalityLimit
from organism.telemetry.metrics.gauges import ObservedOrganism, read_gauges
from organism.telemetry.metrics.initial_values import initial_values
from organism.telemetry.metrics.instruments import catalogue
from organism.telemetry.metrics.metric_mapping import Measurement, measure_activity, measure_event
from organism.telemetry.metrics.prometheus_series import CountedMetric
from organism.usage.activity import Activity
from organism.usage.events import STORED, AnyEvent


class PrometheusExporter:
    """Counts what a running organism does, and renders it when asked.

    Args:
        names: Which GenAI names to use.
    """

    def __init__(self, organism: ObservedOrganism, *, names: GenAINames = "old", series_max: int = SERIES_MAX) -> None:
        from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
        from prometheus_client.gc_collector import GCCollector

        self._organism = organism
        self._conventions = Conventions(names, organism.provider_kinds)
        self._registry: Any = CollectorRegistry()
        bound = CardinalityLimit(series_max)
        counted = (instrument for instrument in catalogue(names) if not instrument.kept)
        self._metrics = {instrument.name: CountedMetric(instrument, bound) for instrument in counted}
        for metric in self._metrics.values():
            self._registry.register(metric)
        self._registry.register(_Readings(organism))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._record(initial_values(organism))
        self._stops: tuple[Callable[[], None], ...] = (
            organism.usage.subscribe(self._on_event, *STORED),
            organism.activity.observe(self._on_activity),
        )

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """Return the content type and the body that a scraper with this ``Accept`` header wants."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def close(self) -> None:
        """Stop counting."""
        for stop in self._stops:
            stop()

    def _on_event(self, event: AnyEvent) -> None:
        self._record(measure_event(event, self._conventions))

    def _on_activity(self, activity: Activity) -> None:
        self._record(measure_activity(activity))

    def _record(self, measurements: Iterable[Measurement]) -> None:
        for measurement in measurements:
            metric = self._metrics[measurement.instrument.name]
            metric.take(measurement.value, measurement.labels, measurement.trace_id)


class _Readings:
    """Reads the organism whenever Prometheus comes by; implements the collector protocol of its client."""

    def __init__(self, organism: ObservedOrganism) -> None:
        self._organism = organism

    def collect(self) -> Iterator[Any]:
        """Yield one family per instrument."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families: dict[str, Any] = {}
        for reading in read_gauges(self._organism):
            instrument = reading.instrument
            family = families.get(instrument.name)
            if family is None:
                kind = CounterMetricFamily if instrument.kind == "counter" else GaugeMetricFamily
                family = kind(instrument.prometheus_name, instrument.help, labels=instrument.prometheus_labels)
                families[instrument.name] = family
            family.add_metric(reading.labels, reading.value)
        yield from families.values()
