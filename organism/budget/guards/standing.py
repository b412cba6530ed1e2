"""What people have said of the thresholds of a limit that the partitions of a cluster share. Pure."""

import msgspec
from msgspec.structs import replace

from organism.budget.guards.actions import Actions, end_of


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far a shared limit may go, and the last question about it, as the database has it for all partitions.

    Attributes:
        revision: How often the limit has changed; what was said counts for this revision only.
        threshold: The per cent that the last question is about; 0 if nothing was asked.
        p: The partition that has asked, for all.
        asked_ns: When.
        thread_id: Whose call was the first to need an answer.
        root: The thread at the top of its tree.
        agent: Who has made it.
        detail: What a person reads.
        said: The answer; ``None`` while there is none.
        note: What the person has said with it.
        said_by: Who that was.
        said_ns: When.
        passed: The highest threshold at which people have let it go on; 0 if at none.
        passed_ns: When.
    """

    revision: int
    threshold: int = 0
    p: int = 0
    asked_ns: int = 0
    thread_id: str = ""
    root: str = ""
    agent: str = ""
    detail: str = ""
    said: bool | None = None
    note: str = ""
    said_by: str = ""
    said_ns: int = 0
    passed: int = 0
    passed_ns: int = 0

    @property
    def age(self) -> tuple[int, int]:
        """Orders what was heard of one limit: the larger is the newer."""
        return self.revision, max(self.asked_ns, self.said_ns)

    @property
    def open(self) -> bool:
        """Whether a person is asked and has not answered."""
        return bool(self.threshold) and self.said is None

    def since(self, from_ns: int) -> "Standing":
        """Return what counts still of what was said: in a rolling window nothing from before it."""
        passed = self.passed if self.passed_ns >= from_ns else 0
        if self.said is not None and self.said_ns < from_ns:
            return Standing(revision=self.revision, passed=passed, passed_ns=self.passed_ns)
        return self if passed == self.passed else replace(self, passed=passed)


def next_question(actions: Actions, passed: int) -> int | None:
    """Return the first threshold at which a person must let an account go on, beyond those that were passed."""
    return next((threshold for threshold, action in actions if action == "approve" and threshold > passed), None)


def stops_at(actions: Actions, passed: int) -> int:
    """Return the per cent of a limit that may be spent: up to the next question, or to the end."""
    percent, _ = end_of(actions)
    return min(percent, next_question(actions, passed) or percent)
