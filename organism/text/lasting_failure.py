"""When the log says that something fails which is tried again and again."""

import time

_AGAIN_NS = 60_000_000_000
"""Between two lines of the log about a failure that lasts."""


class LastingFailure:
    """A failure that may last: the log has it when it begins, when its reason is another, and each minute."""

    def __init__(self) -> None:
        self._told, self._again_ns = "", 0

    def is_news(self, reason: str) -> bool:
        """Whether to log it now; then it counts as logged."""
        now_ns = time.monotonic_ns()
        if reason == self._told and now_ns < self._again_ns:
            return False
        self._told, self._again_ns = reason, now_ns + _AGAIN_NS
        return True

    def end(self) -> None:
        """It is over: the next one is news at once."""
        self._told = ""
