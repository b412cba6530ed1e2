"""Adapters of the journal port: where committed records go."""
