"""Metrics: instruments, what is counted, and its exporters."""
