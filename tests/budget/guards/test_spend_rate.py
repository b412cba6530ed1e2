"""What a thread spends in a minute, against what its minutes usually take; what is answered where all is frozen."""

from organism.budget.guards.breakers import MINUTE_NS, RateBreaker, SpendRate
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
