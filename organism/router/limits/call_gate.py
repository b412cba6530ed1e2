"""A gate that holds back new attempts of an organism; those under way continue."""

from organism.concurrency.wakeups import Wakeup


class CallGate:
    """Normally open. While it is held, new attempts wait before anything is planned or held for them."""

    def __init__(self) -> None:
        self._held = False
        self._opened = Wakeup()

    def hold(self) -> None:
        """Hold back new attempts."""
        self._held = True

    def open(self) -> None:
        """Let attempts begin again, the waiting ones first."""
        self._held = False
        self._opened.notify()

    async def enter(self) -> None:
        """Wait until attempts may begin."""
        while self._held:
            await self._opened.wait()
