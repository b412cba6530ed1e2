"""The port through which every room reads the time, and the system's own clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time: one to store, one to measure with."""

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch, UTC. May jump; only for stored instants."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds of a clock that never goes back. Only differences have a meaning."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        """Return :func:`time.time_ns`."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return :func:`time.monotonic_ns`."""
        return time.monotonic_ns()
