"""In which order routes are tried."""

from organism.router.planning.plan import Route
from organism.router.planning.route_queue import Candidate, RouteQueue, preferred

A, B, C = Route("a", "m"), Route("b", "m"), Route("c", "m")


def candidates(loads: tuple[int, ...] = (0, 0, 0), costs: tuple[int | None, ...] = (1, 1, 1)) -> list[Candidate]:
    return [Candidate(route, load, cost) for route, load, cost in zip((A, B, C), loads, costs, strict=True)]


def test_failover_keeps_the_order_of_the_configuration() -> None:
    """The first route is the one, as long as it works."""
    assert preferred("failover", candidates(loads=(9, 0, 0), costs=(9, 1, 1)), 5) == (A, B, C)


def test_round_robin_takes_turns() -> None:
    """Each call begins one route further."""
    assert [preferred("round_robin", candidates(), number)[0] for number in range(4)] == [A, B, C, A]


def test_least_loaded_goes_where_least_is_under_way() -> None:
    """The idle provider first; of equals the first named."""
    assert preferred("least_loaded", candidates(loads=(2, 1, 1)), 0) == (B, C, A)


def test_cheapest_never_takes_unknown_for_free() -> None:
    """A known price comes before an unknown one, and free is a known price."""
    assert preferred("cheapest", candidates(costs=(None, 7, 0)), 0) == (C, B, A)


def test_attempts_go_on_and_round_and_pass_over_what_is_closed() -> None:
    """A call comes to every provider in turn, but not to one that is given a rest."""
    queue = RouteQueue((A, B, C))
    been = []
    for closed in (set(), {"b"}, set(), set()):
        route = queue.next(closed)
        assert route is not None
        queue.tried(route)
        been.append(route)

    assert been == [A, C, A, B]
    assert queue.next({"a", "b", "c"}) is None


def test_what_is_ruled_out_is_not_come_back_to() -> None:
    """A provider that cannot take the call is left out, unless nothing else is left."""
    queue = RouteQueue((A, B))
    queue.tried(A)

    assert queue.rule_out(queue.through("b"))
    assert queue.routes == (A,)
    assert not queue.rule_out((A,))
    assert queue.next() == A


def test_a_provider_rests_alone() -> None:
    """A pause for one provider is no pause for the others."""
    queue = RouteQueue((A, B))
    queue.rest("a", 10.0)

    assert queue.wait_s("a", 4.0) == 6.0
    assert queue.wait_s("a", 11.0) == 0.0
    assert queue.wait_s("b", 4.0) == 0.0
