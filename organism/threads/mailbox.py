"""An agent's mailbox: a bound on what waits for it, in messages and in bytes, over all threads.

The messages themselves wait in lanes, one per thread, so that the order within a thread is kept and one thread cannot
hold up another. The mailbox counts them, and makes senders wait when it is full.
"""

from collections import deque

import anyio
import msgspec


class MailboxStatistics(msgspec.Struct, frozen=True):
    """A look at one mailbox: what waits, what fits, who waits to put more in, and all that ever came in."""

    messages: int
    size: int
    messages_max: int
    size_max: int
    senders_waiting: int
    accepted: int = 0


class MailboxBound:
    """Counts what waits for one agent.

    Args:
        messages_max: How many messages may wait.
        size_max: How many bytes of payload may wait. A single message above it is let in when nothing else waits.
    """

    def __init__(self, messages_max: int, size_max: int) -> None:
        self._messages_max = messages_max
        self._size_max = size_max
        self._messages = 0
        self._size = 0
        self._accepted = 0
        self._waiting: deque[anyio.Event] = deque()

    def resize(self, messages_max: int, size_max: int) -> None:
        """Set other bounds; senders that wait for room check again."""
        self._messages_max = messages_max
        self._size_max = size_max
        while self._waiting:
            self._waiting.popleft().set()

    def has_room(self, size: int) -> bool:
        """Whether a message of that size fits now."""
        return self._messages == 0 or (self._messages < self._messages_max and self._size + size <= self._size_max)

    def try_acquire(self, size: int) -> bool:
        """Count a message of that size in if it fits."""
        messages = self._messages
        if messages and (messages >= self._messages_max or self._size + size > self._size_max):
            return False
        self._accepted += 1
        self._messages = messages + 1
        self._size += size
        return True

    def acquire(self, size: int) -> None:
        """Count a message in, whether or not it fits: for those that may not wait."""
        self._accepted += 1
        self._messages += 1
        self._size += size

    def reacquire(self, size: int) -> None:
        """Count a message in again that was released."""
        self._messages += 1
        self._size += size

    def release(self, size: int) -> None:
        """Count a message out, and wake the first sender that waits."""
        self._messages -= 1
        self._size -= size
        if self._waiting:
            self._waiting.popleft().set()

    async def wait_for_room(self, size: int, timeout_s: float) -> bool:
        """Wait until a message of that size fits, in the order of coming; ``False`` when the time is up."""
        with anyio.move_on_after(timeout_s):
            while not self.has_room(size):
                turn = anyio.Event()
                self._waiting.append(turn)
                try:
                    await turn.wait()
                finally:
                    if turn in self._waiting:
                        self._waiting.remove(turn)
            return True
        if self._waiting:
            # The turn may have been ours in the instant the time ran out; it must not be lost to the others.
            self._waiting.popleft().set()
        return False

    def statistics(self) -> MailboxStatistics:
        """Count what waits."""
        return MailboxStatistics(
            messages=self._messages,
            size=self._size,
            messages_max=self._messages_max,
            size_max=self._size_max,
            senders_waiting=len(self._waiting),
            accepted=self._accepted,
        )
