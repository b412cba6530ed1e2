"""The threads that are open, by id, and what is known of those that were."""

from organism.errors import ConfigError, ThreadClosedError
from organism.ids import THREAD_ID
from organism.tables import pop_and_shrink
from organism.threads.ended_threads import EndedThreads
from organism.threads.thread import Thread


class OpenThreads:
    """Finds threads.

    Args:
        ended: The threads that have ended.

    Attributes:
        by_id: The open threads, oldest first; changed by :meth:`add` and :meth:`remove` only.
        ended: The threads that have ended.
    """

    def __init__(self, ended: EndedThreads) -> None:
        self.by_id: dict[str, Thread] = {}
        self.ended = ended

    def __len__(self) -> int:
        return len(self.by_id)

    def all(self) -> tuple[Thread, ...]:
        """Return the open threads, oldest first; it may be walked through while threads open and end."""
        return tuple(self.by_id.values())

    def find(self, thread_id: str | None) -> Thread | None:
        """Return an open thread, or ``None``."""
        return self.by_id.get(thread_id or "")

    def get(self, thread_id: str, *, closing: bool = False) -> Thread:
        """Return an open thread.

        Args:
            closing: Whether one that is just ending will do.

        Raises:
            ThreadClosedError: If no such thread is open.
        """
        thread = self.by_id.get(thread_id)
        if thread is None or (thread.status == "closing" and not closing):
            raise ThreadClosedError(thread_id)
        return thread

    def add(self, thread: Thread) -> None:
        """Add a thread that begins, or was recovered."""
        self.by_id[thread.id] = thread

    def remove(self, thread: Thread) -> None:
        """Remove a thread that has ended."""
        pop_and_shrink(self.by_id, thread.id)

    def labels_of(self, thread_id: str) -> dict[str, str]:
        """Return the labels of a thread; none if it is not open."""
        thread = self.by_id.get(thread_id)
        return thread.labels if thread is not None else {}

    def has_closed(self, thread_id: str) -> bool:
        """Whether a thread of that name has ended, as far as is remembered, or is about to."""
        thread = self.by_id.get(thread_id)
        return self.ended.knows(thread_id) or (thread is not None and thread.status == "closing")

    async def look_up(self, thread_id: str | None) -> None:
        """Ask the journal whether a thread of that name has ended, for the checks that follow and may not wait.

        Raises:
            JournalError: If it cannot be read.
        """
        if self.find(thread_id) is None:
            await self.ended.look_up(thread_id)

    def check_new_id(self, thread_id: str) -> None:
        """Refuse an id that cannot be a thread's, or was one.

        Raises:
            ConfigError: If so.
        """
        if not THREAD_ID.fullmatch(thread_id):
            raise ConfigError(
                f"{thread_id!r} cannot be a thread's id: use letters, digits, '-', '_', at most 64 in all"
            )
        if thread_id in self.by_id or self.ended.knows(thread_id):
            raise ConfigError(f"thread {thread_id!r} exists or has existed; a thread's id is never used again")
