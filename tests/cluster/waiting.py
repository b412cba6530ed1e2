"""Waiting for what nodes do by themselves."""

from collections.abc import Callable

import anyio


async def until(check: Callable[[], bool]) -> None:
    """Wait until something has come about; in a minute at most, and as a rule in a moment."""
    with anyio.fail_after(60):
        while not check():  # noqa: ASYNC110 - nodes tell nobody of what they do
            await anyio.sleep(0.02)
