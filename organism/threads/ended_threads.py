"""Threads that have ended: which ids are never used again, and how they ended, for those who ask late."""

from collections import OrderedDict

from organism.ids import THREAD_ID
from organism.messages import ThreadResult
from organism.threads.state_writer import ThreadStateWriter

_CLOSED_IDS_KEPT = 10_000
"""So many ids of closed threads are known without asking the journal, which has all of them after its next commit."""

_RESULTS_KEPT = 1000
"""So many results are kept for those who ask for them late."""


class EndedThreads:
    """Remembers threads that have ended: the newest here, all of them in the journal."""

    def __init__(self, state_writer: ThreadStateWriter) -> None:
        self._state_writer = state_writer
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._results: OrderedDict[str, ThreadResult] = OrderedDict()

    def knows(self, thread_id: str) -> bool:
        """Whether a thread of that name has ended, as far as is remembered here."""
        return thread_id in self._closed

    def result(self, thread_id: str) -> ThreadResult | None:
        """Return the result of a thread that has ended not too long ago."""
        return self._results.get(thread_id)

    def remember(self, thread_id: str, result: ThreadResult) -> None:
        """Remember the result of a thread, for a while."""
        self._note(thread_id)
        self._results[thread_id] = result
        if len(self._results) > _RESULTS_KEPT:
            self._state_writer.delete_result(self._results.popitem(last=False)[0])

    async def look_up(self, thread_id: str | None) -> None:
        """Ask the journal whether a thread of that name has ended, for the checks that follow and may not wait.

        Ids of threads that ended lately are in memory, until long after the journal has them.

        Raises:
            JournalError: If it cannot be read.
        """
        if thread_id is None or not THREAD_ID.fullmatch(thread_id) or thread_id in self._closed:
            return
        if await self._state_writer.was_used(thread_id):
            self._note(thread_id)

    def _note(self, thread_id: str) -> None:
        self._closed[thread_id] = None
        if len(self._closed) > _CLOSED_IDS_KEPT:
            self._closed.popitem(last=False)
