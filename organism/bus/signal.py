"""Wakes whoever waits for the next change of something."""

import anyio


class Signal:
    """An event that happens again and again; it costs nothing while nobody waits."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next: anyio.Event | None = None

    async def wait(self) -> None:
        """Return after the next :meth:`notify`."""
        if self._next is None:
            self._next = anyio.Event()
        await self._next.wait()

    def notify(self) -> None:
        """Wake all that wait now."""
        if self._next is not None:
            self._next.set()
            self._next = None
