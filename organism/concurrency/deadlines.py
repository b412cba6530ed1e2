"""A deadline that may be moved while something waits for it."""

import asyncio
import math
from collections.abc import Callable

from organism.concurrency.loop_time import loop_time


class Deadline:
    """Rings when its instant has come.

    It has one timer, which looks again where the deadline was put off meanwhile: a deadline that each piece of a stream
    puts off costs next to nothing. AnyIO's scopes set a timer anew each time, and one of them takes as long to enter
    and to leave as a whole step of a call.

    Attributes:
        at_s: When it is, on the event loop's clock.
    """

    def __init__(self) -> None:
        self.at_s = math.inf
        self._ring: Callable[[], object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looks_s = math.inf
        """When the timer looks."""

    @property
    def passed(self) -> bool:
        """Whether it has come."""
        return loop_time() >= self.at_s

    def move(self, at_s: float) -> None:
        """Set it to another instant."""
        self.at_s = at_s
        if self._ring is not None:
            self._look_in_time()

    def begin(self, ring: Callable[[], object]) -> None:
        """Have a function called when it comes, until :meth:`end`."""
        self._ring = ring
        self._look_in_time()

    def end(self) -> None:
        """Ring no more."""
        self._ring = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._looks_s = None, math.inf

    def _look_in_time(self) -> None:
        if self._looks_s <= self.at_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._looks_s = self.at_s
        self._timer = asyncio.get_running_loop().call_at(self.at_s, self._look)

    def _look(self) -> None:
        self._timer, self._looks_s = None, math.inf
        if self._ring is None:
            return
        if self.passed:
            self._ring()
        else:
            self._look_in_time()
