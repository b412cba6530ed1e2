"""Long work in the event loop, cut into slices: others use the loop between them."""

from collections.abc import Iterable

import anyio.lowlevel

_STEPS = 50
"""So many steps make a slice: taking up a thread takes some 50 us, so nobody waits for more than a few milliseconds."""


async def in_slices(steps: Iterable[object]) -> None:
    """Take steps one by one, and give way to others after every so many.

    Args:
        steps: Each is taken by asking for the next; what is between two of them is not interrupted.
    """
    for number, _ in enumerate(steps, 1):
        if number % _STEPS == 0:
            await anyio.lowlevel.checkpoint()
