"""What is counted for Prometheus, and how it is shown to its client when a scraper comes by.

The client's own counters and histograms take a lock for each number and look through a histogram's bounds one by one:
a call counts as some fifteen numbers, all on the event loop, and that was a twentieth of it.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import msgspec

from organism.telemetry.metrics.cardinality import CardinalityLimit
from organism.telemetry.metrics.instruments import Instrument


class _Example(msgspec.Struct, frozen=True):
    """One number with the trace that it came from, and when, in seconds since 1970."""

    trace_id: str
    value: float
    time_s: float


class LabelledSeries(msgspec.Struct):
    """One set of labels of a counter or a histogram.

    Attributes:
        bounds: Upper bounds of a histogram's buckets, without the last, which has none; nothing for a counter.
        created_s: Since when it has counted, in seconds since 1970.
        total: The sum of all numbers.
        counts: How many were in each bucket, and in the last one those beyond.
        examples: The latest number of each bucket that has a trace.
    """

    bounds: tuple[float, ...]
    created_s: float
    total: float = 0.0
    counts: list[int] = []
    examples: dict[int, _Example] = {}

    def take(self, value: float, trace_id: str | None) -> None:
        """Count a number."""
        self.total += value
        place = bisect_left(self.bounds, value)
        self.counts[place] += 1
        if trace_id is not None:
            self.examples[place] = _Example(trace_id, value, time.time())


class CountedMetric:
    """A counter or a histogram with its series; a collector of Prometheus' client.

    Args:
        instrument: The metric.
        bound: Decides which sets of labels have a series of their own.
    """

    def __init__(self, instrument: Instrument, bound: CardinalityLimit) -> None:
        self._instrument = instrument
        self._bound = bound
        self._series: dict[tuple[str, ...], LabelledSeries] = {}
        if not instrument.labels:
            self._series_of(())

    def take(self, value: float, labels: tuple[str, ...], trace_id: str | None) -> None:
        """Count a number under its labels."""
        series = self._series.get(labels)
        if series is None:
            series = self._series_of(labels)
        series.take(value, trace_id)

    def _series_of(self, labels: tuple[str, ...]) -> LabelledSeries:
        # Labels beyond the bound are asked for each time: remembered, they would fill the memory all the same.
        admitted = self._bound.admit(self._instrument, labels)
        if (series := self._series.get(admitted)) is None:
            bounds = self._instrument.bounds
            series = self._series[admitted] = LabelledSeries(bounds, time.time(), counts=[0] * (len(bounds) + 1))
        return series

    def collect(self) -> Iterator[Any]:
        """Yield the metric as it is now."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        kind = HistogramMetricFamily if self._instrument.kind == "histogram" else CounterMetricFamily
        name, names = self._instrument.prometheus_name, self._instrument.prometheus_labels
        family: Any = kind(name, self._instrument.help, labels=names)
        for labels, series in self._series.items():
            if self._instrument.kind == "histogram":
                family.add_metric(labels, list(_buckets(series)), series.total)
                family.add_sample(f"{family.name}_created", dict(zip(names, labels, strict=True)), series.created_s)
            else:
                family.add_metric(labels, series.total, series.created_s, exemplar=_exemplar(series.examples.get(0)))
        yield family


def _buckets(series: LabelledSeries) -> Iterator[tuple[str, float] | tuple[str, float, Any]]:
    from prometheus_client import utils

    written: Any = utils.floatToGoString
    for place, count in enumerate(accumulate(series.counts)):
        bound = series.bounds[place] if place < len(series.bounds) else float("inf")
        example = series.examples.get(place)
        shown = (written(bound), float(count))
        yield shown if example is None else (*shown, _exemplar(example))


def _exemplar(example: _Example | None) -> Any:
    from prometheus_client.core import Exemplar

    return None if example is None else Exemplar({"trace_id": example.trace_id}, example.value, example.time_s)
