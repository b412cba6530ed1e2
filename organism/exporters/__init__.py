"""The place that metrics and traces had in 0.1; they are in :mod:`organism.telemetry`. Goes with 0.3."""
