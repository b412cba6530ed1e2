"""Waits for what comes when it comes: at another process, or on another OS thread."""

from collections.abc import Callable

import anyio

PATIENCE_S = 60
"""Seconds: a busy machine is late, and nothing is measured by waiting."""


async def until(check: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait until something is true that nobody tells.

    Args:
        check: Looks at it.
        within_s: Seconds after which the test fails.

    Raises:
        TimeoutError: If it has not become true.
    """
    with anyio.fail_after(within_s):
        while not check():  # noqa: ASYNC110 - what is looked at has no event
            await anyio.sleep(0.01)
