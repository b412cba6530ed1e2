"""Limits the calls of one thread that are under way at a time; others wait, first in, first out."""

import anyio

from organism.errors import RejectedError


class ThreadPlaces:
    """The concurrency limit of one thread.

    Args:
        most: The number of places.
    """

    __slots__ = ("_free", "_owed")

    def __init__(self, most: int) -> None:
        self._free = anyio.Semaphore(most, fast_acquire=True)
        self._owed = 0

    def take_nowait(self) -> None:
        """Take a place.

        Raises:
            anyio.WouldBlock: If none is free, or others wait.
        """
        self._free.acquire_nowait()

    async def take(self) -> None:
        """Wait for a place."""
        await self._free.acquire()

    def release(self) -> None:
        """Give a place back."""
        if self._owed:
            self._owed -= 1
        else:
            self._free.release()

    def add(self, more: int) -> None:
        """Add or remove places; of those in use the next ones given back are removed, before any waiter gets them."""
        for _ in range(more):
            self.release()
        for _ in range(-more):
            try:
                self._free.acquire_nowait()
            except anyio.WouldBlock:
                self._owed += 1


class ThreadConcurrency:
    """Limits each thread's calls in flight.

    Args:
        most: Calls of one thread at a time.
        setting: The name of the setting, for the error of a call that waited too long.
    """

    def __init__(self, most: int, setting: str) -> None:
        self._most = most
        self._setting = setting
        self._threads: dict[str, ThreadPlaces] = {}

    def change(self, most: int) -> None:
        """Change the limit; calls under way keep their places."""
        more, self._most = most - self._most, most
        for places in self._threads.values():
            places.add(more)

    def forget(self, thread_id: str) -> None:
        """Forget a thread that has ended."""
        self._threads.pop(thread_id, None)

    async def take(self, thread_id: str, model: str, deadline_s: float) -> ThreadPlaces:
        """Wait for a place of a thread, and return the places to which it must be released.

        Raises:
            RejectedError: If none is free before the call's deadline.
        """
        if (places := self._threads.get(thread_id)) is None:
            places = self._threads[thread_id] = ThreadPlaces(self._most)
        try:
            places.take_nowait()  # nearly always possible, and cheaper than a cancel scope
        except anyio.WouldBlock:
            await self._wait(places, model, deadline_s)
        return places

    async def _wait(self, places: ThreadPlaces, model: str, deadline_s: float) -> None:
        with anyio.CancelScope(deadline=deadline_s):
            await places.take()
            return
        raise RejectedError(
            model,
            f"not asked: {self._most} other calls of the thread were under way until the call's deadline; "
            f"raise '{self._setting}', or make fewer at a time",
        )
