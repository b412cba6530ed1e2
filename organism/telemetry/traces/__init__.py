"""Traces: spans and their attributes."""
