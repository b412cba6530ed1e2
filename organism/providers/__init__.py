"""Adapters to model providers, one foreign system per module."""
