"""What people are asked about thresholds of accounts: one question is for all that wait for the same.

A question is named by its account, which is another one in each window, its threshold and the revision of the limit.
Each message that waits for it keeps it in its own record in the journal, with the time and the words of the first.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from organism.threads.approvals import Approval
from organism.threads.thread import Thread

_PRUNED_FROM = 1024
"""Questions from which on those are forgotten that nothing waits for any more."""


class ThresholdQuestions:
    """Knows which questions have been asked.

    Args:
        threads: The open threads, by id.
    """

    def __init__(self, threads: Mapping[str, Thread]) -> None:
        self._threads = threads
        self._first: dict[str, Approval] | None = None  # by id, as first asked; ``None`` before anybody has looked
        self._pruned_from = _PRUNED_FROM

    def joined(self, asked: Approval) -> tuple[Approval, bool]:
        """Return a question as it is to be kept, and whether it is asked for the first time.

        Args:
            asked: The question of a message, or of a call from outside, as it would be if it were the first.
        """
        known = self._known()
        first = known.get(asked.id)
        if first is not None and first.message_id != asked.message_id and not self._waits(first):
            first = (known := self._look()).get(asked.id)
        if first is not None:
            return replace(asked, asked_ns=first.asked_ns, detail=first.detail), False
        known[asked.id] = asked
        if len(known) > self._pruned_from:
            self._pruned_from = max(_PRUNED_FROM, 2 * len(self._look()))
            self._known()[asked.id] = asked
        return asked, True

    def restore(self, asked: Approval) -> None:
        """Take up the question of a call from outside, which no message keeps."""
        self._known().setdefault(asked.id, asked)

    def forget(self, approval_id: str) -> None:
        """Forget a question that was answered or is over: who meets the same again asks anew."""
        self._known().pop(approval_id, None)

    def _known(self) -> dict[str, Approval]:
        return self._look() if self._first is None else self._first

    def _look(self) -> dict[str, Approval]:
        """Find anew what is asked, as after a start: what calls have asked, and what messages wait for."""
        found = {name: asked for name, asked in (self._first or {}).items() if not asked.message_id}
        for thread in self._threads.values():
            for asked in thread.approvals:
                if asked.account:
                    found.setdefault(asked.id, asked)
        self._first = found
        return found

    def _waits(self, first: Approval) -> bool:
        """Whether the message that has asked first waits still; a call that was refused asks until it is answered."""
        if not first.message_id:
            return True
        thread = self._threads.get(first.thread_id)
        lanes = () if thread is None else thread.lanes.values()
        found = (lane.aside.get(first.message_id) for lane in lanes if lane.aside)
        return any(isinstance(each.waits, Approval) and each.waits.id == first.id for each in found if each)
