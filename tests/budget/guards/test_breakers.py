"""What comes again and again, what a minute takes against what minutes usually take, and what a freeze answers."""

import pytest

from organism.budget.guards.breakers import MINUTE_NS, Breakers, RateBreaker, Recurrence, SpendRate
from organism.budget.guards.freezes import Freeze


def test_a_minute_is_measured_by_what_it_has_taken_itself() -> None:
    """A thread that had spent much before it was taken up is judged by its minutes alone, and told once in each."""
    breaker, spent = RateBreaker(times=10, minutes=3), 1_000
    rate = SpendRate(0, spent)
    for minute in range(1, 5):
        spent += 10
        assert rate.look(minute * MINUTE_NS - 1, spent, breaker) is None
        assert rate.look(minute * MINUTE_NS, spent, breaker) is None

    assert rate.look(4 * MINUTE_NS + 1, spent + 100, breaker) is None
    trip = rate.look(4 * MINUTE_NS + 2, spent + 101, breaker)
    assert trip is not None
    assert (trip.step, trip.text) == (1, "a minute has taken 10 times what a minute usually takes")
    assert rate.look(4 * MINUTE_NS + 3, spent + 500, breaker) is None


def test_what_is_frozen_has_no_room_and_no_limit_of_its_own() -> None:
    """Nothing of a freeze looks like spend: the refusal has no numbers but the call that it refuses."""
    refusal = Freeze(labels={"tenant": "a"}, by="ops", since_ns=0).refusal()

    assert (refusal.limit, refusal.spent, refusal.held, refusal.needed) == (0, 0, 0, 1)
    assert refusal.available == 0


@pytest.mark.parametrize("rounds", [2, 3])
def test_two_in_turn_trip_after_so_many_rounds_and_again_after_as_many(rounds: int) -> None:
    """Two are the fewest that are a turn; what comes between begins anew."""
    breakers, turns = Breakers(repeat=0, alternate=rounds), Recurrence()

    tripped = [turns.add(item, "it", breakers) for item in "ab" * 2 * rounds]
    assert [place for place, trip in enumerate(tripped, 1) if trip is not None] == [2 * rounds, 4 * rounds]
    assert [trip.step for trip in tripped if trip is not None] == [1, 2]

    turns.add("c", "it", breakers)
    assert [turns.add(item, "it", breakers) for item in "ab" * (rounds - 1)] == [None] * 2 * (rounds - 1)
