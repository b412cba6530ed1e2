"""The place that :mod:`organism.telemetry.otel` had in 0.1."""

import warnings

from organism.telemetry.otel import otel_exporting

__all__ = ["otel_exporting"]

warnings.warn("organism.exporters.otel is now organism.telemetry.otel", DeprecationWarning, stacklevel=2)
