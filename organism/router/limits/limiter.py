"""Limiter of one provider: circuit breaker, concurrency limit, requests and tokens per minute. FIFO.

An attempt takes a :class:`Permit` when its route is chosen, goes in when its budget is held, and leaves when it is
settled, so an abandoned attempt that is still read to its end keeps its place. A permit that waits keeps its hold:
its call is going to be made, and room that was promised to it must not be promised to another.
"""

import asyncio
from collections.abc import Callable

import anyio
import msgspec

from organism.amounts import NS_PER_S
from organism.clock import Clock
from organism.concurrency.loop_time import loop_time
from organism.concurrency.wakeups import Wakeup
from organism.errors import RejectedError, TooLargeError
from organism.router.limits.circuit import Circuit, CircuitState, Health
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.provider_share import ProviderDemand, ProviderShare
from organism.router.limits.rate_limit import RateLimiter


class ReplacedError(Exception):
    """A reload has replaced this limiter: plan the next attempt anew. Never leaves the router."""


class ProviderHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A look at one provider.

    Attributes:
        circuit: ``closed`` as a rule; ``open`` while it is given a rest; ``half_open`` while a probe may go or is out.
        in_flight: Attempts under way, the abandoned ones too.
        waiting: Attempts that wait for a place or for their minute.
        attempts: All attempts that left, since the start.
        failures: Those that failed, since the start.
        recent_failures: Failures that the circuit still counts.
        requests_last_minute: Attempts that left within the last minute.
        tokens_last_minute: Their tokens: real ones of those that have ended, the worst case of the others.
        last_failure: What failed last, in words.
    """

    circuit: CircuitState
    in_flight: int
    waiting: int
    attempts: int
    failures: int
    recent_failures: int
    requests_last_minute: int
    tokens_last_minute: int
    last_failure: str | None


class ProviderLimiter:
    """Lets attempts through to one provider.

    Args:
        provider: Its name in the configuration.
        settings: How it is treated.
        on_probed: Called when a probe has ended, so that those who wait for it look again.
    """

    def __init__(
        self, provider: str, settings: ProviderSettings, clock: Clock, on_probed: Callable[[], None] = lambda: None
    ) -> None:
        self.provider = provider
        self.settings = settings
        self._clock = clock
        self._circuit = Circuit(settings.circuit)
        self._rates = RateLimiter(settings.rates)
        self._turn = anyio.Lock()
        self._place_free = asyncio.Event()
        self._in_flight = 0
        self._permits = 0
        self._attempts = 0
        self._failures = 0
        self._last_failure: str | None = None
        self._on_probed = on_probed
        self._left = Wakeup()
        self._share: ProviderShare | None = None
        self._share_is_final = False
        self._on_wait: Callable[[], object] = lambda: None
        self._waiting: dict[object, tuple[int, float]] = {}

    @property
    def load(self) -> int:
        """Attempts under way or about to be."""
        return self._permits

    def treat(self, settings: ProviderSettings) -> None:
        """Treat the provider differently from here on; what waits for a place looks again."""
        if settings.circuit != self.settings.circuit:
            self._circuit = Circuit(settings.circuit)
        self._rates.limits = settings.rates
        self.settings = settings
        self._place_free.set()

    def share(self, share: ProviderShare | None, on_wait: Callable[[], object]) -> None:
        """Use only so much of the limits from here on; ``on_wait`` is called when an attempt has to wait.

        Args:
            share: ``None`` for all of them: nobody else is limited with this process.
        """
        self._share, self._on_wait = share, on_wait
        self._rates.share = None if share is None else share.rates
        self._place_free.set()

    def keep_share(self) -> None:
        """Nobody agrees on its share any more: what waits and has no room in that, ever, is turned away."""
        self._share_is_final = True
        self._place_free.set()

    def demand(self) -> ProviderDemand:
        """Return what is used, and what waits."""
        requests, tokens = self._rates.used(self._clock.monotonic_ns())
        first_tokens, since_s = next(iter(self._waiting.values()), (0, None))
        return ProviderDemand(
            in_flight=self._in_flight,
            requests=requests,
            tokens=tokens,
            waiting=len(self._waiting),
            waiting_tokens=sum(each for each, _ in self._waiting.values()),
            first_tokens=first_tokens,
            waited_s=None if since_s is None else loop_time() - since_s,
        )

    async def wait_unused(self) -> None:
        """Return when no attempt is under way or about to be."""
        while self._permits:
            await self._left.wait()

    def free_in_s(self) -> float | None:
        """Return in how many seconds the circuit lets an attempt through: 0 for now, ``None`` when a probe decides."""
        wait = self._circuit.free_in_ns(self._clock.monotonic_ns())
        return None if wait is None else wait / NS_PER_S

    def take(self) -> "Permit":
        """Take the way through the circuit, which must be free now; it must be left again."""
        probe = self._circuit.enter(self._clock.monotonic_ns())
        self._permits += 1
        return Permit(self, probe=probe)

    def health(self) -> ProviderHealth:
        """Return a look at the provider."""
        now_ns = self._clock.monotonic_ns()
        requests, tokens = self._rates.used(now_ns)
        turn = self._turn.statistics()
        return ProviderHealth(
            circuit=self._circuit.state(now_ns),
            in_flight=self._in_flight,
            waiting=turn.tasks_waiting + turn.locked,
            attempts=self._attempts,
            failures=self._failures,
            recent_failures=self._circuit.failures(now_ns),
            requests_last_minute=requests,
            tokens_last_minute=tokens,
            last_failure=self._last_failure,
        )

    # -- for permits ----------------------------------------------------------------------------------------------

    async def enter(self, tokens: int, deadline_s: float) -> int:
        """Wait for a place and for the minute; returns the instant of entering.

        Raises:
            TooLargeError: If the request does not fit into any minute.
            RejectedError: If its turn does not come before the deadline.
            ReplacedError: If its turn never comes here: others have taken this limiter's place.
        """
        limits = self._rates.limits
        if not limits.fits_ever(tokens):
            raise TooLargeError(self.provider, tokens, limits.tokens or 0)
        if self._may_enter_at_once(tokens, deadline_s):
            return self._let_in(tokens)
        ticket = object()
        self._waiting[ticket] = tokens, loop_time()
        try:
            with anyio.CancelScope(deadline=deadline_s):
                # First come, first served by the lock: only who has it looks for room. Would all look, small requests
                # would take each other's minute before the eyes of a large one.
                async with self._turn:
                    await self._until_free(tokens)
                    return self._let_in(tokens)
        finally:
            # Also for one that was cancelled: what waits is what this node asks the others' share for.
            del self._waiting[ticket]
        raise RejectedError(
            self.provider, "no turn before the call's deadline; raise 'concurrency' or what it takes per minute"
        )

    async def _until_free(self, tokens: int) -> None:
        """Wait until a request of that size may leave: it is its turn."""
        while (wait_ns := self._free_in_ns(tokens)) != 0:
            if self._share_is_final and not (self._share and self._share.fits_ever(tokens)):
                raise ReplacedError
            # Made anew before telling: a share that is given at once wakes this wait, not the one before.
            self._place_free = asyncio.Event()
            self._on_wait()
            with anyio.move_on_after(None if wait_ns is None else wait_ns / NS_PER_S):
                await self._place_free.wait()

    def _free_in_ns(self, tokens: int) -> int | None:
        """Return in how many nanoseconds a request may leave; ``None`` if something else must change first."""
        most = self.settings.concurrency
        if (share := self._share) is not None:
            # Without news of the others its part may have been given away: it waits for the next agreement.
            if loop_time() >= share.until_s:
                return None
            most = share.concurrency
        if most is not None and self._in_flight >= most:
            return None
        return self._rates.free_in_ns(tokens, self._clock.monotonic_ns())

    def _may_enter_at_once(self, tokens: int, deadline_s: float) -> bool:
        """Whether there is nothing to wait for, and nobody who waits: the rule, without the 15 µs of lock and scope."""
        if self._turn.locked() or loop_time() >= deadline_s:
            return False
        return self._free_in_ns(tokens) == 0

    def _let_in(self, tokens: int) -> int:
        """Count an attempt. Nothing may await until its permit knows: what is counted is given back by leaving."""
        now_ns = self._clock.monotonic_ns()
        self._rates.take(tokens, now_ns)
        self._in_flight += 1
        self._attempts += 1
        return now_ns

    def leave(self, permit: "Permit", health: Health, failure: str | None) -> None:
        """Note that an attempt has ended, and let the next one in."""
        now_ns = self._clock.monotonic_ns()
        self._permits -= 1
        if permit.entered_ns is not None:  # else it never had a place: refused by its budget, or cancelled in line
            self._in_flight -= 1
        if health == "failed":
            self._failures += 1
            self._last_failure = failure
        self._circuit.leave(health, now_ns, probe=permit.probe)
        self._place_free.set()
        self._left.notify()
        if permit.probe:
            self._on_probed()

    def step_back(self, tokens: int, entered_ns: int) -> None:
        """Take back that an attempt was let in: it does not leave now."""
        self._rates.give_back(tokens, entered_ns)
        self._in_flight -= 1
        self._attempts -= 1
        self._place_free.set()

    def correct(self, by_tokens: int, entered_ns: int) -> None:
        """Correct what a request was counted with."""
        self._rates.correct(by_tokens, entered_ns)


class Permit:
    """The right of one attempt to go to a provider. It is left exactly once; leaving again does nothing."""

    __slots__ = ("_left", "_limiter", "_tokens", "entered_ns", "probe")

    def __init__(self, limiter: ProviderLimiter, *, probe: bool) -> None:
        self._limiter = limiter
        self._left = False
        self._tokens = 0
        self.probe = probe
        self.entered_ns: int | None = None

    async def enter(self, tokens: int, deadline_s: float) -> None:
        """Wait until the attempt may leave; see :meth:`ProviderLimiter.enter`."""
        self.entered_ns = await self._limiter.enter(tokens, deadline_s)
        self._tokens = tokens

    def step_back(self) -> None:
        """Give the place back without having used it, and keep the way through the circuit: it enters again later."""
        if self.entered_ns is not None:
            self._limiter.step_back(self._tokens, self.entered_ns)
            self.entered_ns = None

    def leave(self, health: Health = "unknown", *, tokens: int | None = None, failure: str | None = None) -> None:
        """End the attempt.

        Args:
            health: What it says of the provider.
            tokens: What it really took, where that is known.
        """
        if self._left:
            return
        self._left = True
        if self.entered_ns is not None and tokens is not None:
            self._limiter.correct(tokens - self._tokens, self.entered_ns)
        self._limiter.leave(self, health, failure)
