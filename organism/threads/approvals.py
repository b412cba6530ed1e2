"""What a person is asked before it is done, and what they say. Pure."""

from hashlib import sha256

import msgspec

from organism.errors import OrganismError, Refusal


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A question to a person that a message waits for.

    Attributes:
        id: Names it; the same whenever the message is run again and asks the same.
        thread_id: The conversation.
        root_thread_id: The thread at the top of its tree.
        agent: Who wants to do it.
        message_id: The message that waits.
        what: What is to be done, in a few words, such as a tool's name.
        detail: All that a person needs to decide, such as a tool's arguments.
        asked_ns: When it was asked, nanoseconds since the Unix epoch.
    """

    id: str
    thread_id: str
    root_thread_id: str
    agent: str
    message_id: str
    what: str
    detail: str
    asked_ns: int

    def __str__(self) -> str:
        """Say in one line what is asked, without the detail, which may be anything."""
        return f"approval {self.id} of {self.what!r}"


class Decision(msgspec.Struct, frozen=True):
    """What a person has said.

    Attributes:
        allowed: Whether it may be done.
        note: Why, or what to do instead; a model reads it.
    """

    allowed: bool
    note: str = ""


_DECISIONS = "approval:"

WaitReason = Refusal | Approval
"""Why a message waits: for budget, or for a person."""


class UnknownApprovalError(OrganismError):
    """Nothing waits for this approval: it was answered, its thread has ended, or it never was asked.

    Attributes:
        approval_id: The name that was given.
    """

    def __init__(self, approval_id: str) -> None:
        self.approval_id = approval_id
        super().__init__(f"nothing waits for an approval {approval_id!r}: it was answered, or its thread has ended")


class ApprovalNeededError(OrganismError):
    """A thread waits for a person.

    Attributes:
        approvals: What is asked.
    """

    def __init__(self, approvals: tuple[Approval, ...], thread_id: str) -> None:
        self.approvals = approvals
        asked = ", ".join(map(str, approvals))
        super().__init__(f"thread {thread_id} waits for a person: {asked}; answer it, and wait again")


def approval_id(message_id: str, index: int, what: str, detail: str) -> str:
    """Name a question to a person: which of a message's it is, and exactly what is asked.

    So the answer to one question is never taken for the answer to another that a second run asks in its place.
    """
    asked = sha256(msgspec.json.encode((what, detail))).hexdigest()[:8]
    return f"{message_id}.{index}.{asked}"


def decision_key(approval: str) -> str:
    """Return the name of the step under which the answer is kept."""
    return f"{_DECISIONS}{approval}"


def is_decision_key(step: str) -> bool:
    """Whether a step of that name holds a person's answer, which nothing else may write."""
    return step.startswith(_DECISIONS)
