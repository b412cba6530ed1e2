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
        with anyio.CancelScope(deadline=deadline_s):
            while True:
                waits = {provider: self[provider].free_in_s() for provider in itinerary.providers}
                route = itinerary.next(closed={provider for provider, wait in waits.items() if wait != 0})
                if route is None:
                    # What a probe under way will find is not known; its end is what wakes us.
                    known = [wait for wait in waits.values() if wait is not None]
                    with anyio.move_on_after(min(known) if known else None):
                        await self._probed.wait()
                elif (rest_s := itinerary.wait_s(route.provider, anyio.current_time())) > 0:
                    await anyio.sleep(rest_s)
                else:
                    itinerary.tried(route)
                    return route, self[route.provider].take()
        raise RejectedError(
            ", ".join(sorted(itinerary.providers)),
            "not asked: it has failed too often lately, or is to be left alone, until after the call's deadline",
        )

    def _on_probed(self) -> None:
        self._probed.set()
        self._probed = anyio.Event()
