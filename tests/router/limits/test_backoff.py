"""Pauses between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.router.limits.backoff import Backoff, delay_s

chances = st.floats(0, 1, exclude_max=True)
BACKOFF = Backoff(first_s=0.5, max_s=30.0)


@given(st.integers(1, 5000), chances)
def test_waits_double_up_to_the_cap_and_half_is_chance(failures: int, chance: float) -> None:
    """No wait is longer than the cap, and none is so short that all come back at once."""
    whole = min(0.5 * 2 ** min(failures - 1, 20), 30.0)

    assert whole / 2 <= delay_s(BACKOFF, failures, None, chance) <= whole


@given(st.floats(allow_nan=False), chances)
def test_what_the_provider_asks_for_is_kept_to_within_the_cap(asked: float, chance: float) -> None:
    """Retry-After counts, but cannot make anybody wait for ever or a negative time."""
    wait = delay_s(BACKOFF, 1, asked, chance)

    assert 0 <= wait <= 30
    assert wait >= min(max(asked, 0), 30)


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 1.0), (0.5, 1.5)])
def test_same_chance_gives_the_same_wait(chance: float, expected: float) -> None:
    """Randomness is injected, so a run can be repeated exactly."""
    assert delay_s(BACKOFF, 3, None, chance) == expected
