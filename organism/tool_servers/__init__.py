"""Adapters to servers of tools, one protocol per module."""
