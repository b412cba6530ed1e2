"""Spending beside model calls, and the events of refusals of both."""
