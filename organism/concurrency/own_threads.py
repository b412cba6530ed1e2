"""Worker threads for blocking work of the runtime itself: the journal's file, exporters, models that are loaded.

AnyIO's own limit of 40 threads is shared by everybody in the process. Forty functions that block would keep the
journal's writer waiting, and with it every answer; so nothing of the runtime waits in that queue.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread

T = TypeVar("T")

_BUSY: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()


class OwnThreads:
    """Calls functions on threads that nobody else takes.

    Args:
        most: How many at once.

    Attributes:
        most: The same.
    """

    def __init__(self, most: int = 1) -> None:
        self.most = most
        self._limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.CapacityLimiter] = WeakKeyDictionary()

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call a function on a thread, in turn, and return what it returns; it is waited for even when cancelled."""
        loop = asyncio.get_running_loop()
        if (limiter := self._limiters.get(loop)) is None:
            limiter = self._limiters[loop] = anyio.CapacityLimiter(self.most)
        _BUSY[loop] = _BUSY.get(loop, 0) + 1
        try:
            return await anyio.to_thread.run_sync(function, *args, limiter=limiter)
        finally:
            _BUSY[loop] -= 1


def busy_threads(loop: asyncio.AbstractEventLoop) -> int:
    """Return how many functions are called or wait to be called for this event loop."""
    return _BUSY.get(loop, 0)
