"""In which order are a model's routes tried? Pure: what is known of each route is passed in."""

from collections import deque
from collections.abc import Container, Iterable, Sequence

import msgspec

from organism.router.planning.plan import Route, Strategy


class Candidate(msgspec.Struct, frozen=True):
    """A route and what a strategy may look at.

    Attributes:
        route: Where it leads.
        load: Attempts under way to its provider, or waiting for it.
        cost_nanousd: What the call would cost there; ``None`` when no price is known, which is never the cheapest.
    """

    route: Route
    load: int
    cost_nanousd: int | None


def preferred(strategy: Strategy, candidates: Sequence[Candidate], call_number: int) -> tuple[Route, ...]:
    """Return the routes of a call, most wanted first; of equals, the one that the configuration names first.

    Args:
        candidates: The model's routes as the configuration orders them; never empty.
        call_number: Counts the calls of this model, so that turns can be taken.
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
    """Where one call has been, and where it goes next.

    Each attempt goes one route on, and round again at the end. Routes that are closed for a while are passed over;
    routes that are ruled out are not come back to.

    Args:
        routes: All routes, most wanted first; never empty.
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
        """Who may still be asked."""
        return frozenset(route.provider for route in self._ahead)

    def next(self, closed: Container[str] = ()) -> Route | None:
        """Return where the next attempt goes, or ``None`` when every provider left is closed."""
        return next((route for route in self._ahead if route.provider not in closed), None)

    def resume_from(self, earlier: "RouteQueue") -> None:
        """Take over how providers have failed this call, and until when they are to be left alone."""
        self._failures, self._not_before_s = earlier.setbacks

    @property
    def setbacks(self) -> tuple[dict[str, int], dict[str, float]]:
        """Failures of this call by provider, and the instants until which they are left alone."""
        return dict(self._failures), dict(self._not_before_s)

    def tried(self, route: Route) -> None:
        """An attempt goes there: the next one goes one further."""
        self._ahead.rotate(-1 - self._ahead.index(route))

    def rule_out(self, routes: Container[Route]) -> bool:
        """Do not go to these routes again in this call; ``False``, and nothing is done, if no other is left."""
        left = deque(route for route in self._ahead if route not in routes)
        if left:
            self._ahead = left
        return bool(left)

    def through(self, provider: str) -> tuple[Route, ...]:
        """Return the routes that lead to a provider."""
        return tuple(route for route in self._ahead if route.provider == provider)

    def failed(self, provider: str) -> int:
        """Count a failure of a provider in this call, and return which one it is."""
        self._failures[provider] = self._failures.get(provider, 0) + 1
        return self._failures[provider]

    def rest(self, provider: str, until_s: float) -> None:
        """Leave a provider alone until an instant."""
        self._not_before_s[provider] = until_s

    def wait_s(self, provider: str, now_s: float) -> float:
        """Return how many seconds a provider is still to be left alone."""
        return max(0.0, self._not_before_s.get(provider, 0.0) - now_s)
