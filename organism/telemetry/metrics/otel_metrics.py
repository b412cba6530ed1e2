"""Metrics for OpenTelemetry: the same instruments as for Prometheus, sent at intervals instead of read.

Counters are added up here and read by the SDK when it sends: its own adding costs more than all else of a message.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from organism.telemetry.conventions import Conventions
from organism.telemetry.metrics.cardinality import CardinalityLimit
from organism.telemetry.metrics.gauges import ObservedOrganism, read_gauges
from organism.telemetry.metrics.initial_values import initial_values
from organism.telemetry.metrics.instruments import Instrument, catalogue
from organism.telemetry.metrics.metric_mapping import Measurement, measure_activity, measure_event
from organism.usage.activity import Activity
from organism.usage.events import AnyEvent

_READ_TIMEOUT_S = 5.0
_READ_AGAIN_S = 1.0
"""One collection asks for every instrument in turn; within this time they share one reading."""


def meter_provider(resource: Resource, exporter: MetricExporter) -> MeterProvider:
    """Make a provider that sends at the interval the environment sets."""
    return MeterProvider([PeriodicExportingMetricReader(exporter)], resource=resource)


class MetricWriter:
    """Counts what a running organism does.

    Args:
        conventions: How things are named.
    """

    def __init__(self, provider: MeterProvider, organism: ObservedOrganism, conventions: Conventions) -> None:
        self._organism = organism
        self._conventions = conventions
        self._bound = CardinalityLimit()
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._last: tuple[float, Sequence[Measurement]] = (float("-inf"), ())
        self._record: dict[str, Callable[..., None]] = {}
        self._sums: dict[Instrument, dict[tuple[str, ...], float]] = {}
        meter = provider.get_meter("organism")
        for instrument in catalogue(conventions.names):
            name, unit, text = instrument.name, instrument.unit, instrument.help
            if instrument.kind == "histogram":
                self._record[name] = meter.create_histogram(
                    name, unit=unit, description=text, explicit_bucket_boundaries_advisory=instrument.bounds
                ).record
                continue
            gauge = instrument.kind == "gauge"
            make: Any = meter.create_observable_gauge if gauge else meter.create_observable_counter
            make(name, [self._reader(instrument)], unit=unit, description=text)
            if not instrument.kept:
                self._sums[instrument] = {}
        self._add(initial_values(organism))

    def on_event(self, event: AnyEvent) -> None:
        """Count an event."""
        self._add(measure_event(event, self._conventions))

    def on_activity(self, activity: Activity) -> None:
        """Count an activity."""
        self._add(measure_activity(activity))

    def _add(self, measurements: Iterable[Measurement]) -> None:
        for measurement in measurements:
            instrument = measurement.instrument
            labels = self._bound.admit(instrument, measurement.labels)
            sums = self._sums.get(instrument)
            if sums is not None:
                sums[labels] = sums.get(labels, 0) + measurement.value
            else:
                self._record[instrument.name](measurement.value, dict(zip(instrument.labels, labels, strict=True)))

    def _reader(self, instrument: Instrument) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(reading.value, dict(zip(instrument.labels, reading.labels, strict=True)))
                for reading in self._recent()
                if reading.instrument is instrument
            ]

        return observe

    def _recent(self) -> Sequence[Measurement]:
        if time.monotonic() - self._last[0] > _READ_AGAIN_S:
            self._last = (time.monotonic(), self._read())
        return self._last[1]

    def _read(self) -> Sequence[Measurement]:
        """Read the organism in its own thread: the SDK asks from another, where nothing would stand still."""
        if threading.get_ident() == self._loop_thread:
            return self._look()
        answer: Future[list[Measurement]] = Future()

        def look_there() -> None:
            try:
                answer.set_result(self._look())
            except Exception as error:  # noqa: BLE001 - raised in the caller's thread
                answer.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(look_there)
            return answer.result(_READ_TIMEOUT_S)
        except (RuntimeError, TimeoutError):
            return []  # the loop is closed or busy: no reading this time

    def _look(self) -> list[Measurement]:
        counted = (
            Measurement(instrument, value, labels)
            for instrument, sums in self._sums.items()
            for labels, value in sums.items()
        )
        return [*read_gauges(self._organism), *counted]
