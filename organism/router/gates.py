"""All gates, and the choice of one: the first route of an itinerary whose circuit lets an attempt through."""

from collections.abc import Iterable, Mapping

import anyio

from organism.clock import Clock
from organism.errors import RejectedError
from organism.router.gate import Passage, ProviderGate, ProviderHealth
from organism.router.plan import Route
from organism.router.provider_settings import ProviderSettings
from organism.router.strategy import Itinerary


class Gates:
    """The gates of all providers.

    Args:
        providers: Their names.
        settings: How each is treated; those left out are treated as is usual.
        clock: Measures time.
    """

    def __init__(self, providers: Iterable[str], settings: Mapping[str, ProviderSettings], clock: Clock) -> None:
        self._probed = anyio.Event()
        self._gates = {
            name: ProviderGate(name, settings.get(name, ProviderSettings()), clock, self._on_probed)
            for name in providers
        }

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
        route = itinerary.next(self._closed(itinerary))
        if route is None or itinerary.wait_s(route.provider, anyio.current_time()) > 0:
            return None
        itinerary.tried(route)
        return route, self[route.provider].take()

    async def _until_one_may_be_asked(self, itinerary: Itinerary) -> None:
        route = itinerary.next(self._closed(itinerary))
        if route is not None:
            await anyio.sleep(itinerary.wait_s(route.provider, anyio.current_time()))
            return
        # What a probe under way will find is not known; its end is what wakes us.
        waits = (self[provider].free_in_s() for provider in itinerary.providers)
        known = [wait for wait in waits if wait is not None]
        with anyio.move_on_after(min(known) if known else None):
            await self._probed.wait()

    def _closed(self, itinerary: Itinerary) -> set[str]:
        return {provider for provider in itinerary.providers if self[provider].free_in_s() != 0}

    def _on_probed(self) -> None:
        self._probed.set()
        self._probed = anyio.Event()
