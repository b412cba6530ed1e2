"""The sliding count under everything that is limited by the minute."""

from hypothesis import given
from hypothesis import strategies as st

from organism.router.limits.window import SlidingWindow

SPAN = 60_000

steps = st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 5)), max_size=40)


@given(steps, st.integers(5, 12))
def test_no_span_ever_holds_more_than_was_allowed(steps: list[tuple[int, int]], most: int) -> None:
    """Whoever leaves only when the window says so exceeds the limit in no span, wherever one lets it begin."""
    window, now, left = SlidingWindow(SPAN), 0, []
    for pause, amount in steps:
        now += pause
        now += window.free_in_ns(amount, most, now)
        assert window.free_in_ns(amount, most, now) == 0, "waiting as long as it says is long enough"
        window.add(amount, now)
        left.append((now, amount))

    for begin, _ in left:
        assert sum(amount for at, amount in left if begin <= at < begin + SPAN) <= most


@given(steps)
def test_waits_are_no_longer_than_a_slot_too_long(steps: list[tuple[int, int]]) -> None:
    """Being careful costs at most a sixtieth of the span."""
    window, now = SlidingWindow(SPAN), 0
    for pause, amount in steps:
        now += pause
        window.add(amount, now)

    assert window.total(now + SPAN + SPAN // 60) == 0


def test_correction_counts_only_while_what_it_corrects_does() -> None:
    """Real usage replaces the worst case for as long as that is in the window, and is not counted later."""
    window = SlidingWindow(SPAN)
    window.add(100, 0)
    window.correct(-90, 0)
    assert window.total(1_000) == 10

    window.correct(-10, 5_000)
    assert window.total(5_000) == 10
    assert window.total(2 * SPAN) == 0
