"""Wakes all tasks that wait for the next change of something."""

import asyncio

import msgspec


class Wakeup(msgspec.Struct, eq=False, gc=False):
    """An event that happens again and again; it costs nothing while nobody waits.

    It rests on asyncio's own futures, which AnyIO cancels as it does its own: waiting for an AnyIO event, which is an
    event around an event around a future, took 3 us more, and a question waits three times.
    """

    _waiting: list[asyncio.Future[None]] | None = None

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._waiting or ())

    async def wait(self) -> None:
        """Return after the next :meth:`notify`."""
        turn = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = [turn]
        else:
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting is not None and turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def notify(self) -> None:
        """Wake all that wait now."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            for turn in waiting:
                if not turn.done():
                    turn.set_result(None)
