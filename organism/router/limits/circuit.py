"""A circuit breaker, with the time passed in. Pure.

::

    closed --enough failures--> open --after a while--> half_open --probe answers--> closed
                                 ^                          |
                                 +-------probe fails--------+

While it is half open a single attempt, the probe, is let through. Attempts that left before the circuit opened do not
change it when they end: their outcome is outdated.
"""

from typing import Literal

import msgspec

from organism.amounts import NS_PER_S
from organism.router.limits.window import SlidingWindow

CircuitState = Literal["closed", "open", "half_open"]

Health = Literal["answered", "failed", "unknown"]
"""An attempt's outcome for the circuit. A refused request counts as answered; a cancelled attempt is unknown."""


class CircuitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When the circuit opens, and for how long.

    Attributes:
        failures: Failures that open the circuit, if at least as many attempts failed as were answered.
        within_s: Seconds within which they are counted.
        open_s: Seconds until a probe is let through.
    """

    failures: int = 5
    within_s: float = 30.0
    open_s: float = 30.0


class Circuit:
    """One provider's circuit.

    Args:
        settings: When it opens, and for how long.
    """

    def __init__(self, settings: CircuitSettings) -> None:
        self._settings = settings
        self._failed = SlidingWindow(round(settings.within_s * NS_PER_S))
        self._answered = SlidingWindow(round(settings.within_s * NS_PER_S))
        self._opened_ns: int | None = None
        self._probing = False

    def state(self, now_ns: int) -> CircuitState:
        """Return the state at an instant."""
        if self._opened_ns is None:
            return "closed"
        return "half_open" if self._probing or not self._open_for_ns(now_ns) else "open"

    def failures(self, now_ns: int) -> int:
        """Return the number of failures within the last ``within_s`` seconds."""
        return self._failed.total(now_ns)

    def free_in_ns(self, now_ns: int) -> int | None:
        """Return the nanoseconds until an attempt may be made: 0 for now, ``None`` while a probe decides."""
        if self._opened_ns is None:
            return 0
        return None if self._probing else self._open_for_ns(now_ns)

    def enter(self, now_ns: int) -> bool:
        """Let an attempt through, which must be allowed now; return whether it is the probe."""
        if self.free_in_ns(now_ns) != 0:
            raise ValueError("the circuit lets no attempt through now")
        self._probing = self._opened_ns is not None
        return self._probing

    def leave(self, health: Health, now_ns: int, *, probe: bool) -> None:
        """Note how an attempt ended."""
        if probe:
            # After an unknown outcome the circuit stays as it was, and the next attempt is the probe.
            self._probing = False
            if health == "failed":
                self._opened_ns = now_ns
            elif health == "answered":
                # Earlier failures would open it again at the first new one.
                self._opened_ns = None
                self._failed.clear()
                self._answered.clear()
        elif self._opened_ns is None and health != "unknown":
            (self._failed if health == "failed" else self._answered).add(1, now_ns)
            failed = self._failed.total(now_ns)
            if failed >= max(self._settings.failures, self._answered.total(now_ns)):
                self._opened_ns = now_ns

    def _open_for_ns(self, now_ns: int) -> int:
        if self._opened_ns is None:
            return 0
        return max(0, self._opened_ns + round(self._settings.open_s * NS_PER_S) - now_ns)
