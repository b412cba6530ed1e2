"""Settings of one provider: concurrency, rates, timeouts and circuit breaker. Pure."""

import msgspec

from organism.router.limits.circuit import CircuitSettings
from organism.router.limits.rate_limit import RateLimits


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds after which an attempt is given up; its whole hold is charged, because it may have been billed.

    How long connecting may take is the adapter's own affair: until then nothing is sent, and nothing is charged.

    Attributes:
        first_token_s: From leaving to the first sign of life of a streamed answer; ``None`` for as long as it takes.
        between_tokens_s: Between two signs of life of a streamed answer, likewise.
        call_s: For the whole attempt, streamed or not. ``None``: the router's for an answer that comes whole; one that
            is streamed takes as long as it goes on.
    """

    first_token_s: float | None = 600.0
    between_tokens_s: float | None = 300.0
    call_s: float | None = None


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one provider.

    Attributes:
        concurrency: Attempts at a time; ``None`` for no limit.
        rates: Requests and tokens a minute.
        timeouts: Timeouts of its attempts.
        circuit: Its circuit breaker.
        per_machine: Whether each machine has one of its own, so that the nodes of a cluster share no limit of it.
    """

    concurrency: int | None = None
    rates: RateLimits = RateLimits()
    timeouts: Timeouts = Timeouts()
    circuit: CircuitSettings = CircuitSettings()
    per_machine: bool = False
