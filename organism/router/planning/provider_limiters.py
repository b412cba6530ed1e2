"""The limiters of all providers, and the choice of one: the first route left whose circuit breaker lets an attempt out.

A reload makes another set. What is counted of a provider that stays the same goes on in the same limiter, while the
old set admits nobody more and wakes those that wait in it: a call that waited on there would wait for a provider that
may be gone, by numbers that nobody updates.
"""

from collections.abc import Container, Iterable, Mapping
from typing import Self

import anyio

from organism.clock import Clock
from organism.concurrency.loop_time import loop_time
from organism.concurrency.wakeups import Wakeup
from organism.errors import RejectedError
from organism.llm.provider import Provider
from organism.router.limits.limiter import Permit, ProviderHealth, ProviderLimiter, ReplacedError
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.planning.plan import Route
from organism.router.planning.route_queue import RouteQueue


class ProviderLimiters:
    """The limiters of all providers.

    Args:
        settings: How each is treated; those left out are treated as is usual.
        earlier: The limiters that these replace; calls that wait there are turned away.
        kept: Providers that are still the same: what is counted of them goes on being counted.

    Attributes:
        changed: Wakes the calls that wait for a provider.
        retired: Whether other limiters have taken the place of these.
    """

    def __init__(
        self,
        providers: Iterable[str],
        settings: Mapping[str, ProviderSettings],
        clock: Clock,
        earlier: Self | None = None,
        kept: Container[str] = (),
    ) -> None:
        self.changed: Wakeup = Wakeup() if earlier is None else earlier.changed
        self.retired = False
        self._limiters: dict[str, ProviderLimiter] = {}
        for name in providers:
            its = settings.get(name, ProviderSettings())
            if earlier is not None and name in kept:
                self._limiters[name] = earlier[name]
                self._limiters[name].treat(its)
            else:
                self._limiters[name] = ProviderLimiter(name, its, clock, self.changed.notify)
        if earlier is not None:
            earlier.retire()

    def succeeded(
        self,
        before: Mapping[str, Provider],
        providers: Mapping[str, Provider],
        settings: Mapping[str, ProviderSettings],
        clock: Clock,
    ) -> "ProviderLimiters":
        """Return those of a reload, which take the place of these.

        A provider that is the same object as before is still the same: its places, its minute and its circuit go on.
        """
        kept = frozenset(name for name, provider in providers.items() if before.get(name) is provider)
        return ProviderLimiters(providers, settings, clock, self, kept)

    def retire(self) -> None:
        """Admit no call from here on, and wake those that wait."""
        self.retired = True
        self.changed.notify()

    def items(self) -> Iterable[tuple[str, ProviderLimiter]]:
        """Return each provider's name with its limiter."""
        return self._limiters.items()

    def __getitem__(self, provider: str) -> ProviderLimiter:
        return self._limiters[provider]

    def health(self) -> dict[str, ProviderHealth]:
        """Return a look at every provider."""
        return {name: limiter.health() for name, limiter in self._limiters.items()}

    async def take(self, queue: RouteQueue, deadline_s: float) -> tuple[Route, Permit]:
        """Acquire the limiter of the next provider in a queue that may be asked; wait as long as none may.

        Waiting takes no budget, for nothing is held yet. It turns a short outage of the only provider into a pause
        instead of a failed message.

        Raises:
            RejectedError: If none may be asked before the deadline.
            ReplacedError: If a reload has replaced these limiters.
        """
        if (taken := self._take_now(queue)) is not None:
            return taken  # as nearly always; a cancel scope costs more than the choice
        with anyio.CancelScope(deadline=deadline_s):
            while (taken := self._take_now(queue)) is None:
                await self._until_one_may_be_asked(queue)
            return taken
        raise RejectedError(
            ", ".join(sorted(queue.providers)),
            "not asked: it has failed too often lately, or is to be left alone, until after the call's deadline",
        )

    def _take_now(self, queue: RouteQueue) -> tuple[Route, Permit] | None:
        if self.retired:
            raise ReplacedError
        route = queue.next(self._closed(queue))
        if route is None or queue.wait_s(route.provider, loop_time()) > 0:
            return None
        # In the step that chose it: two calls that both saw a half-open circuit free would both be its one probe.
        queue.tried(route)
        return route, self[route.provider].take()

    async def _until_one_may_be_asked(self, queue: RouteQueue) -> None:
        route = queue.next(self._closed(queue))
        if route is not None:
            await self._wait(queue.wait_s(route.provider, loop_time()))
            return
        # What a probe under way will find is not known; its end is what wakes us.
        waits = (self[provider].free_in_s() for provider in queue.providers)
        known = [wait for wait in waits if wait is not None]
        await self._wait(min(known) if known else None)

    async def _wait(self, seconds: float | None) -> None:
        with anyio.move_on_after(seconds):
            await self.changed.wait()

    def _closed(self, queue: RouteQueue) -> set[str]:
        return {provider for provider in queue.providers if self[provider].free_in_s() != 0}


def gone_providers(before: Mapping[str, Provider], providers: Mapping[str, Provider]) -> dict[str, Provider]:
    """Return those of before, by their names then, that no name stands for after a reload: they are to be closed."""
    kept = {id(provider) for provider in providers.values()}
    return {name: provider for name, provider in before.items() if id(provider) not in kept}
