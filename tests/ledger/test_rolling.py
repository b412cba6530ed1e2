"""Rolling windows: never less counts than was really spent within them, in few numbers."""

from hypothesis import given
from hypothesis import strategies as st

from organism.amounts import ZERO, Amounts
from organism.ledger.rolling import SpendSlices, counted, free_again_ns, with_spend

WINDOW = 6000
STEPS = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 50)), max_size=120)


@given(STEPS)
def test_what_was_spent_within_the_window_always_counts(steps: list[tuple[int, int]]) -> None:
    """At each instant the count is at least the real sum of the window, and at most that of one a sixtieth longer."""
    slices: SpendSlices = ()
    spent: list[tuple[int, int]] = []
    now = 0
    for gap, tokens in steps:
        now += gap
        slices = with_spend(slices, Amounts(tokens), now, WINDOW)
        spent.append((now, tokens))
        for at in (now, now + WINDOW // 2, now + WINDOW, now + WINDOW + 1):
            least = sum(tokens for when, tokens in spent if when >= at - WINDOW)
            most = sum(tokens for when, tokens in spent if when >= at - WINDOW - WINDOW // 60)
            assert least <= counted(slices, at, WINDOW).tokens <= most
    assert len(slices) <= 62


def test_a_correction_takes_off_what_counts_for_the_shortest_time() -> None:
    """Money given back does not outlive the spend that it was for, or there would be room that nobody has."""
    slices = with_spend(with_spend((), Amounts(10), 0, WINDOW), Amounts(7), 3000, WINDOW)

    slices = with_spend(slices, Amounts(-12, 0, -1), 3001, WINDOW)

    assert counted(slices, 3001, WINDOW) == Amounts(5)
    assert counted(slices, 6001, WINDOW) == Amounts(5)
    assert counted(slices, 9001, WINDOW) == ZERO


def test_it_is_known_when_room_comes_back() -> None:
    """Each slice says when it counts no more, with all that has gone by then."""
    slices = with_spend(with_spend((), Amounts(10), 0, WINDOW), Amounts(7), 3000, WINDOW)

    assert free_again_ns(slices, 4000, WINDOW) == [(6001, Amounts(10)), (9001, Amounts(17))]
    assert counted(slices, 6000, WINDOW) == Amounts(17)
    assert counted(slices, 6001, WINDOW) == Amounts(7)


def test_spend_at_the_very_end_of_its_window_counts_whatever_is_spent_then() -> None:
    """The last nanosecond counts still: a call that is charged in it makes no room, and says when there is some."""
    slices = with_spend((), Amounts(10), 0, WINDOW)

    assert free_again_ns(slices, WINDOW, WINDOW) == [(WINDOW + 1, Amounts(10))]
    later = with_spend(slices, Amounts(1), WINDOW, WINDOW)
    assert counted(later, WINDOW, WINDOW) == Amounts(11)
    assert counted(later, WINDOW + 1, WINDOW) == Amounts(1)


def test_spend_that_lies_a_sixtieth_of_the_window_apart_comes_free_apart() -> None:
    """What is added up in one slice counts too long by less than that."""
    slices = with_spend(with_spend((), Amounts(10), 0, WINDOW), Amounts(7), WINDOW // 60, WINDOW)

    assert [gone for _, gone in free_again_ns(slices, 200, WINDOW)] == [Amounts(10), Amounts(17)]


def test_however_often_something_is_spent_few_numbers_are_kept() -> None:
    """A thousand calls within a window, and a thousand after them, are sixty sums: each look at it adds up all."""
    slices: SpendSlices = ()
    for now in range(5 * WINDOW, 7 * WINDOW, WINDOW // 1000):
        slices = with_spend(slices, Amounts(1), now, WINDOW)
        assert len(slices) <= 62
    assert 1000 <= counted(slices, now, WINDOW).tokens <= 1000 + 1000 // 60 + 1
