"""The wait before a provider is asked again: exponential, with jitter passed in. Pure."""

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How the waits between attempts grow.

    Attributes:
        first_s: The longest wait after the first failure, in seconds.
        max_s: The longest wait, also for a provider that asks for more. A provider that asks for more than all waits of
            a call together is not asked again by that call.
    """

    first_s: float = 0.5
    max_s: float = 30.0


def delay_s(backoff: Backoff, failures: int, retry_after_s: float | None, chance: float) -> float:
    """Return the seconds to wait after a provider has failed a call.

    The wait doubles with each failure, and half of it is left to chance, so that callers who failed together do not
    come back together. A wait that the provider asked for is respected, with a little jitter on top.

    Args:
        backoff: How waits grow.
        failures: How often this provider has failed this call, from 1.
        retry_after_s: What the provider asked for, if it did.
        chance: A random number from 0 up to 1.
    """
    if retry_after_s is not None:
        return min(max(0.0, retry_after_s) + chance * backoff.first_s, backoff.max_s)
    # The exponent is bounded: 2.0 ** 2000 would overflow long after every cap is reached.
    whole = min(backoff.first_s * 2.0 ** min(failures - 1, 64), backoff.max_s)
    return whole / 2 + chance * whole / 2
