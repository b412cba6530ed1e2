"""The state of one call: its attempts, whether another may follow, and where it goes. Pure."""

from organism.errors import ProviderError, RejectedError, TooLargeError, UncertainError
from organism.router.call import Call, RouterSettings
from organism.router.limits.backoff import delay_s
from organism.router.planning.plan import Route
from organism.router.planning.planner import Planned

_OFTEN = "it has failed too often lately"


class CallState:
    """The attempts of one call, and its remaining routes.

    Args:
        call: The call.
        planned: Its model and routes.
        deadline_s: When it must be over, on the event loop's clock.
    """

    def __init__(self, call: Call, call_id: str, planned: Planned, settings: RouterSettings, deadline_s: float) -> None:
        self.call = call
        self.call_id = call_id
        self.plan = planned.plan
        self.queue = planned.queue
        self.deadline_s = deadline_s
        self.attempts = 0
        self._settings = settings
        self._wanted = self.queue.next()
        self._reason = _OFTEN

    def replan(self, planned: Planned, settings: RouterSettings) -> None:
        """Continue by another plan; attempts, failures and the deadline stay."""
        planned.queue.resume_from(self.queue)
        self.plan = planned.plan
        self.queue = planned.queue
        self._settings = settings
        self._wanted = self.queue.next()

    def goes_to(self, route: Route) -> tuple[str, str] | None:
        """Note the route of an attempt; return the provider it was meant for, and why it goes elsewhere, if it does."""
        wanted, reason = self._wanted, self._reason
        self._wanted, self._reason = route, _OFTEN
        if wanted is None or wanted.provider == route.provider:
            return None
        return wanted.provider, reason

    def avoids(self, routes: tuple[Route, ...], reason: str) -> bool:
        """Rule routes out from here on; ``False`` if no other is left."""
        self._reason = reason
        return self.queue.rule_out(routes)

    def goes_on(self, route: Route, error: ProviderError, *, now_s: float, chance: float) -> bool:
        """Decide whether another attempt follows one that failed, and when.

        A permanent refusal is not tried again; an attempt that was charged without an answer only if the settings say
        so. A provider or a model that cannot take this call at all (a revoked key, an empty account, a missing model, a
        request that is too long), or not before all pauses of the call are over, is ruled out, and the others are
        tried.

        Args:
            error: How it failed.
            chance: A random number from 0 up to 1.
        """
        self._reason = str(error)
        if isinstance(error, TooLargeError):
            return self.avoids(self.queue.through(route.provider), str(error))
        if isinstance(error, RejectedError) and error.rules_out is not None:
            useless = (route,) if error.rules_out == "route" else self.queue.through(route.provider)
            return self.attempts < self._settings.attempts and self.avoids(useless, str(error))
        again = isinstance(error, RejectedError) and error.again
        if isinstance(error, UncertainError):
            again = self._settings.retry_uncertain
        if not again or self.attempts >= self._settings.attempts:
            return False
        asked_s = error.retry_after_s if isinstance(error, RejectedError) else None
        if asked_s is not None and asked_s > self._waits_at_most_s:
            return self.avoids(self.queue.through(route.provider), str(error))
        failures = self.queue.failed(route.provider)
        self.queue.rest(route.provider, now_s + delay_s(self._settings.backoff, failures, asked_s, chance))
        return now_s + self.delay_s(now_s) < self.deadline_s

    @property
    def _waits_at_most_s(self) -> float:
        """The most seconds that all pauses of a call can take together."""
        return (self._settings.attempts - 1) * self._settings.backoff.max_s

    @property
    def next_provider(self) -> str:
        """The provider of the next attempt as things stand; empty if none is left."""
        route = self.queue.next()
        return route.provider if route is not None else ""

    def delay_s(self, now_s: float) -> float:
        """Return the seconds until the next attempt as things stand."""
        return self.queue.wait_s(self.next_provider, now_s)
