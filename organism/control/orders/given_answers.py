"""What people have answered: an answer given again, because its reply was lost, has the same result as at first."""

import msgspec

from organism.clock import Clock
from organism.journal import Journal, Remember
from organism.threads.approvals import Approval, ApprovalAnsweredError, Decision, UnknownApprovalError

_PREFIX = "answered:"


class _GivenAnswer(msgspec.Struct, frozen=True):
    thread_id: str
    decision: Decision


class GivenAnswers:
    """Remembers answers as long as the ledger's entries of their time are kept.

    Args:
        journal: Where; an answer is found there after the commit that its giver waits for.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    def keep(self, approval: Approval, decision: Decision) -> None:
        """Remember an answer."""
        value = msgspec.json.encode(_GivenAnswer(approval.thread_id, decision)).decode()
        self._journal.append(Remember(key=_PREFIX + approval.id, value=value, time_ns=self._clock.now_ns()))

    async def is_remembered(self, approval_id: str) -> bool:
        """Whether a question has had an answer that is in the journal.

        Raises:
            JournalError: If that cannot be read.
        """
        return await self._journal.remembered(_PREFIX + approval_id) is not None

    async def again(self, approval_id: str, decision: Decision) -> str:
        """Return the thread of a question that has had this very answer.

        Raises:
            ApprovalAnsweredError: If it has had another one.
            UnknownApprovalError: If no answer to it is remembered.
            JournalError: If that cannot be read.
        """
        await self._journal.commit()  # the first answer may be on its way to the file still
        if (value := await self._journal.remembered(_PREFIX + approval_id)) is None:
            raise UnknownApprovalError(approval_id)
        given = msgspec.json.decode(value, type=_GivenAnswer)
        if given.decision != decision:
            raise ApprovalAnsweredError(approval_id, allowed=given.decision.allowed)
        return given.thread_id
