"""The place that :mod:`organism.telemetry.metrics.prometheus` had in 0.1."""

import warnings

from organism.telemetry.metrics.prometheus import PrometheusExporter

__all__ = ["PrometheusExporter"]

warnings.warn(
    "organism.exporters.prometheus is now organism.telemetry.metrics.prometheus", DeprecationWarning, stacklevel=2
)
