"""Keeps the calls of one organism from beginning for a while; those under way go on to their end."""

from organism.concurrency.wakeups import Wakeup


class CallGate:
    """Open as a rule. Held, it keeps every further attempt waiting before anything is decided or held for it."""

    def __init__(self) -> None:
        self._held = False
        self._opened = Wakeup()

    def hold(self) -> None:
        """Let no attempt begin from here on."""
        self._held = True

    def open(self) -> None:
        """Let attempts begin again, those that wait first."""
        self._held = False
        self._opened.notify()

    async def enter(self) -> None:
        """Return when attempts may begin; nearly always at once."""
        while self._held:
            await self._opened.wait()
