"""Requests and tokens per minute."""

from organism.amounts import NS_PER_S
from organism.router.limits.rate_limit import RateLimiter, RateLimits

S = NS_PER_S


def test_requests_and_tokens_both_have_to_fit() -> None:
    """The tighter of the two limits says when the next request may leave."""
    limiter = RateLimiter(RateLimits(requests=2, tokens=100))
    limiter.take(60, 0)

    assert limiter.free_in_ns(40, 1 * S) == 0
    assert limiter.free_in_ns(41, 1 * S) == 60 * S, "not before the first has left the minute"

    limiter.take(40, 2 * S)
    assert limiter.free_in_ns(0, 3 * S) == 58 * S


def test_request_larger_than_a_minute_never_fits() -> None:
    """No waiting helps a request that is larger than everything a minute allows."""
    limiter = RateLimiter(RateLimits(tokens=100))

    assert limiter.limits.fits_ever(100)
    assert not limiter.limits.fits_ever(101)


def test_real_usage_gives_back_what_the_worst_case_took() -> None:
    """A short answer leaves its minute to others."""
    limiter = RateLimiter(RateLimits(tokens=100))
    limiter.take(100, 0)
    limiter.correct(-70, 0)

    assert limiter.free_in_ns(70, 1 * S) == 0
    assert limiter.used(1 * S) == (1, 30)


def test_without_limits_nothing_waits() -> None:
    """What is not limited is only counted."""
    limiter = RateLimiter(RateLimits())
    for _ in range(1000):
        limiter.take(1_000_000, 0)

    assert limiter.limits.fits_ever(10**9)
    assert limiter.free_in_ns(10**9, 0) == 0
    assert limiter.used(0) == (1000, 1_000_000_000)
