"""A rate limit of requests and tokens a minute, with the time passed in. Pure.

A request counts with its worst case when it leaves and is corrected by its real usage, as providers themselves do.
"""

import msgspec

from organism.amounts import NS_PER_S
from organism.router.limits.window import SlidingWindow

_MINUTE_NS = 60 * NS_PER_S


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The requests and tokens that a provider takes within any minute; ``None`` for no limit.

    Attributes:
        requests: Attempts.
        tokens: Tokens of input and output together.
    """

    requests: int | None = None
    tokens: int | None = None

    def fits_ever(self, tokens: int) -> bool:
        """Whether a request of that size fits into an empty minute; if not, no waiting helps."""
        return (self.requests is None or self.requests >= 1) and (self.tokens is None or tokens <= self.tokens)


class RateLimiter:
    """Counts one provider's requests and tokens of the last minute.

    Attributes:
        limits: The provider's limits.
        share: The part of them that this process may use; ``None`` for all.
    """

    def __init__(self, limits: RateLimits) -> None:
        self.limits = limits
        self.share: RateLimits | None = None
        self._requests = SlidingWindow(_MINUTE_NS)
        self._tokens = SlidingWindow(_MINUTE_NS)

    def free_in_ns(self, tokens: int, now_ns: int) -> int:
        """Return the nanoseconds until a request of that size may leave; 0 for now.

        A request larger than this process's share waits a whole minute: by then the share may be larger.
        """
        limits, wait = self.share or self.limits, 0
        if limits.requests is not None:
            wait = self._requests.free_in_ns(1, limits.requests, now_ns) if limits.requests else _MINUTE_NS
        if limits.tokens is not None:
            fits = tokens <= limits.tokens
            wait = max(wait, self._tokens.free_in_ns(tokens, limits.tokens, now_ns) if fits else _MINUTE_NS)
        return wait

    def take(self, tokens: int, now_ns: int) -> None:
        """Count a request that leaves now."""
        self._requests.add(1, now_ns)
        self._tokens.add(tokens, now_ns)

    def correct(self, by_tokens: int, taken_at_ns: int) -> None:
        """Correct the tokens of a request, once its real usage is known."""
        self._tokens.correct(by_tokens, taken_at_ns)

    def give_back(self, tokens: int, taken_at_ns: int) -> None:
        """Take back a request that was counted and does not leave."""
        self._requests.correct(-1, taken_at_ns)
        self._tokens.correct(-tokens, taken_at_ns)

    def used(self, now_ns: int) -> tuple[int, int]:
        """Return the requests and tokens of the last minute."""
        return self._requests.total(now_ns), self._tokens.total(now_ns)
