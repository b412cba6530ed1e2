"""All gates, and the choice of one: the first route of an itinerary whose circuit lets an attempt through."""

from collections.abc import Container, Iterable, Mapping
from typing import Self

import anyio

from organism.bus.signal import Signal
from organism.clock import Clock
from organism.errors import RejectedError
from organism.router.limits.limiter import Passage, ProviderGate, ProviderHealth
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.planning.plan import Route
from organism.router.planning.route_queue import Itinerary


class ReplacedError(Exception):
    """Other gates have taken the place of these: plan the next attempt anew. Never leaves the router."""


class Gates:
    """The gates of all providers.

    Args:
        providers: Their names.
        settings: How each is treated; those left out are treated as is usual.
        clock: Measures time.
        earlier: The gates whose place these take; whoever waits there is turned away.
        kept: Providers that are still the same: what is counted at their gates goes on being counted.
    """

    def __init__(
        self,
        providers: Iterable[str],
        settings: Mapping[str, ProviderSettings],
        clock: Clock,
        earlier: Self | None = None,
        kept: Container[str] = (),
    ) -> None:
        self._changed = Signal() if earlier is None else earlier.changed
        self._replaced = False
        self._gates: dict[str, ProviderGate] = {}
        for name in providers:
            its = settings.get(name, ProviderSettings())
            if earlier is not None and name in kept:
                self._gates[name] = earlier[name]
                self._gates[name].treat(its)
            else:
                self._gates[name] = ProviderGate(name, its, clock, self._changed.notify)
        if earlier is not None:
            earlier.retire()

    @property
    def changed(self) -> Signal:
        """Wakes whoever waits for a provider."""
        return self._changed

    def retire(self) -> None:
        """Let nobody through from here on, and wake whoever waits."""
        self._replaced = True
        self._changed.notify()

    def __getitem__(self, provider: str) -> ProviderGate:
        return self._gates[provider]

    def health(self) -> dict[str, ProviderHealth]:
        """Return a look at every provider."""
        return {name: gate.health() for name, gate in self._gates.items()}

    async def take(self, itinerary: Itinerary, deadline_s: float) -> tuple[Route, Passage]:
        """Take the way to the next provider of an itinerary that may be asked; wait as long as none may.

        Waiting takes no budget, for nothing is held yet. It turns a short outage of the only provider into a pause
        instead of a failed message.

        Raises:
            RejectedError: If none may be asked before the deadline.
            ReplacedError: If other gates have taken the place of these.
        """
        if (taken := self._take_now(itinerary)) is not None:
            return taken  # as a rule; a cancel scope costs more than the choice
        with anyio.CancelScope(deadline=deadline_s):
            while (taken := self._take_now(itinerary)) is None:
                await self._until_one_may_be_asked(itinerary)
            return taken
        raise RejectedError(
            ", ".join(sorted(itinerary.providers)),
            "not asked: it has failed too often lately, or is to be left alone, until after the call's deadline",
        )

    def _take_now(self, itinerary: Itinerary) -> tuple[Route, Passage] | None:
        if self._replaced:
            raise ReplacedError
        route = itinerary.next(self._closed(itinerary))
        if route is None or itinerary.wait_s(route.provider, anyio.current_time()) > 0:
            return None
        itinerary.tried(route)
        return route, self[route.provider].take()

    async def _until_one_may_be_asked(self, itinerary: Itinerary) -> None:
        route = itinerary.next(self._closed(itinerary))
        if route is not None:
            await self._wait(itinerary.wait_s(route.provider, anyio.current_time()))
            return
        # What a probe under way will find is not known; its end is what wakes us.
        waits = (self[provider].free_in_s() for provider in itinerary.providers)
        known = [wait for wait in waits if wait is not None]
        await self._wait(min(known) if known else None)

    async def _wait(self, seconds: float | None) -> None:
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    def _closed(self, itinerary: Itinerary) -> set[str]:
        return {provider for provider in itinerary.providers if self[provider].free_in_s() != 0}
