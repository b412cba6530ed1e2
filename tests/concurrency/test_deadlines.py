"""A deadline rings when it has come, and not before, wherever it was moved meanwhile."""

import math

import anyio
import pytest

from organism.concurrency.deadlines import Deadline
from organism.concurrency.loop_time import loop_time
from organism.testing import run


@pytest.mark.parametrize(
    ("first_s", "then_s", "rings_s"),
    [(5.0, None, 5.0), (5.0, 9.0, 9.0), (5.0, 2.0, 2.0), (math.inf, 3.0, 3.0), (5.0, math.inf, None), (5.0, 0.0, 1.0)],
)
def test_it_rings_at_the_instant_it_was_moved_to(first_s: float, then_s: float | None, rings_s: float | None) -> None:
    """Put off, brought forward, set and taken away while something waits; one that is past rings at once."""
    assert _rung([(0.0, first_s)] if then_s is None else [(0.0, first_s), (1.0, then_s)]) == rings_s


def test_one_that_is_put_off_with_every_piece_rings_after_the_last() -> None:
    """As a stream does: whoever waits between pieces is woken once, when silence has lasted."""
    assert _rung([(second * 1.0, second + 4.0) for second in range(10)]) == 13.0


def test_it_rings_nobody_who_waits_no_more() -> None:
    """Its end takes its timer along."""
    assert _rung([(0.0, 5.0)], ends_s=2.0) is None


def _rung(moves: list[tuple[float, float]], ends_s: float | None = None) -> float | None:
    """Return when a deadline rings that is moved, each time at so many seconds and to so many; ``None`` for never."""
    rang: list[float] = []

    async def main() -> None:
        deadline, begun_s = Deadline(), loop_time()
        deadline.begin(lambda: rang.append(loop_time() - begun_s))
        for now_s, to_s in moves:
            await anyio.sleep(begun_s + now_s - loop_time())
            deadline.move(begun_s + to_s)
        await anyio.sleep(begun_s + (60.0 if ends_s is None else ends_s) - loop_time())
        deadline.end()
        await anyio.sleep(60)

    run(main)
    assert len(rang) < 2
    return rang[0] if rang else None
