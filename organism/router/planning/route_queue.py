"""The order in which a model's routes are tried; what is known of each route is passed in. Pure."""

from collections import deque
from collections.abc import Container, Iterable, Sequence

import msgspec

from organism.router.planning.plan import Route, Strategy


class Candidate(msgspec.Struct, frozen=True):
    """A route and what strategies look at.

    Attributes:
        route: The route.
        load: Attempts at its provider, under way or waiting.
        cost_nanousd: The cost of the call there; ``None`` if unknown, which sorts last.
    """

    route: Route
    load: int
    cost_nanousd: int | None


def preferred(strategy: Strategy, candidates: Sequence[Candidate], call_number: int) -> tuple[Route, ...]:
    """Return the routes of a call in order of preference; of equals, the first in the configuration first.

    Args:
        candidates: The model's routes as the configuration orders them; never empty.
        call_number: The number of the call among those of the model, for ``round_robin``.
    """
    match strategy:
        case "failover":
            picked = list(candidates)
        case "round_robin":
            start = call_number % len(candidates)
            picked = [*candidates[start:], *candidates[:start]]
        case "least_loaded":
            picked = sorted(candidates, key=lambda candidate: candidate.load)
        case "cheapest":
            picked = sorted(
                candidates, key=lambda candidate: (candidate.cost_nanousd is None, candidate.cost_nanousd or 0)
            )
    return tuple(candidate.route for candidate in picked)


class RouteQueue:
    """The routes left for one call.

    Each attempt takes the next route, starting over at the end. Closed routes are skipped; ruled out ones are removed.

    Args:
        routes: All routes, preferred ones first; never empty.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._ahead = deque(routes)
        self._failures: dict[str, int] = {}
        self._not_before_s: dict[str, float] = {}

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that are left, the next one first."""
        return tuple(self._ahead)

    @property
    def providers(self) -> frozenset[str]:
        """The providers of the routes left."""
        return frozenset(route.provider for route in self._ahead)

    def next(self, closed: Container[str] = ()) -> Route | None:
        """Return the next route whose provider is not closed; ``None`` if there is none."""
        return next((route for route in self._ahead if route.provider not in closed), None)

    def resume_from(self, earlier: "RouteQueue") -> None:
        """Take over the failures and pauses of providers from an earlier queue of the call."""
        self._failures, self._not_before_s = earlier.setbacks

    @property
    def setbacks(self) -> tuple[dict[str, int], dict[str, float]]:
        """Failures of this call by provider, and the ends of their pauses."""
        return dict(self._failures), dict(self._not_before_s)

    def tried(self, route: Route) -> None:
        """Move a route that is tried to the end."""
        self._ahead.rotate(-1 - self._ahead.index(route))

    def rule_out(self, routes: Container[Route]) -> bool:
        """Remove routes from the queue; ``False``, and no change, if no other would be left."""
        left = deque(route for route in self._ahead if route not in routes)
        if left:
            self._ahead = left
        return bool(left)

    def through(self, provider: str) -> tuple[Route, ...]:
        """Return the routes of a provider."""
        return tuple(route for route in self._ahead if route.provider == provider)

    def failed(self, provider: str) -> int:
        """Count a failure of a provider, and return its failures so far."""
        self._failures[provider] = self._failures.get(provider, 0) + 1
        return self._failures[provider]

    def rest(self, provider: str, until_s: float) -> None:
        """Pause a provider until an instant of the event loop's clock."""
        self._not_before_s[provider] = until_s

    def wait_s(self, provider: str, now_s: float) -> float:
        """Return the seconds left of a provider's pause; 0 if there is none."""
        return max(0.0, self._not_before_s.get(provider, 0.0) - now_s)
