"""A sliding sum of integers, with the time passed in. Pure.

Time is cut into slots, and a slot counts until its *last* instant is a whole span ago. So no span of that length,
wherever it begins, has more than the sum: a provider may count calendar minutes, sliding ones or a refilling bucket,
and never gets more than it allows.
"""

from collections import deque

_SLOTS = 60


class SlidingWindow:
    """Sums the amounts of the last span of time.

    Args:
        span_ns: The span in nanoseconds.
    """

    def __init__(self, span_ns: int) -> None:
        self._slot_ns = max(1, span_ns // _SLOTS)
        self._counts: deque[list[int]] = deque()
        self._total = 0

    def total(self, now_ns: int) -> int:
        """Return the sum of the span that ends now."""
        gone = now_ns // self._slot_ns - _SLOTS
        while self._counts and self._counts[0][0] < gone:
            self._total -= self._counts.popleft()[1]
        return self._total

    def add(self, amount: int, now_ns: int) -> None:
        """Add an amount."""
        slot = now_ns // self._slot_ns
        if not self._counts or self._counts[-1][0] != slot:
            self._counts.append([slot, 0])
        self._counts[-1][1] += amount
        self._total += amount

    def correct(self, by: int, counted_at_ns: int) -> None:
        """Change an amount that was added at an earlier instant, unless it has left the window."""
        slot = counted_at_ns // self._slot_ns
        for count in reversed(self._counts):  # most of what is corrected was counted a moment ago
            if count[0] == slot:
                count[1] += by
                self._total += by
            if count[0] <= slot:
                return

    def free_in_ns(self, amount: int, most: int, now_ns: int) -> int:
        """Return the nanoseconds until an amount fits below a ceiling that is no smaller than it; 0 for now."""
        total = self.total(now_ns)
        for slot, counted in self._counts:
            if total + amount <= most:
                return 0
            total -= counted
            if total + amount <= most:
                return (slot + _SLOTS + 1) * self._slot_ns - now_ns
        return 0

    def clear(self) -> None:
        """Forget everything."""
        self._counts.clear()
        self._total = 0
