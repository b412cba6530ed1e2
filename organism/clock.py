"""The port through which every room reads the time, and the system's own clock."""

import time
from datetime import UTC, datetime
from typing import Protocol

from organism.amounts import NS_PER_S
from organism.concurrency.safe_log import safe_logger


class Clock(Protocol):
    """Two readings of time: one to store, one to measure with."""

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch, UTC. May jump; only for stored instants."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds of a clock that never goes back. Only differences have a meaning."""
        ...


def utc(clock: Clock) -> datetime:
    """Return a clock's instant as a date and time."""
    return datetime.fromtimestamp(clock.now_ns() // NS_PER_S, UTC)


class SystemClock:
    """The machine's clocks."""

    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


_JUMP_NS = 300_000_000_000
"""Five minutes: a larger leap of the clock is not believed at once, and time stands still for no longer."""

_STEADY_NS = 600_000_000_000
"""Ten minutes: so long must the clock go evenly before a leap is believed."""

_UNEVEN_NS = 1_000_000_000

_COMPARED_FOR_NS = 1_000_000_000
"""So far may the wall clock go on before it is compared with the other again: reading both takes 0.2 us more."""

_UNSEEN_NS = 400 * 86_400 * NS_PER_S
"""400 days: nobody has left a journal alone for longer, as far as we believe a clock that says so at once."""

_log = safe_logger("organism.clock")


class SteadyClock:
    """Instants that never go back, and leap ahead only when the machine's clock has proved that it means it.

    A clock that is set back by up to five minutes stands still until time has caught up, so no period is ever opened
    twice. One that is set back further goes on evenly from where it was: it is ahead of the machine's then, but what is
    due comes. A clock that leaps ahead is followed only after it has kept pace with the monotonic clock for a while, so
    that an error of the clock does not open tomorrow's budget today. The log says when it departs from the machine's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read_wall, self._read_monotonic = clock.now_ns, clock.monotonic_ns  # read several times in each hop
        self._last_ns = 0
        self._compared_ns, self._compared_monotonic_ns = 0, clock.monotonic_ns()
        self._compare_at_ns = _COMPARED_FOR_NS
        self._leap: tuple[int, int] | None = None
        self._behind = False

    def not_before(self, floor_ns: int) -> None:
        """Never show an instant before this one: the newest that a journal holds.

        Between two processes there is nothing but the machine's clock to measure with, so it is believed, unless it is
        behind the journal, or ahead of it by more than anybody leaves a journal alone. Then time goes on from there.
        """
        wall_ns = self._clock.now_ns()
        if floor_ns and wall_ns - floor_ns > _UNSEEN_NS:
            _log.error(
                "clock_far_ahead",
                days=(wall_ns - floor_ns) // (86_400 * NS_PER_S),
                doing="time goes on from the newest instant in the journal; this clock is believed after ten even "
                "minutes, so set it right before then if it is wrong",
            )
            self._last_ns = wall_ns = floor_ns  # what was read before the journal was opened is nowhere stored
        self._last_ns = self._compared_ns = max(self._last_ns, floor_ns, wall_ns)
        self._compared_monotonic_ns = self._clock.monotonic_ns()
        self._note_behind(self._last_ns - wall_ns)
        self._compare_at_ns = self._next_comparison_ns()

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch, UTC."""
        wall_ns = self._read_wall()
        if self._last_ns <= wall_ns < self._compare_at_ns:
            self._last_ns = wall_ns
            return wall_ns
        self._last_ns = self._compare(wall_ns, self._read_monotonic())
        return self._last_ns

    def _compare(self, wall_ns: int, monotonic_ns: int) -> int:
        """Return the instant that follows from both of the machine's clocks."""
        expected_ns = self._compared_ns + monotonic_ns - self._compared_monotonic_ns
        if not self._last_ns:
            instant_ns = wall_ns
        elif wall_ns - expected_ns > _JUMP_NS:
            instant_ns = wall_ns if self._proved(wall_ns, monotonic_ns) else expected_ns
        else:
            self._leap = None
            self._note_behind(expected_ns - wall_ns)
            instant_ns = expected_ns if self._behind else max(self._last_ns, wall_ns)
        self._compared_ns, self._compared_monotonic_ns = instant_ns, monotonic_ns
        self._compare_at_ns = self._next_comparison_ns()
        return instant_ns

    def _next_comparison_ns(self) -> int:
        """Return until when the wall clock is believed; never one that is behind, wherever it stands when next read."""
        return 0 if self._behind else self._compared_ns + _COMPARED_FOR_NS

    def _note_behind(self, by_ns: int) -> None:
        """Note whether the machine's clock is too far behind to be waited for, and say so when that begins."""
        was, self._behind = self._behind, by_ns > _JUMP_NS
        if self._behind and not was:
            _log.error(
                "clock_behind",
                seconds=by_ns // NS_PER_S,
                doing="time goes on evenly from where it was, ahead of the machine's clock, until that has caught up",
            )

    def _proved(self, wall_ns: int, monotonic_ns: int) -> bool:
        """Whether the clock has gone evenly for long enough since it leapt."""
        if self._leap is not None:
            passed_ns = monotonic_ns - self._leap[1]
            if abs(wall_ns - self._leap[0] - passed_ns) <= _UNEVEN_NS:
                return passed_ns >= _STEADY_NS
        self._leap = (wall_ns, monotonic_ns)
        return False

    def monotonic_ns(self) -> int:
        """Return nanoseconds of a clock that never goes back."""
        return self._clock.monotonic_ns()
