"""How many calls of one thread may be under way at a time; the others wait in the order they came."""

import anyio
import anyio.abc

from organism.errors import RejectedError


class ThreadConcurrency:
    """Limits each thread's calls in flight.

    Args:
        most: Calls of one thread at a time.
        setting: The setting that says so, for the error of a call that waited too long.
    """

    def __init__(self, most: int, setting: str) -> None:
        self._most = most
        self._setting = setting
        self._threads: dict[str, anyio.Semaphore] = {}

    def change(self, most: int, tasks: anyio.abc.TaskGroup | None) -> None:
        """Let more or fewer calls be under way from here on; calls that are keep their places.

        Args:
            tasks: Where it is waited for those that are; ``None`` where no call can be.
        """
        more, self._most = most - self._most, most
        for places in self._threads.values():
            for _ in range(more):
                places.release()
            for _ in range(-more):
                if tasks is not None:
                    tasks.start_soon(places.acquire)  # takes a place away, when its turn comes

    def forget(self, thread_id: str) -> None:
        """The thread has ended."""
        self._threads.pop(thread_id, None)

    async def take(self, thread_id: str, model: str, deadline_s: float) -> anyio.Semaphore:
        """Wait for one of the thread's places, made on first use; returns what it must be released to.

        Raises:
            RejectedError: If none is free before the call's deadline.
        """
        if (places := self._threads.get(thread_id)) is None:
            places = self._threads[thread_id] = anyio.Semaphore(self._most, fast_acquire=True)
        try:
            places.acquire_nowait()  # as a rule; a cancel scope costs more
        except anyio.WouldBlock:
            await self._wait(places, model, deadline_s)
        return places

    async def _wait(self, places: anyio.Semaphore, model: str, deadline_s: float) -> None:
        with anyio.CancelScope(deadline=deadline_s):
            await places.acquire()
            return
        raise RejectedError(
            model,
            f"not asked: {self._most} other calls of the thread were under way until the call's deadline; "
            f"raise '{self._setting}', or make fewer at a time",
        )
